"""FastReID's networks written out over its own tensor names: random files and their features.

From a description of its zoo (blocks, splits, non-local blocks, heads, names); no module, no import of ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
NON_LOCAL = {50: {2: (2, 3), 3: (3, 4, 5)}, 101: {2: (2, 3), 3: tuple(range(14, 23))}}
MGN_PARTS = ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33")
Tensors = dict[str, Tensor]


class Draw:
    """Random tensors by name, of a size at which signals neither vanish nor explode."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors: Tensors = {}

    def conv(
        self, name: str, out: int, inputs: int, size: int, bias: bool = False, gain: float = 1.0
    ) -> None:
        scale = gain / (inputs * size * size) ** 0.5
        self.tensors[f"{name}.weight"] = self.normal(out, inputs, size, size) * scale
        if bias:
            self.tensors[f"{name}.bias"] = self.normal(out) * 0.1

    def norm(self, name: str, width: int, running: bool = True) -> None:
        self.tensors[f"{name}.weight"] = 0.8 + 0.4 * torch.rand(width, generator=self.generator)
        self.tensors[f"{name}.bias"] = self.normal(width) * 0.1
        if running:
            self.tensors[f"{name}.running_mean"] = self.normal(width) * 0.1
            self.tensors[f"{name}.running_var"] = 0.7 + 0.6 * torch.rand(width, generator=self.generator)
            self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)


