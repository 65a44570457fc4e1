"""The friendly baseline's rows as its command line says them: split, flags, R1 and mAP, by our names."""

from typing import Any

_SMALL = "--warm_epoch 5 --erasing_p 0.5 --batchsize 16 --lr 0.01"
_TRICKS = "--warm_epoch 5 --stride 1 --erasing_p 0.5 --batchsize 8 --lr 0.02"
_LOSSES = "--warm_epoch 5 --stride 1 --erasing_p 0.5 --batchsize 32 --lr 0.08 --total_epoch 100"
_LONG = "--warm_epoch 5 --stride 1 --erasing_p 0.5 --batchsize 24 --total_epoch 133"

ROWS: dict[str, tuple[str, str, float, float]] = {
    "market1501/baseline/efficientnet_b4": ("t", "", 85.78, 66.80),
    "market1501/baseline+warm10+odfa/resnet50": ("T", "--warm_epoch 10 --adv 0.1 --aiter 40", 87.77, 69.83),
    "market1501/baseline/convnext_b": ("t", "", 88.98, 71.35),
    "market1501/baseline+fp16/resnet50": ("T", "--fp16", 88.03, 71.40),
    "market1501/baseline/resnet50": ("T", "", 88.84, 71.59),
    "market1501/baseline+usam/resnet50": ("T", "--usam", 88.75, 71.95),
    "market1501/baseline/resnet50_ibn_a": ("T", "", 89.13, 73.40),
    "market1501/baseline+usam/resnet50_ibn_a": ("T", "--usam", 89.01, 73.54),
    "market1501/baseline/densenet121": ("T", "", 90.17, 74.02),
    "market1501/baseline+warm+circle/densenet121": ("T", "--warm_epoch 5 --circle", 91.00, 76.54),
    "market1501/baseline/hrnet18": ("t", "", 90.83, 76.65),
    "market1501/baseline+pcb+lr02/resnet50": ("T", "--PCB --lr 0.02", 92.64, 77.47),
    "market1501/baseline+pcb+lr02+dg/resnet50": ("T", "--PCB --lr 0.02 --DG", 92.70, 78.31),
    "market1501/baseline+tricks+stride1/resnet50": ("t", _TRICKS, 91.83, 78.32),
    "market1501/baseline+tricks+stride1+circle/resnet50": ("t", f"{_TRICKS} --circle", 92.13, 79.84),
    "market1501/baseline+tricks+stride1+circle+dg/resnet50": (
        "t", f"{_TRICKS} --circle --DG", 92.13, 80.13,
    ),
    "market1501/baseline+tricks+transition1+circle/densenet121": ("t", f"{_TRICKS} --circle", 92.61, 80.24),
    "market1501/baseline+warm+erasing+batch16+lr01+circle+dg/hrnet18": (
        "t", f"{_SMALL} --circle --DG", 92.19, 81.00,
    ),
    "market1501/baseline/swin_b": ("t", "", 92.75, 79.70),
    "market1501/baseline+warm+erasing+batch16+lr03+circle/swinv2_b": (
        "t", "--warm_epoch 5 --erasing_p 0.5 --batchsize 16 --lr 0.03 --circle", 92.93, 82.99,
    ),
    "market1501/baseline+warm+erasing+lr04+circle/dinov3_b": (
        "t", "--warm_epoch 5 --erasing_p 0.5 --batchsize 32 --lr 0.04 --circle", 93.08, 82.10,
    ),
    "market1501/baseline+warm+erasing+circle/swin_b": (
        "t", "--warm_epoch 5 --erasing_p 0.5 --circle", 94.12, 84.39,
    ),
    "market1501/baseline+warm+erasing+batch16+lr01+circle/swin_b": ("t", f"{_SMALL} --circle", 94.00, 85.21),
    "market1501/baseline+warm+erasing+batch16+lr01+circle+dg/swin_b": (
        "t", f"{_SMALL} --circle --DG", 94.00, 85.36,
    ),
    "market1501/baseline+losses/resnet50": ("t", _LOSSES, 92.01, 79.31),
    "market1501/baseline+losses+sphere/resnet50": ("t", f"{_LOSSES} --sphere", 92.01, 79.39),
    "market1501/baseline+losses+triplet/resnet50": ("t", f"{_LOSSES} --triplet", 92.40, 79.71),
    "market1501/baseline+losses+lifted/resnet50": ("t", f"{_LOSSES} --lifted", 91.78, 79.77),
    "market1501/baseline+losses+instance/resnet50": ("t", f"{_LOSSES} --instance", 92.73, 81.11),
    "market1501/baseline+losses+contrast/resnet50": ("t", f"{_LOSSES} --contrast", 92.28, 81.42),
    "market1501/baseline+losses+circle/resnet50": ("t", f"{_LOSSES} --circle", 92.46, 81.70),
    "market1501/baseline+losses+contrast+sphere/resnet50": (
        "t", f"{_LOSSES} --contrast --sphere", 92.79, 82.02,
    ),
    "market1501/baseline+losses+long+lr062+contrast+triplet/resnet50": (
        "t", f"{_LONG} --lr 0.062 --contrast --triplet", 92.61, 82.01,
    ),
    "market1501/baseline+losses+long+contrast+circle/resnet50": (
        "t", f"{_LONG} --lr 0.08 --contrast --circle", 92.19, 82.07,
    ),
    "market1501/baseline+losses+long+lr06+contrast+sphere/resnet50": (
        "t", f"{_LONG} --lr 0.06 --contrast --sphere", 92.84, 82.37,
    ),
    "dukemtmc/baseline/resnet50": ("T", "", 64.23, 43.92),
}  # fmt: skip

