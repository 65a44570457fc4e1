"""Attention by subtraction, as the friendly baseline has it: what differs from around it counts more."""

import torch.nn.functional as F
from torch import Tensor, nn


class USAM(nn.Module):
    """x · (1 + a) of a map x [B, C, H, W], a the unit subtraction attention module (Lin et al. 2022, TIP).

    With s the sum over channels, 0 beyond the border: a = LeakyReLU(BN(Σ of the 3 × 3 differences between a
    position and those around it)) with slope 0.1, and 0 on the outermost ring of positions, which would stand
    out by the border alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.leaky_relu(self.bn(differences(x.sum(1, keepdim=True))), 0.1)
        inner = a[:, :, 1:-1, 1:-1]
        return x + x * F.pad(inner, (1, 1, 1, 1))


def differences(sums: Tensor) -> Tensor:
    """9 times each position of [B, 1, H, W] less the sum of its 3 × 3 surroundings, 0 beyond the border."""
    return 9 * sums - F.avg_pool2d(sums, 3, 1, 1, divisor_override=1)