def _draw_block(draw: Draw, name: str, inputs: int, planes: int, shortcut: bool, ibn: bool) -> None:
    draw.conv(f"{name}.conv1", planes, inputs, 1)
    if ibn:
        draw.norm(f"{name}.bn1.IN", planes // 2, running=False)
        draw.norm(f"{name}.bn1.BN", planes - planes // 2)
    else:
        draw.norm(f"{name}.bn1", planes)
    draw.conv(f"{name}.conv2", planes, planes, 3)
    draw.norm(f"{name}.bn2", planes)
    draw.conv(f"{name}.conv3", 4 * planes, planes, 1)
    draw.norm(f"{name}.bn3", 4 * planes)
    if shortcut:
        draw.conv(f"{name}.downsample.0", 4 * planes, inputs, 1)
        draw.norm(f"{name}.downsample.1", 4 * planes)


def _draw_resnet(draw: Draw, depth: int, ibn: bool, prefix: str = "backbone.") -> None:
    draw.conv(f"{prefix}conv1", 64, 3, 7)
    draw.norm(f"{prefix}bn1", 64)
    inputs = 64
    for layer, blocks in enumerate(BLOCKS[depth], 1):
        planes = 32 << layer
        for block in range(blocks):
            _draw_block(draw, f"{prefix}layer{layer}.{block}", inputs, planes, block == 0, ibn and layer < 4)
            inputs = 4 * planes


def single(
    seed: int, depth: int = 50, *, ibn: bool = False, non_local: bool = False, learnt: bool = False,
    names: str = "today", classes: int = 5,
) -> Tensors:  # fmt: skip
    """A file's tensors of BoT, AGW or SBS; `names`: zoo (2020), middle (v1.0) or today."""
    draw = Draw(seed)
    _draw_resnet(draw, depth, ibn)
    for layer, places in NON_LOCAL[depth].items() if non_local else ():
        channels = 128 << layer
        for index in range(len(places)):
            name = f"backbone.NL_{layer}.{index}"
            for part in ("g", "theta", "phi"):
                draw.conv(f"{name}.{part}", 1, channels, 1, bias=True, gain=0.3)  # a product of three
            draw.conv(f"{name}.W.0", channels, 1, 1, bias=True)
            draw.norm(f"{name}.W.1", channels)
    draw.norm("heads.bnneck" if names == "zoo" else "heads.bottleneck.0", 2048)
    if learnt:
        draw.tensors["heads.pool_layer.p"] = torch.tensor([2.5])
    weight = "heads.weight" if names == "today" else "heads.classifier.weight"
    draw.tensors[weight] = draw.normal(classes, 2048)
    if names != "today":
        draw.tensors["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
        draw.tensors["pixel_std"] = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    return draw.tensors


def mgn(seed: int, *, published: bool = False, classes: int = 5) -> Tensors:
    """A file's tensors of MGN with ResNet-50-IBN-a, in today's form or in that of the published files."""
    plain = Draw(seed)
    _draw_resnet(plain, 50, True, "")
    draw = Draw(seed + 1)
    stem = {"conv1.": "0.", "bn1.": "1.", "layer1.": "4.", "layer2.": "5.", "layer3.0.": "6."}
    for name, tensor in plain.tensors.items():
        layer, _, rest = name.partition(".")
        index, _, inner = rest.partition(".")
        if layer == "layer4" or (layer == "layer3" and index != "0"):
            place = f"1.{index}" if layer == "layer4" else f"0.{int(index) - 1}"
            for branch in (1, 2, 3):  # three copies that differ
                moved = tensor if not tensor.is_floating_point() else tensor * (1 + 0.05 * branch)
                draw.tensors[f"b{branch}.{place}.{inner}"] = moved
        else:
            ours = next(start for start in stem if name.startswith(start))
            draw.tensors[f"backbone.{stem[ours]}{name.removeprefix(ours)}"] = tensor
    for part in MGN_PARTS:
        if published:
            draw.tensors[f"{part}_pool.0.p"] = torch.tensor([3.2])
            draw.conv(f"{part}_pool.1", 256, 2048, 1)
            draw.norm(f"{part}_pool.2", 256)
            draw.norm(f"{part}_head.bnneck", 256)
            draw.tensors[f"{part}_head.classifier.weight"] = draw.normal(classes, 256)
        else:
            draw.tensors[f"{part}_head.pool_layer.p"] = torch.tensor([2.0 + 0.1 * len(part)])
            draw.conv(f"{part}_head.bottleneck.0", 256, 2048, 1)
            draw.norm(f"{part}_head.bottleneck.1", 256)
            draw.tensors[f"{part}_head.weight"] = draw.normal(classes, 256)
    return draw.tensors


class Training(Tensors):
    """Of a network in training: batches are normalised by themselves, and running statistics follow."""

    frozen: tuple[str, ...] = ()
    """Beginnings of the names of what uses and keeps its running statistics."""


def _norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    shape = (1, -1) + (1,) * (x.dim() - 2)
    mean, var, weight, bias = (
        t[f"{name}.{part}"].view(shape) for part in ("running_mean", "running_var", "weight", "bias")
    )
    if isinstance(t, Training) and not (t.frozen and name.startswith(t.frozen)):
        over = [0, *range(2, x.dim())]
        mean, var = x.mean(over, keepdim=True), x.var(over, unbiased=False, keepdim=True)
        seen = {"running_mean": mean, "running_var": x.var(over, unbiased=True)}
        for part, value in seen.items():
            t[f"{name}.{part}"] = 0.9 * t[f"{name}.{part}"] + 0.1 * value.detach().flatten()
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def _split(t: Tensors, name: str, x: Tensor) -> Tensor:
    """IBN-a: half the channels normalised by image."""
    if f"{name}.IN.weight" not in t:
        return _norm(t, name, x)
    half = len(t[f"{name}.IN.weight"])
    a, b = x[:, :half], x[:, half:]
    var = a.var((2, 3), unbiased=False, keepdim=True)
    a = (a - a.mean((2, 3), keepdim=True)) / (var + 1e-5).sqrt()
    a = a * t[f"{name}.IN.weight"].view(1, -1, 1, 1) + t[f"{name}.IN.bias"].view(1, -1, 1, 1)
    return torch.cat((a, _norm(t, f"{name}.BN", b)), 1)


def _block(t: Tensors, name: str, x: Tensor, stride: int) -> Tensor:
    out = F.relu(_split(t, f"{name}.bn1", F.conv2d(x, t[f"{name}.conv1.weight"])))
    out = F.relu(_norm(t, f"{name}.bn2", F.conv2d(out, t[f"{name}.conv2.weight"], stride=stride, padding=1)))
    out = _norm(t, f"{name}.bn3", F.conv2d(out, t[f"{name}.conv3.weight"]))
    if f"{name}.downsample.0.weight" in t:
        shortcut = F.conv2d(x, t[f"{name}.downsample.0.weight"], stride=stride)
        x = _norm(t, f"{name}.downsample.1", shortcut)
    return F.relu(out + x)


def _non_local(t: Tensors, name: str, x: Tensor) -> Tensor:
    """The whole matrix of pairs, as the paper draws it."""
    batch, _, height, width = x.shape

    def conv(part: str) -> Tensor:
        return F.conv2d(x, t[f"{name}.{part}.weight"], t[f"{name}.{part}.bias"]).view(batch, -1)

    pairs = conv("theta")[:, :, None] * conv("phi")[:, None, :] / (height * width)
    y = (pairs @ conv("g")[:, :, None]).view(batch, 1, height, width)
    return x + _norm(t, f"{name}.W.1", F.conv2d(y, t[f"{name}.W.0.weight"], t[f"{name}.W.0.bias"]))


def _stem(t: Tensors, images: Tensor, conv: str, norm: str, ceil: bool) -> Tensor:
    mean = torch.tensor([123.675, 116.28, 103.53], dtype=images.dtype).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375], dtype=images.dtype).view(1, 3, 1, 1)
    x = F.relu(_norm(t, norm, F.conv2d((images - mean) / std, t[f"{conv}.weight"], stride=2, padding=3)))
    return F.max_pool2d(x, 3, 2, 0, ceil_mode=True) if ceil else F.max_pool2d(x, 3, 2, 1)


def _gem(x: Tensor, p: Tensor | float) -> Tensor:
    return x.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p)


