"""A map [B, D, H, W] becomes a vector [B, D], in float32 whatever the network's precision."""

import torch
from torch import Tensor, nn


def _mean(values: Tensor, inside: Tensor | None) -> Tensor:
    """[B, D] over positions of [B, D, H, W]; of those alone where `inside` [B, 1, H, W] is 1."""
    if inside is None:
        return values.mean((2, 3))
    return (values * inside).sum((2, 3)) / inside.sum((2, 3))


_LEAST = 1e-6  # activations below count as this: the cube root's slope at 0 is infinite


class GeM(nn.Module):
    """Generalised mean with a fixed p = 3 (Radenović et al. 2018, eq. 3).

    In half precision it would give 0, and infinite gradients, for small activations.
    """

    def forward(self, activations: Tensor, inside: Tensor | None = None) -> Tensor:
        return _mean(activations.float().clamp(min=_LEAST).pow(3), inside).pow(1 / 3)


class LearntGeM(nn.Module):
    """Generalised mean whose p is learnt, one for all channels, from 3 (Radenović et al. 2018, eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, activations: Tensor, inside: Tensor | None = None) -> Tensor:
        p = self.p.float()
        return _mean(activations.float().clamp(min=_LEAST).pow(p), inside).pow(1 / p)


class Average(nn.Module):
    """The mean over positions."""

    def forward(self, activations: Tensor, inside: Tensor | None = None) -> Tensor:
        return _mean(activations.float(), inside)


POOLINGS: dict[str, type[nn.Module]] = {"gem": GeM, "gem_learnt": LearntGeM, "average": Average}