DEFAULTS = {"warm_epoch": 0, "stride": 2, "erasing_p": 0, "batchsize": 32, "lr": 0.05, "total_epoch": 60}

# By flag: our loss, its options, and whether it is divided by the batch.
LOSSES: dict[str, tuple[str, dict[str, float], bool]] = {
    "circle": ("batch_circle", {"scale": 32, "margin": 0.25}, True),
    "triplet": ("mined_triplet", {"margin": 0.3}, False),
    "contrast": ("contrastive", {"margin": 1}, False),
    "lifted": ("lifted", {"margin": 1}, False),
    "instance": ("instance", {"scale": 64}, True),
    "sphere": ("sphere", {}, True),
}

# By network: timm's or our name, height and width, drop path, width of its map, and its map at that size.
NETWORKS: dict[str, tuple[str, tuple[int, int], float, int, tuple[int, int]]] = {
    "resnet50": ("resnet50", (256, 128), 0, 2048, (8, 4)),
    "resnet50_ibn_a": ("resnet50_ibn_a", (256, 128), 0, 2048, (8, 4)),
    "densenet121": ("timm/densenet121", (256, 128), 0, 1024, (8, 4)),
    "hrnet18": ("timm/hrnet_w18", (256, 128), 0, 2048, (8, 4)),
    "efficientnet_b4": ("timm/tf_efficientnet_b4", (256, 128), 0.2, 1792, (8, 4)),
    "convnext_b": ("timm/convnext_base", (256, 128), 0.2, 1024, (8, 4)),
    "nasnet_a": ("timm/nasnetalarge", (256, 128), 0, 4032, (8, 4)),
    "swin_b": ("timm/swin_base_patch4_window7_224", (224, 224), 0.2, 1024, (7, 7)),
    "swinv2_b": ("timm/swinv2_base_window8_256", (256, 128), 0.2, 1024, (8, 4)),
    "dinov3_b": ("timm/vit_base_patch16_dinov3", (256, 128), 0.2, 768, (16 * 8, 1)),
}


def flags(line: str) -> dict[str, Any]:
    """Of a command line, over the defaults; those without a number are true."""
    found: dict[str, Any] = dict(DEFAULTS)
    for word in line.replace("--", "\n--").splitlines():
        name, _, value = word.strip().removeprefix("--").partition(" ")
        if name:
            found[name] = float(value) if value else True
    return found
