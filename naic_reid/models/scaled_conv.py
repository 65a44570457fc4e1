"""Convolution whose taps are spread by a scale: kernels that grow with the bodies that they look at.

Each k × k kernel (k odd, c = (k − 1) / 2) has its taps at s_y and s_x times their usual places:
y[o] = Σ_t W_t · x(σ·o + s ⊙ t) with t in −c … c, σ the stride, x(·) bilinear and 0 outside. Centre, stride
and size of what comes out are those of the plain convolution with padding c. The scale is constant over an
image, so bilinear taps are a longer kernel, A(s_y) · W · A(s_x)ᵀ, and kernels alone are transformed: s = 1
is the plain convolution to the bit, whole s are dilation, and `torchvision.ops.deform_conv2d` with offsets
(s − 1)·t agrees. At whole s the gradient by s is one-sided.

Where each image has a scale of its own, one of two things is made for each: a kernel, O·C·k² numbers and
more, or, of its map, what every tap of every place sees, h·w·C·k² numbers, after which one matrix product
is the convolution of all. Deep maps are small and their kernels large: there the second is up to eighty
times as fast.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from naic_reid.architecture import SCALES

LEAST, MOST = SCALES
_PLACES = 4
"""Maps of at most so many places for each output channel are resampled: measured, forwards and backwards."""


def spread(scale: Tensor, centre: int, reach: int) -> Tensor:
    """A(s): bilinear taps as a longer kernel, [..., 2·reach + 1, 2·centre + 1] of scales [...]."""
    places = scale[..., None] * torch.arange(-centre, centre + 1, device=scale.device)
    return _shares(places + reach, 2 * reach + 1).transpose(-1, -2)


def _shares(places: Tensor, cells: int) -> Tensor:
    """[..., cells] what each cell gives to places [...] between them; outside is nothing.

    Cell j gives (1 − φ)·[j = ⌊u⌋] + φ·[j = ⌊u⌋ + 1] to place u, with φ = u − ⌊u⌋.
    """
    below = places.detach().floor()
    share = (places - below)[..., None]
    cell = torch.arange(cells, device=places.device) - below[..., None]
    return (1 - share) * (cell == 0) + share * (cell == 1)


def kernels(weight: Tensor, scale: Tensor) -> Tensor:
    """Kernels [O, C, k, k] whose taps are spread by scales (s_y, s_x), [2] or [B, 2]: [..., O, C, k', k''].

    For several images the largest scale decides how long kernels are.
    """
    scale = scale.to(weight.device)
    centres = [size // 2 for size in weight.shape[-2:]]
    along = [
        spread(scale[..., side], centre, _reach(scale[..., side], centre))
        for side, centre in enumerate(centres)
    ]
    wide = weight.to(scale.dtype)
    return torch.einsum("...ai,ocij,...bj->...ocab", along[0], wide, along[1]).to(weight.dtype)


def _reach(scale: Tensor, centre: int) -> int:
    most = float(scale.detach().max()) * centre
    return math.floor(most) + 1 if scale.requires_grad else math.ceil(most)


def convolved_each(
    maps: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, stride: tuple[int, int], groups: int
) -> Tensor:
    """Maps [B, C, H, W] convolved with kernels [O, C', k, k], taps spread by each image's scales [B, 2]."""
    places = math.prod(-(-size // step) for size, step in zip(maps.shape[2:], stride, strict=True))
    if groups == 1 and places <= _PLACES * len(weight):
        return _resampled(maps, weight, scale.to(maps.device), bias, stride)
    return convolved(maps, kernels(weight, scale), bias, stride, groups)


def _resampled(
    maps: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, stride: tuple[int, int]
) -> Tensor:
    """What the taps of every place see, by two products with bilinear shares; then all as one product."""
    down, across = (
        _seen(scale[:, side], maps.shape[2 + side], weight.shape[2 + side], stride[side]).to(maps.dtype)
        for side in (0, 1)
    )
    num, height, taps, _ = down.shape
    width = across.shape[1]
    seen = across.flatten(1, 2)[:, None] @ maps.permute(0, 2, 3, 1).contiguous()
    seen = down.flatten(1, 2) @ seen.flatten(2)
    rows = seen.view(num, height, taps, width, -1).transpose(2, 3).reshape(num * height * width, -1)
    made = F.linear(rows, weight.permute(0, 2, 3, 1).flatten(1), bias)
    return made.view(num, height, width, -1).permute(0, 3, 1, 2)


def _seen(scale: Tensor, cells: int, taps: int, step: int) -> Tensor:
    """[B, places, taps, cells] of a side: what each tap of each place sees of the map."""
    centre = taps // 2
    steps = torch.arange(0, cells, step, device=scale.device)
    apart = torch.arange(-centre, centre + 1, device=scale.device)
    return _shares(steps[:, None] + scale[:, None, None] * apart, cells)


def convolved(
    maps: Tensor, kernel: Tensor, bias: Tensor | None, stride: tuple[int, int], groups: int
) -> Tensor:
    """Maps [B, C, H, W] convolved with kernels [O, C', k, k], or with each image's own [B, O, C', k, k]."""
    padding = (kernel.shape[-2] // 2, kernel.shape[-1] // 2)
    if kernel.dim() == 4:
        return F.conv2d(maps, kernel, bias, stride, padding, groups=groups)
    num, channels, height, width = maps.shape
    folded = maps.reshape(1, num * channels, height, width)
    made = F.conv2d(folded, kernel.flatten(0, 1), None, stride, padding, groups=num * groups)
    made = made.view(num, -1, *made.shape[2:])
    return made if bias is None else made + bias[:, None, None]
