"""ResNets, plain and with instance normalisation, whose tensors are called as the published files call them.

ResNet: He et al. 2016. IBN-a and IBN-b: Pan et al. 2018, section 3.2, and github.com/XingangPan/IBN-Net
(MIT). Squeeze and excitation: Hu et al. 2018. What the variants change:

* a: in layers 1 to 3 every block's `bn1` normalises its first half of channels per image (`bn1.IN`)
  and the rest over the batch (`bn1.BN`).
* b: the stem's `bn1` is an instance normalisation, and the last block of the early layers has one
  more, `IN`, after the residual sum. For 50 and 101 layers the original does so in layers 1, 2 and 3,
  and we with it; IBN-Net's own release, and our 18 and 34, in layers 1 and 2 only. Its released
  weights for `resnet101_ibn_b` therefore lack `layer3.22.IN`, which then starts as drawn: scale 1.

No classifier, no final pooling: an image [B, 3, H, W] becomes a map [B, D, H/16, W/16], or H/32 and
W/32 with `last_stride` 2.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from naic_reid.models import non_local
from naic_reid.models.instance_norm import InstanceNorm2d
from naic_reid.models.usam import USAM


class IBN(nn.Module):
    """Instance normalisation for the first half of the channels, batch normalisation for the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = InstanceNorm2d(self.split)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, x: Tensor) -> Tensor:
        # Split, for the gradient of two slices is a sum of maps filled up with zeros, channels first.
        by_image, by_batch = torch.split(x, [self.split, x.shape[1] - self.split], 1)
        return torch.cat((self.IN(by_image), self.BN(by_batch)), 1)


class SqueezeExcitation(nn.Module):
    """Each channel times a gate in (0, 1) that is computed from all channels' means."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.fc(x.mean((2, 3)))
        return x * gates[:, :, None, None]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, for 18 and 34 layers."""

    expansion = 1
    ibn_b = (1, 2)

    def __init__(self, inputs: int, planes: int, stride: int, *, ibn: str = "", se: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = IBN(planes) if ibn == "a" else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.se = SqueezeExcitation(planes) if se else None
        self.IN = InstanceNorm2d(planes) if ibn == "b" else None
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return _joined(self, x, out)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut, for 50 and 101 layers; the 3×3 has the stride."""

    expansion = 4
    ibn_b = (1, 2, 3)

    def __init__(self, inputs: int, planes: int, stride: int, *, ibn: str = "", se: bool = False) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = IBN(planes) if ibn == "a" else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.se = SqueezeExcitation(outputs) if se else None
        self.IN = InstanceNorm2d(outputs) if ibn == "b" else None
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return _joined(self, x, out)


class ResNet(nn.Module):
    """Stem and four layers of blocks."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        last_stride: int,
        *,
        ibn: str = "",
        se: bool = False,
        num_non_local: tuple[int, int] = (0, 0),
        ceil_pool: bool = False,
        usam: bool = False,
    ) -> None:
        """
        Args:
            block: BasicBlock or Bottleneck.
            depths: blocks of each layer.
            last_stride: of layer 4.
            ibn: "", "a" (layers 1 to 3) or "b" (the block's `ibn_b` layers).
            se: squeeze and excitation in each block.
            num_non_local: so many of layer 2's and layer 3's last blocks are followed by a non-local block.
            ceil_pool: the stem's pooling has no border and rounds sizes up, as FastReID's since August 2020;
                else a border of one, as published files were trained.
            usam: attention by subtraction before the stem's pooling and after layer 1.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = InstanceNorm2d(64) if ibn == "b" else nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 0 if ceil_pool else 1, ceil_mode=ceil_pool)
        self.dimension = 512 * block.expansion
        inputs = 64
        for number, (depth, stride) in enumerate(zip(depths, (1, 2, 2, last_stride), strict=True), start=1):
            planes = 32 << number
            blocks = []
            for index in range(depth):
                here = number < 4 if ibn == "a" else number in block.ibn_b and index == depth - 1
                kind = ibn if here else ""
                blocks.append(block(inputs, planes, stride if index == 0 else 1, ibn=kind, se=se))
                inputs = planes * block.expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        if any(num_non_local):
            self.NL_2 = non_local.blocks(128 * block.expansion, num_non_local[0])
            self.NL_3 = non_local.blocks(256 * block.expansion, num_non_local[1])
        if usam:
            self.usam_stem, self.usam_1 = USAM(), USAM()
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith("NL_"):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """The last map; images [B, 3, H, W]."""
        x: Tensor = self.relu(self.bn1(self.conv1(images)))
        if hasattr(self, "usam_stem"):
            x = self.usam_1(self.layer1(self.maxpool(self.usam_stem(x))))
        else:
            x = self.layer1(self.maxpool(x))
        if hasattr(self, "NL_2"):
            x = non_local.through(self.layer3, self.NL_3, non_local.through(self.layer2, self.NL_2, x))
        else:
            x = self.layer3(self.layer2(x))
        last: Tensor = self.layer4(x)
        return last


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    """What makes a block's input fit its output; none where it fits already."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _joined(block: BasicBlock | Bottleneck, x: Tensor, out: Tensor) -> Tensor:
    """The end of both blocks: gate, shortcut, instance normalisation, ReLU."""
    if block.se is not None:
        out = block.se(out)
    out += x if block.downsample is None else block.downsample(x)
    if block.IN is not None:
        out = block.IN(out)
    joined: Tensor = block.relu(out)
    return joined


_18, _34, _50, _101 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 6, 3), (3, 4, 23, 3)

RESNETS: dict[str, Callable[..., ResNet]] = {
    "resnet18": partial(ResNet, BasicBlock, _18),
    "resnet34": partial(ResNet, BasicBlock, _34),
    "resnet50": partial(ResNet, Bottleneck, _50),
    "resnet101": partial(ResNet, Bottleneck, _101),
    "resnet18_ibn_a": partial(ResNet, BasicBlock, _18, ibn="a"),
    "resnet34_ibn_a": partial(ResNet, BasicBlock, _34, ibn="a"),
    "resnet50_ibn_a": partial(ResNet, Bottleneck, _50, ibn="a"),
    "resnet101_ibn_a": partial(ResNet, Bottleneck, _101, ibn="a"),
    "resnet18_ibn_b": partial(ResNet, BasicBlock, _18, ibn="b"),
    "resnet34_ibn_b": partial(ResNet, BasicBlock, _34, ibn="b"),
    "resnet50_ibn_b": partial(ResNet, Bottleneck, _50, ibn="b"),
    "resnet101_ibn_b": partial(ResNet, Bottleneck, _101, ibn="b"),
    "se_resnet50_ibn_a": partial(ResNet, Bottleneck, _50, ibn="a", se=True),
    "se_resnet101_ibn_a": partial(ResNet, Bottleneck, _101, ibn="a", se=True),
}
"""Name → a function of the last stage's stride that returns the network, randomly drawn."""
