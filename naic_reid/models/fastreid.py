"""Published FastReID checkpoints: their options, told by their tensors' names, and their tensors under ours.

Source: FastReID's model zoo (files of 2020) and its code of July 2024. Three generations of names exist; a
file of each loads, or is refused with what does not fit. What names cannot tell is told by the file's name,
as published (`market_agw_S50.pth`), and every guess can be overruled by an option.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from naic_reid.architecture import Architecture, reason
from naic_reid.artifacts import MadeBy
from naic_reid.errors import ReidError
from naic_reid.models import build
from naic_reid.models.conversion import Converted, named_tensors
from naic_reid.models.weights import Checkpoint, compared

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of pixels 0…255, R, G, B: what our images are normalised with, and what files that store it must hold."""

_HEADS = (
    (re.compile(r"^heads\.(?:bnneck|bottleneck\.0)\."), "branches.whole.neck."),
    (re.compile(r"^heads\.pool_layer\.p$"), "branches.whole.pooling.p"),
)
_MGN = (
    (re.compile(r"^backbone\.0\."), "backbone.conv1."),
    (re.compile(r"^backbone\.1\."), "backbone.bn1."),
    (re.compile(r"^backbone\.4\."), "backbone.layer1."),
    (re.compile(r"^backbone\.5\."), "backbone.layer2."),
    (re.compile(r"^backbone\.6\."), "backbone.layer3.0."),
    (re.compile(r"^b([123])\.([01])\."), lambda found: f"backbone.trunks.{int(found[1]) - 1}.{found[2]}."),
    (re.compile(r"^(b\d+)_head\.pool_layer\.p$"), r"branches.\1.pooling.p"),
    (re.compile(r"^(b\d+)_head\.bottleneck\.0\."), r"branches.\1.reduction."),
    (re.compile(r"^(b\d+)_head\.bottleneck\.1\."), r"branches.\1.neck."),
    (re.compile(r"^(b\d+)_pool\.0\.p$"), r"branches.\1.pooling.p"),
    (re.compile(r"^(b\d+)_pool\.1\."), r"branches.\1.reduction.0."),
    (re.compile(r"^(b\d+)_pool\.2\."), r"branches.\1.reduction.1."),
    (re.compile(r"^(b\d+)_head\.bnneck\."), r"branches.\1.neck."),
)
_CLASSES = re.compile(r"^(?:heads|b\d+_head)\.(?:classifier\.)?weight$")
_PIXELS = {"pixel_mean": MEAN, "pixel_std": STD}


def recognised(tensors: Mapping[str, Any]) -> bool:
    """Whether tensors are called as FastReID's are."""
    return any(name.startswith("backbone.") for name in tensors) and any(
        re.match(r"heads\.|b1_head\.", name) for name in tensors
    )


def tensors_of(content: Any) -> dict[str, Tensor] | None:
    """The tensors of a file, as `weights.loaded` gives it, without what training wrapped around them.

    None where they are not FastReID's.
    """
    tensors = named_tensors(content, "model")
    return tensors if recognised(tensors) else None


def convert(tensors: Mapping[str, Tensor], path: Path, **options: Any) -> Converted:
    """A checkpoint of ours with the file's tensors.

    Args:
        tensors: as `tensors_of` returns them.
        path: of the file, whose name tells what the names of its tensors do not.
        options: of the architecture, that overrule what is told.

    Raises:
        ReidError: pixels are normalised otherwise, tensors are missing or left over, or options are wrong.
    """
    told, assumed = _options(tensors, path.stem.lower(), options)
    try:
        architecture = Architecture(**(told | options))
    except ValueError as error:
        raise ReidError(f"{path}: {reason(error)}") from error
    left_out = tuple(name for name in tensors if _CLASSES.match(name) or name in _PIXELS)
    for name in left_out:
        if name in _PIXELS:
            _hold_pixels(path, name, tensors[name])
    named = {_named(name): tensor for name, tensor in tensors.items() if name not in left_out}
    with torch.random.fork_rng(devices=[]):
        own = build(architecture)
    shapes = {name: tensor.shape for name, tensor in own.state_dict().items()}
    named = {name: _shaped(tensor, shapes.get(name)) for name, tensor in named.items()}
    report = compared(own, named)
    if report.missing or report.unexpected or report.mismatched:
        raise ReidError(
            f"{path}: not the whole of a FastReID {architecture.backbone} that is known here: {report}; name "
            "its options, or train it again"
        )
    counters = {name: value for name, value in own.state_dict().items() if name not in named}
    made_by = MadeBy("fastreid", 1, settings="{}")
    checkpoint = Checkpoint(named | counters, {}, 0, (), architecture, made_by, str(path))
    return Converted(checkpoint, report, left_out, assumed)


