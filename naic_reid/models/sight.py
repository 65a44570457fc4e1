"""What a network does at borders and with a body's scale: layers that know how their images are shown.

Border, at every padded layer:

* zero: what lies outside of a map is 0, as trained.
* blank: it is what a blank, endless image would have at that depth, one number for each channel. With b that
  number, padding with it equals conv(x − b), padded with zeros, + (Σ_taps W)·b: two sums a layer. A blank
  image then gives a map that is constant over positions.
* masked: before every operation that pads, convolutions and the maximum, all outside of the picture is set
  to 0; after a stride of s the picture's mask is every s-th of its rows and columns. The map inside is then
  that of the picture alone (`geometry: crop`).

Scale: taps are spread, see `scaled_conv`. No weights change: all of it works on any checkpoint of a plain
ResNet; networks whose normalisations or gates look at the whole image have no constant blank and no map of
the picture alone.
"""

import torch
from torch import Tensor, nn

from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.models import scaled_conv

PLAIN = ("resnet18", "resnet34", "resnet50", "resnet101")
"""Backbones of convolutions and batch normalisations alone."""


class Sight:
    """How the images of the batch at hand are shown; the layers of one network share it."""

    inside: Tensor | None = None
    """float [B, 1, H, W], 1 where the picture is; None: everywhere."""
    scale: Tensor | None = None
    """float32 [2] or [B, 2], how much larger than in training bodies appear, vertically and horizontally."""

    def at(self, stride: int) -> Tensor | None:
        """The picture's mask on a map of this stride."""
        return None if self.inside is None else self.inside[:, :, ::stride, ::stride]


class OnMap:
    """A layer that knows on maps of which stride it stands."""

    total_stride = 1

    def calibrate(self, maps: Tensor, height: int) -> None:
        """Of the maps that it gets of a blank image so high."""
        self.total_stride = height // maps.shape[2]


class SightedConv2d(OnMap, nn.Conv2d):
    """A convolution of odd size and its usual padding, with the parameters of a plain one."""

    def __init__(self, conv: nn.Conv2d, sight: Sight, border: str, *, alone: bool = False) -> None:
        """`border` is zero, blank or masked; see the module. `alone`: nobody else reads its input."""
        assert not isinstance(conv.padding, str)
        size, stride, padding = _pair(conv.kernel_size), _pair(conv.stride), _pair(conv.padding)
        super().__init__(
            conv.in_channels, conv.out_channels, size, stride, padding, groups=conv.groups, device="meta"
        )
        self.weight, self.bias = conv.weight, conv.bias
        self._sight, self._border, self._alone = sight, border, alone
        self.blank: Tensor | None
        self.of_blank: Tensor | None
        for name in ("blank", "of_blank"):
            self.register_buffer(name, None, persistent=False)
        self._spread: tuple[Tensor, Tensor] | None = None

    def calibrate(self, maps: Tensor, height: int) -> None:
        """Its stride, and what is outside of its maps."""
        super().calibrate(maps, height)
        if self._border == "blank" and maps.any():
            blank = maps[:1, :, :1, :1].clone()
            summed = self.weight.sum((2, 3)).view(self.groups, -1, self.weight.shape[1])
            constant = summed @ blank.view(self.groups, -1, 1).to(summed.dtype)
            self.blank, self.of_blank = blank, constant.view(1, -1, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, O, H / stride, W / stride] of [B, C, H, W]."""
        if self._border == "masked":
            maps = _masked(maps, self._sight, self.total_stride, alone=self._alone)
        if self.blank is not None:
            maps = maps - self.blank.to(maps.dtype)
        made = super().forward(maps) if self._sight.scale is None else self._scaled(maps, self._sight.scale)
        return made if self.of_blank is None else made + self.of_blank.to(made.dtype)

    def _scaled(self, maps: Tensor, scale: Tensor) -> Tensor:
        stride = _pair(self.stride)
        if scale.dim() == 2:
            return scaled_conv.convolved_each(maps, self.weight, scale, self.bias, stride, self.groups)
        return scaled_conv.convolved(maps, self._kernel(scale), self.bias, stride, self.groups)

    def _kernel(self, scale: Tensor) -> Tensor:
        """Kernels of a scale for all images, kept for the next batch while nothing is learnt."""
        if torch.is_grad_enabled():
            return scaled_conv.kernels(self.weight, scale)
        if self._spread is None or self._spread[0] is not scale:
            kernel = scaled_conv.kernels(self.weight, scale)
            self._spread = scale, kernel.contiguous(memory_format=torch.channels_last)
        return self._spread[1]


class MaskedMaxPool2d(OnMap, nn.MaxPool2d):
    """The largest of what is inside of the picture, or 0: activations are not negative."""

    def __init__(self, pool: nn.MaxPool2d, sight: Sight) -> None:
        super().__init__(pool.kernel_size, pool.stride, pool.padding)
        self._sight = sight

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, H / stride, W / stride] of [B, C, H, W]."""
        made: Tensor = super().forward(_masked(maps, self._sight, self.total_stride, alone=True))
        return made


def _masked(maps: Tensor, sight: Sight, stride: int, *, alone: bool) -> Tensor:
    """The maps, 0 outside of the picture; an input is so already, what nobody else reads is overwritten."""
    mask = sight.at(stride)
    if mask is None or stride == 1:
        return maps
    mask = mask.to(maps.dtype)
    return maps.mul_(mask) if alone and not torch.is_grad_enabled() else maps * mask


def sighted(network: nn.Module, border: str = "zero") -> Sight:
    """Put layers that look at what is returned in the place of a network's own; it keeps its parameters."""
    sight = Sight()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Conv2d and child.kernel_size[0] > 1:
                # The second of a block follows the first; others' inputs are the shortcut's, too.
                setattr(module, name, SightedConv2d(child, sight, border, alone=name == "conv2"))
            elif border == "masked" and type(child) is nn.MaxPool2d:
                setattr(module, name, MaskedMaxPool2d(child, sight))
    return sight


def require_plain(architecture: Architecture, asked: str = "extract.border and extract.scale") -> None:
    """Refuse networks with layers for which border and scale mean nothing.

    Raises:
        ReidError: it is one; the message says which are none.
    """
    others = [
        word
        for word in ("non_local", "usam", "stripes", "regions", "ceil_pool", "standardise")
        if getattr(architecture, word)
    ]
    if architecture.backbone not in PLAIN or architecture.head != "single" or others:
        what = ", ".join([architecture.backbone, *others])
        raise ReidError(
            f"{asked}: not with {what}: they need one of {', '.join(PLAIN)} with one branch, whose layers "
            "look at nothing but a position's neighbours"
        )


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return values[0], values[1]