def single_features(
    t: Tensors, images: Tensor, depth: int = 50, *, pooling: str = "average", ceil: bool = True
) -> Tensor:
    """Features of unit length of images float [B, 3, H, W], 0…255."""
    return F.normalize(single_rows(t, images, depth, pooling=pooling, ceil=ceil)[1])


def single_rows(
    t: Tensors, images: Tensor, depth: int = 50, *, pooling: str = "average", ceil: bool = True
) -> tuple[Tensor, Tensor]:
    """Rows before and after the neck, of any length."""
    x = _stem(t, images, "backbone.conv1", "backbone.bn1", ceil)
    for layer, blocks in enumerate(BLOCKS[depth], 1):
        places = NON_LOCAL[depth].get(layer, ())
        for block in range(blocks):
            stride = 2 if block == 0 and layer in (2, 3) else 1
            x = _block(t, f"backbone.layer{layer}.{block}", x, stride)
            if block in places and f"backbone.NL_{layer}.0.g.weight" in t:
                x = _non_local(t, f"backbone.NL_{layer}.{places.index(block)}", x)
    if "heads.pool_layer.p" in t:
        pooled = _gem(x, t["heads.pool_layer.p"])
    else:
        pooled = x.mean((2, 3)) if pooling == "average" else _gem(x, 3)
    neck = "heads.bnneck" if "heads.bnneck.weight" in t else "heads.bottleneck.0"
    return pooled, _norm(t, neck, pooled)


def resnest_features(t: Tensors, images: Tensor, *, dilated: bool) -> Tensor:
    """As `single_features`, of a file of BoT with ResNeSt-50; the last stage of today's is dilated."""
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    x = (images - mean) / std
    for conv, norm, stride in (("conv1.0", "conv1.1", 2), ("conv1.3", "conv1.4", 1), ("conv1.6", "bn1", 1)):
        x = F.conv2d(x, t[f"backbone.{conv}.weight"], stride=stride, padding=1)
        x = F.relu(_norm(t, f"backbone.{norm}", x))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, blocks in enumerate(BLOCKS[50], 1):
        for block in range(blocks):
            begins = block == 0 and layer > 1
            stride = 2 if begins and layer < 4 else 1
            spread = 2 if dilated and layer == 4 and block else 1
            x = _split_attention(t, f"backbone.layer{layer}.{block}", x, stride, spread, averages=begins)
    neck = "heads.bnneck" if "heads.bnneck.weight" in t else "heads.bottleneck.0"
    return F.normalize(_norm(t, neck, x.mean((2, 3))))


