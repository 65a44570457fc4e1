"""OSNet, plain, with IBN and with AIN, whose tensors are called as torchreid's `osnet_ain` files call them.

Zhou et al., Omni-Scale Feature Learning for Person Re-Identification, ICCV 2019: a block sees its input at
four scales, through streams of one to four light 3×3 convolutions (pointwise, then depthwise), and one gate,
shared by the streams, says for each image and channel how much of each scale passes. What the variants
of Zhou et al., Learning Generalisable Omni-Scale Representations, TPAMI 2021, change:

* ibn: the stem normalises each image by itself, and so do the blocks of `conv2`, after the residual sum.
* ain: the stem does, and four of the six blocks, before the sum and in the place of the normalisation over
  the batch; which ones was searched for.

No classifier, no final pooling, no `fc`: an image [B, 3, H, W] becomes a map [B, D, H/16, W/16].
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from naic_reid.models.instance_norm import InstanceNorm2d

_STREAMS = 4
_REDUCTION = 4  # of a block's channels within it
_GATE_REDUCTION = 16


class Convolution(nn.Module):
    """Convolution without bias, normalisation, and ReLU unless it is linear."""

    FOLDED = (("conv", "bn"),)

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, instance: bool = False,
        linear: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn: nn.Module = InstanceNorm2d(outputs) if instance else nn.BatchNorm2d(outputs)
        self.relu = nn.Identity() if linear else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.relu(self.bn(self.conv(x)))
        return found


class LightConvolution(nn.Module):
    """A 3×3 convolution in two: across channels, then within each; normalisation and ReLU follow."""

    FOLDED = (("conv2", "bn"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.relu(self.bn(self.conv2(self.conv1(x))))
        return found


class Stream(nn.Module):
    """One scale: so many light convolutions, one after the other."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(LightConvolution(channels) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


class Gate(nn.Module):
    """Each channel times a share in (0, 1) that is computed from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _GATE_REDUCTION, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // _GATE_REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        shares: Tensor = self.fc2(self.relu(self.fc1(means))).sigmoid()
        return x * shares


class Block(nn.Module):
    """Pointwise in, four gated scales added up, pointwise out, and a shortcut.

    `kind` is "" (plain), "ibn" (an instance normalisation after the sum) or "ain" (one before it).
    """

    def __init__(self, inputs: int, outputs: int, kind: str = "") -> None:
        super().__init__()
        within = outputs // _REDUCTION
        self.kind = kind
        self.conv1 = Convolution(inputs, within)
        self.conv2 = nn.ModuleList(Stream(within, depth) for depth in range(1, _STREAMS + 1))
        self.gate = Gate(within)
        self.conv3 = Convolution(within, outputs, linear=True)
        if kind == "ain":
            self.conv3.bn = nn.Identity()
        self.downsample = Convolution(inputs, outputs, linear=True) if inputs != outputs else nn.Identity()
        self.IN = InstanceNorm2d(outputs) if kind else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        within = self.conv1(x)
        first, *others = (self.gate(stream(within)) for stream in self.conv2)
        out = self.conv3(sum(others, first))
        short = self.downsample(x)
        found: Tensor = self.relu(self.IN(out) + short if self.kind == "ain" else self.IN(out + short))
        return found


class OSNet(nn.Module):
    """Stem and six blocks, two of each width."""

    def __init__(self, channels: tuple[int, int, int, int], kinds: Sequence[str]) -> None:
        """
        Args:
            channels: of the stem and of the three pairs of blocks.
            kinds: of the six blocks; the stem normalises by image where the first does.
        """
        super().__init__()
        stem, two, three, four = channels
        self.dimension = four
        self.conv1 = Convolution(3, stem, 7, 2, instance=bool(kinds[0]))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = nn.Sequential(Block(stem, two, kinds[0]), Block(two, two, kinds[1]))
        self.pool2 = nn.Sequential(Convolution(two, two), nn.AvgPool2d(2))
        self.conv3 = nn.Sequential(Block(two, three, kinds[2]), Block(three, three, kinds[3]))
        self.pool3 = nn.Sequential(Convolution(three, three), nn.AvgPool2d(2))
        self.conv4 = nn.Sequential(Block(three, four, kinds[4]), Block(four, four, kinds[5]))
        self.conv5 = Convolution(four, four)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """The last map; images [B, 3, H, W]."""
        x = self.maxpool(self.conv1(images))
        x = self.pool2(self.conv2(x))
        x = self.pool3(self.conv3(x))
        found: Tensor = self.conv5(self.conv4(x))
        return found


_EARLIER = (
    (re.compile(r"^(conv[234]\.[01]\.)conv2a\."), r"\1conv2.0.layers.0."),
    (re.compile(r"^(conv[234]\.[01]\.)conv2b\."), r"\1conv2.1.layers."),
    (re.compile(r"^(conv[234]\.[01]\.)conv2c\."), r"\1conv2.2.layers."),
    (re.compile(r"^(conv[234]\.[01]\.)conv2d\."), r"\1conv2.3.layers."),
    (re.compile(r"^conv([23])\.2\.0\."), r"pool\1.0."),
)


def renamed(name: str) -> str:
    """A tensor's name here, by its name in torchreid's files of `osnet_x…` and `osnet_ibn_x…`."""
    for theirs, ours in _EARLIER:
        name = theirs.sub(ours, name)
    return name


_PLAIN = ("",) * 6
_IBN = ("ibn", "ibn", "", "", "", "")
_AIN = ("ain", "ain", "", "ain", "ain", "")
_X1_0, _X0_75 = (64, 256, 384, 512), (48, 192, 288, 384)
_X0_5, _X0_25 = (32, 128, 192, 256), (16, 64, 96, 128)

OSNETS: dict[str, Callable[[], OSNet]] = {
    "osnet_x1_0": partial(OSNet, _X1_0, _PLAIN),
    "osnet_x0_75": partial(OSNet, _X0_75, _PLAIN),
    "osnet_x0_5": partial(OSNet, _X0_5, _PLAIN),
    "osnet_x0_25": partial(OSNet, _X0_25, _PLAIN),
    "osnet_ibn_x1_0": partial(OSNet, _X1_0, _IBN),
    "osnet_ain_x1_0": partial(OSNet, _X1_0, _AIN),
    "osnet_ain_x0_75": partial(OSNet, _X0_75, _AIN),
    "osnet_ain_x0_5": partial(OSNet, _X0_5, _AIN),
    "osnet_ain_x0_25": partial(OSNet, _X0_25, _AIN),
}
