"""Horizontal stripes of the last map with features of their own, and a weight for each (PCB).

Source: Sun et al. 2018, section 3.1, with the dynamic weights of the original's PCB branch. Differs from it:
a stripe's weight is a gate in (0, 1) that looks at that stripe, where the original's is a linear function
of the whole map's mean, of any sign, which cannot tell where something hides; and each stripe's feature
is scaled to length 1 before it is weighted, so that a distance is a weighted mean of the stripes' own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 256
"""Of a stripe's feature, as in the paper."""


class Stripes(nn.Module):
    """A map [B, D, H, W] → of each of P stripes a feature of `WIDTH`, then their P weights, in one row."""

    def __init__(self, dimension: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.embed = nn.ModuleList(
            nn.Sequential(nn.Linear(dimension, WIDTH, bias=False), nn.BatchNorm1d(WIDTH))
            for _ in range(count)
        )
        self.gate = nn.ModuleList(_open_gate(dimension) for _ in range(count))

    def forward(self, activations: Tensor) -> Tensor:
        """float32 [B, P · WIDTH + P] of [B, D, H, W]."""
        height = activations.shape[2]
        bounds = [(i * height // self.count, -(-(i + 1) * height // self.count)) for i in range(self.count)]
        means = [activations[:, :, top:end].float().mean((2, 3)) for top, end in bounds]
        local = [embed(mean).float() for embed, mean in zip(self.embed, means, strict=True)]
        weights = [gate(mean).float().sigmoid() for gate, mean in zip(self.gate, means, strict=True)]
        return torch.cat((*local, *weights), 1)


def joined(rows: Tensor, count: int) -> Tensor:
    """Unit rows [B, P · WIDTH] whose cosine is Σ w·w′·cos over the stripes, over the weights' lengths.

    Args:
        rows: what `Stripes` gives, or a sum of such.
        count: P.
    """
    local = F.normalize(rows[:, :-count].reshape(-1, count, WIDTH), dim=2)
    return F.normalize((rows[:, -count:, None] * local).flatten(1))


def _open_gate(dimension: int) -> nn.Linear:
    """At first all stripes count alike."""
    gate = nn.Linear(dimension, 1)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate
