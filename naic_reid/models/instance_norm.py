"""Instance normalisation that leaves the layout of a map in memory as it is.

torch's own copies a channels-last map to channels-first, normalises it there, and leaves it so: every
convolution after it copies it back, forward and backward.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class InstanceNorm2d(nn.InstanceNorm2d):
    """`nn.InstanceNorm2d` with weight and bias, without running statistics; same keys, same values.

    Differs from it in rounding only: statistics are those of float32 whatever the map is in, the variance
    taken of differences from the mean, and the result is rounded once.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Each channel of each image at mean `bias` and deviation |`weight`|; [B, C, H, W], any layout."""
        if torch.compiler.is_compiling() or maps[0, 0].numel() == 1:
            # A compiler fuses and lays out by itself, an export keeps the operator's name, and one pixel
            # has no deviation: torch refuses it.
            return super().forward(maps)
        normalised: Tensor = _Normalised.apply(maps, self.weight, self.bias, self.eps)
        return normalised


class _Normalised(torch.autograd.Function):
    """(x − mean) / deviation · weight + bias, as x · scale + shift."""

    @staticmethod
    def forward(context: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        mean = maps.mean((2, 3), keepdim=True, dtype=_wide(maps))
        work = maps - mean
        inverse = work.square_().mean((2, 3), keepdim=True).add_(eps).rsqrt_()
        context.save_for_backward(maps, weight, mean, inverse)
        scale = inverse * weight[:, None, None]
        shift = bias[:, None, None] - mean * scale
        return torch.addcmul(shift, maps, scale, out=work).to(maps.dtype)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        # With x̂ the normalised map: dx = scale · (g − mean(g) − x̂ · mean(g · x̂)), again as three terms.
        maps, weight, mean, inverse = context.saved_tensors
        area = maps.shape[2] * maps.shape[3]
        of_bias = gradients.sum((2, 3), keepdim=True, dtype=_wide(maps))
        work = maps - mean
        of_weight = work.mul_(gradients).sum((2, 3), keepdim=True).mul_(inverse)
        scale = inverse * weight[:, None, None]
        slope = -scale * inverse * of_weight / area
        shift = -scale * of_bias / area - slope * mean
        torch.addcmul(shift, maps, slope, out=work).addcmul_(gradients, scale)
        return work.to(maps.dtype), of_weight.sum((0, 2, 3)), of_bias.sum((0, 2, 3)), None


def _wide(maps: Tensor) -> torch.dtype:
    """What statistics are computed in."""
    return torch.promote_types(maps.dtype, torch.float32)
