"""OSNet as a table of tensors under torchreid's names and the operations of the papers, one after the other.

Zhou et al. 2019, figures 3 to 5 and table 1; Zhou et al. 2021, section 3.2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = dict[str, Tensor]


def features(t: Tensors, images: Tensor) -> Tensor:
    """[B, 512] behind the file's `fc`, of normalised images [B, 3, H, W]."""
    means = last_map(t, images).mean((2, 3))
    return _relu(_norm(t, "fc.1", F.linear(means, t["fc.0.weight"], t["fc.0.bias"])))


def last_map(t: Tensors, images: Tensor) -> Tensor:
    """[B, D, H/16, W/16]."""
    x = _relu(_norm(t, "conv1.bn", F.conv2d(images, t["conv1.conv.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer in (2, 3, 4):
        for index in (0, 1):
            x = _block(t, f"conv{layer}.{index}", x)
        if layer < 4:
            pool = f"pool{layer}.0" if f"pool{layer}.0.conv.weight" in t else f"conv{layer}.2.0"
            x = F.avg_pool2d(_pointwise(t, pool, x), 2)
    return _pointwise(t, "conv5", x)


def _block(t: Tensors, name: str, x: Tensor) -> Tensor:
    within = _pointwise(t, f"{name}.conv1", x)
    total = torch.zeros(())
    for depth, letter in enumerate("abcd", start=1):
        scale = within
        for at in range(depth):
            plain = f"{name}.conv2{letter}" + (f".{at}" if depth > 1 else "")
            searched = f"{name}.conv2.{depth - 1}.layers.{at}"
            scale = _light(t, plain if f"{plain}.bn.weight" in t else searched, scale)
        total = total + scale * _gate(t, f"{name}.gate", scale)
    out = F.conv2d(total, t[f"{name}.conv3.conv.weight"])
    by_image_within = f"{name}.conv3.bn.weight" not in t
    out = _norm(t, f"{name}.IN" if by_image_within else f"{name}.conv3.bn", out)
    short = x
    if f"{name}.downsample.conv.weight" in t:
        short = _norm(t, f"{name}.downsample.bn", F.conv2d(x, t[f"{name}.downsample.conv.weight"]))
    out = out + short
    if f"{name}.IN.weight" in t and not by_image_within:
        out = _norm(t, f"{name}.IN", out)
    return _relu(out)


def _pointwise(t: Tensors, name: str, x: Tensor) -> Tensor:
    return _relu(_norm(t, f"{name}.bn", F.conv2d(x, t[f"{name}.conv.weight"])))


def _light(t: Tensors, name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x, t[f"{name}.conv1.weight"])
    x = F.conv2d(x, t[f"{name}.conv2.weight"], padding=1, groups=x.shape[1])
    return _relu(_norm(t, f"{name}.bn", x))


def _gate(t: Tensors, name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x.mean((2, 3), keepdim=True), t[f"{name}.fc1.weight"], t[f"{name}.fc1.bias"])
    return torch.sigmoid(F.conv2d(_relu(x), t[f"{name}.fc2.weight"], t[f"{name}.fc2.bias"]))


def _norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    """By the running statistics where there are some, else each channel of each image by its own."""
    if f"{name}.running_mean" in t:
        mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, var = mean.reshape(shape), var.reshape(shape)
    else:
        shape = (1, -1, 1, 1)
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    weight, bias = t[f"{name}.weight"].reshape(shape), t[f"{name}.bias"].reshape(shape)
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def _relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def published(channels: tuple[int, ...], kind: str, generator: torch.Generator, classes: int = 7) -> Tensors:
    """A file of torchreid's, drawn: its names and shapes for the stem's and the blocks' channels.

    `kind` is "", "ibn" or "ain".
    """
    t: Tensors = {}

    def draw(name: str, *shape: int, low: float = -0.5, high: float = 0.5) -> None:
        t[name] = torch.rand(shape, generator=generator) * (high - low) + low

    def convolution(name: str, outputs: int, inputs: int, side: int = 1) -> None:
        spread = (6 / (inputs * side * side)) ** 0.5
        draw(f"{name}.weight", outputs, inputs, side, side, low=-spread, high=spread)

    def norm(name: str, width: int, by_image: bool = False) -> None:
        draw(f"{name}.weight", width, low=0.5, high=1.5)
        draw(f"{name}.bias", width)
        if not by_image:
            draw(f"{name}.running_mean", width)
            draw(f"{name}.running_var", width, low=0.5, high=2)
            t[f"{name}.num_batches_tracked"] = torch.tensor(3)

    def pointwise(name: str, outputs: int, inputs: int) -> None:
        convolution(f"{name}.conv", outputs, inputs)
        norm(f"{name}.bn", outputs)

    def block(name: str, outputs: int, inputs: int, by_image: str) -> None:
        within = outputs // 4
        pointwise(f"{name}.conv1", within, inputs)
        for depth, letter in enumerate("abcd", start=1):
            for at in range(depth):
                light = f"{name}.conv2.{depth - 1}.layers.{at}"
                if kind != "ain":
                    light = f"{name}.conv2{letter}" + (f".{at}" if depth > 1 else "")
                convolution(f"{light}.conv1", within, within)
                convolution(f"{light}.conv2", within, 1, 3)
                norm(f"{light}.bn", within)
        for fc, (rows, columns) in {"fc1": (within // 16, within), "fc2": (within, within // 16)}.items():
            convolution(f"{name}.gate.{fc}", rows, columns)
            draw(f"{name}.gate.{fc}.bias", rows)
        convolution(f"{name}.conv3.conv", outputs, within)
        if by_image != "ain":
            norm(f"{name}.conv3.bn", outputs)
        if inputs != outputs:
            pointwise(f"{name}.downsample", outputs, inputs)
        if by_image:
            norm(f"{name}.IN", outputs, by_image=True)

    kinds = {"": [""] * 6, "ibn": ["ibn"] * 2 + [""] * 4, "ain": ["ain", "ain", "", "ain", "ain", ""]}[kind]
    convolution("conv1.conv", channels[0], 3, 7)
    norm("conv1.bn", channels[0], by_image=bool(kind))
    for at, layer in enumerate((2, 3, 4)):
        inputs, outputs = channels[at], channels[at + 1]
        block(f"conv{layer}.0", outputs, inputs, kinds[2 * at])
        block(f"conv{layer}.1", outputs, outputs, kinds[2 * at + 1])
        if layer < 4:
            pointwise(f"pool{layer}.0" if kind == "ain" else f"conv{layer}.2.0", outputs, outputs)
    pointwise("conv5", channels[3], channels[3])
    draw("fc.0.weight", 512, channels[3], low=-0.1, high=0.1)
    draw("fc.0.bias", 512)
    norm("fc.1", 512)
    draw("classifier.weight", classes, 512)
    draw("classifier.bias", classes)
    return t