def _split_attention(t: Tensors, name: str, x: Tensor, stride: int, spread: int, *, averages: bool) -> Tensor:
    """A block of ResNeSt: two groups of maps, weighed against each other by what their sum's mean says."""
    out = F.relu(_norm(t, f"{name}.bn1", F.conv2d(x, t[f"{name}.conv1.weight"])))
    out = F.conv2d(out, t[f"{name}.conv2.conv.weight"], padding=spread, dilation=spread, groups=2)
    out = F.relu(_norm(t, f"{name}.conv2.bn0", out))
    first, second = out.chunk(2, 1)
    seen = (first + second).mean((2, 3), keepdim=True)
    seen = F.conv2d(seen, t[f"{name}.conv2.fc1.weight"], t[f"{name}.conv2.fc1.bias"])
    seen = F.relu(_norm(t, f"{name}.conv2.bn1", seen))
    seen = F.conv2d(seen, t[f"{name}.conv2.fc2.weight"], t[f"{name}.conv2.fc2.bias"])
    one, other = torch.stack(seen.chunk(2, 1)).softmax(0)
    out = one * first + other * second
    if averages:
        out = F.avg_pool2d(out, 3, stride, 1)
    out = _norm(t, f"{name}.bn3", F.conv2d(out, t[f"{name}.conv3.weight"]))
    if f"{name}.downsample.1.weight" in t:
        x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
        x = _norm(t, f"{name}.downsample.2", F.conv2d(x, t[f"{name}.downsample.1.weight"]))
    return F.relu(out + x)


def mgn_features(t: Tensors, images: Tensor, *, published: bool = False) -> Tensor:
    """As `single_features`, of a file of MGN."""
    return F.normalize(torch.cat(list(mgn_rows(t, images, published=published).values()), 1))


def mgn_rows(t: Tensors, images: Tensor, *, published: bool = False) -> dict[str, Tensor]:
    """Of each part: rows after its neck, of any length."""
    x = _stem(t, images, "backbone.0", "backbone.1", ceil=not published)
    for layer, place in ((1, "backbone.4"), (2, "backbone.5")):
        for block in range(BLOCKS[50][layer - 1]):
            x = _block(t, f"{place}.{block}", x, 2 if layer == 2 and block == 0 else 1)
    x = _block(t, "backbone.6", x, 2)
    maps = []
    for branch in (1, 2, 3):
        y = x
        for index in range(BLOCKS[50][2] - 1):
            y = _block(t, f"b{branch}.0.{index}", y, 1)
        for index in range(BLOCKS[50][3]):
            y = _block(t, f"b{branch}.1.{index}", y, 1)
        maps.append(y)
    seen = dict(zip(("b1", "b2", "b3"), maps, strict=True))
    seen["b21"], seen["b22"] = torch.chunk(maps[1], 2, dim=2)
    seen["b31"], seen["b32"], seen["b33"] = torch.chunk(maps[2], 3, dim=2)
    rows = {}
    for part in MGN_PARTS:
        if published:
            pooled = _gem(seen[part], t[f"{part}_pool.0.p"])
            row = pooled @ t[f"{part}_pool.1.weight"].flatten(1).T
            rows[part] = _norm(t, f"{part}_head.bnneck", F.relu(_norm(t, f"{part}_pool.2", row)))
        else:
            pooled = _gem(seen[part], t[f"{part}_head.pool_layer.p"])
            row = pooled @ t[f"{part}_head.bottleneck.0.weight"].flatten(1).T
            rows[part] = _norm(t, f"{part}_head.bottleneck.1", row)
    return rows