def _options(
    tensors: Mapping[str, Tensor], stem: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The architecture's options, and in words those that were guessed."""
    assumed = []
    mgn = any(name.startswith("b1_head.") for name in tensors)
    told: dict[str, Any] = {"backbone": _backbone(tensors, mgn)}
    earliest = any(".bnneck." in name for name in tensors)
    latest = any(re.match(r"(?:heads|b1_head)\.weight$", name) for name in tensors)
    resnest = told["backbone"].startswith("resnest")
    told["non_local"] = any(".NL_" in name for name in tensors)
    if mgn:
        told["head"] = "mgn_relu" if any("_pool.2." in name for name in tensors) else "mgn"
    learnt = any(name.endswith((".pool_layer.p", "_pool.0.p")) for name in tensors)
    fixed = told["non_local"] or any(word in stem for word in ("agw", "sbs", "vehicleid", "veriwild"))
    told["pooling"] = "gem_learnt" if learnt else "gem" if fixed or mgn else "average"
    if not learnt:
        assumed.append(f"pooling: {told['pooling']}")
    told["ceil_pool"] = not earliest and not resnest
    told["dilated"] = latest and resnest
    if not latest and not earliest:
        assumed.append(f"ceil_pool: {str(told['ceil_pool']).lower()}")
    told["height"], told["width"] = _size(stem, mgn)
    told["resize"] = "bicubic"
    assumed.append(f"height: {told['height']}, width: {told['width']}")
    return told, tuple(word for word in assumed if word.split(":")[0] not in given)


def _backbone(tensors: Mapping[str, Tensor], mgn: bool) -> str:
    def has(name: str) -> bool:
        return f"backbone.{name}" in tensors

    if has("conv1.0.weight"):
        return "resnest101" if has("layer3.22.conv1.weight") else "resnest50"
    first = "backbone.4.0" if mgn else "backbone.layer1.0"
    deep = "b1.0.21.conv1.weight" if mgn else "backbone.layer3.22.conv1.weight"
    bottleneck = f"{first}.conv3.weight" in tensors
    if bottleneck:
        depth = "101" if deep in tensors else "50"
    else:
        depth = "34" if has("layer3.5.conv1.weight") else "18"
    gate = "se_" if f"{first}.se.fc.0.weight" in tensors else ""
    return f"{gate}resnet{depth}" + ("_ibn_a" if f"{first}.bn1.IN.weight" in tensors else "")


def _size(stem: str, mgn: bool) -> tuple[int, int]:
    """Height and width, as the zoo's recipes have them."""
    if any(word in stem for word in ("veri", "vehicleid")):
        return 256, 256
    return (384, 128) if mgn or "sbs" in stem or "mgn" in stem else (256, 128)


def _named(name: str) -> str:
    for pattern, ours in (*_HEADS, *_MGN):
        if re.match(r"backbone\.(?:conv1|bn1|layer|NL_)", name):
            return name
        changed, found = pattern.subn(ours, name)
        if found:
            return changed
    return name


def _shaped(tensor: Tensor, shape: torch.Size | None) -> Tensor:
    """A 1×1 convolution of a pooled vector is a linear layer."""
    if shape is not None and tensor.dim() == 4 and tensor.shape[:2] == shape and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor


def _hold_pixels(path: Path, name: str, tensor: Tensor) -> None:
    expected = torch.tensor(_PIXELS[name])
    if tensor.numel() != 3 or not torch.allclose(tensor.flatten().float().cpu(), expected, atol=1e-2):
        raise ReidError(
            f"{path}: its {name} is {tensor.flatten().tolist()}, and images here are normalised with "
            f"{expected.tolist()}: it cannot be used"
        )
