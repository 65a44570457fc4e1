"""Convolution whose taps are spread by a scale: kernels that grow with the bodies that they look at.

Each k × k kernel (k odd, c = (k − 1) / 2) has its taps at s_y and s_x times their usual places:
y[o] = Σ_t W_t · x(σ·o + s ⊙ t) with t in −c … c, σ the stride, x(·) bilinear and 0 outside. Centre, stride
and size of what comes out are those of the plain convolution with padding c. The scale is constant over an
image, so bilinear taps are a longer kernel, A(s_y) · W · A(s_x)ᵀ, and kernels alone are transformed: s = 1
is the plain convolution to the bit, whole s are dilation, and `torchvision.ops.deform_conv2d` with offsets
(s − 1)·t agrees. At whole s the gradient by s is one-sided.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from naic_reid.architecture import SCALES

LEAST, MOST = SCALES


def spread(scale: Tensor, centre: int, reach: int) -> Tensor:
    """A(s): bilinear taps as a longer kernel, [..., 2·reach + 1, 2·centre + 1] of scales [...].

    A[j, t] = (1 − φ)·[j = ⌊st⌋] + φ·[j = ⌊st⌋ + 1] with φ = st − ⌊st⌋, for j in −reach … reach.
    """
    places = scale[..., None] * torch.arange(-centre, centre + 1, device=scale.device)
    below = places.detach().floor()
    share = (places - below)[..., None, :]
    cell = torch.arange(-reach, reach + 1, device=scale.device)[:, None] - below[..., None, :]
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
