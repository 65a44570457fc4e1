"""Ranking refined by attributes: a distance of features, and terms of what both pictures seem to wear.

D = d + Σ_j α_j |p_j − q_j| + β_j p_j q_j + γ_j (p_j − q_j)², of probabilities p and q in [0, 1].
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from naic_reid.artifacts import Floats


@dataclass(frozen=True)
class Refinement:
    """Weights of M attribute probabilities, float32 [M] each; with zeros a distance is what it was."""

    apart: Floats
    """α, of |p − q|."""
    both: Floats
    """β, of p · q."""
    squared: Floats
    """γ, of (p − q)²."""

    @classmethod
    def none(cls, num: int) -> Self:
        """All zeros."""
        return cls(*np.zeros((3, num), np.float32))

    def refined(self, distances: Floats, query: Floats, gallery: Floats) -> Floats:
        """Distances float32 [Q, G] with the terms of probabilities float32 [Q, M] and [G, M]."""
        found: Floats = np.array(distances, np.float32)
        for at in range(query.shape[1]):
            weights = float(self.apart[at]), float(self.both[at]), float(self.squared[at])
            if any(weights):
                found += _term(torch.from_numpy(query), torch.from_numpy(gallery), at, weights).numpy()
        return found


def learnt(
    distances: Floats, probabilities: Floats, persons: NDArray[np.int64], *, margin: float = 0.1,
    steps: int = 100, rate: float = 0.003,
) -> Refinement:  # fmt: skip
    """Weights that make the batch-hard triplet of D small, from zeros, by Adam over all pictures at once.

    Args:
        distances: float32 [N, N], of labelled pictures among each other.
        probabilities: float32 [N, M], of their attributes.
        persons: int64 [N].
        margin: by which the farthest of one's own shall be nearer than the nearest of the others.
        steps: of Adam.
        rate: its learning rate.
    """
    far, told = torch.from_numpy(distances), torch.from_numpy(probabilities)
    who = torch.from_numpy(persons)
    same = who[:, None] == who[None, :]
    weights = nn.Parameter(torch.zeros(3, told.shape[1]))
    optimizer = torch.optim.Adam([weights], lr=rate)
    for _ in range(steps):
        with torch.no_grad():  # which pair is hardest has no gradient: only its own terms do
            whole = far + sum(
                _term(told, told, at, tuple(weights[:, at].tolist())) for at in range(told.shape[1])
            )
            farthest = whole.masked_fill(~same, -torch.inf).argmax(1)
            nearest = whole.masked_fill(same, torch.inf).argmin(1)
        excess = _pairs(far, told, farthest, weights) - _pairs(far, told, nearest, weights)
        optimizer.zero_grad()
        F.relu(excess + margin).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Refinement(*weights.detach().numpy())


def _term(query: Tensor, gallery: Tensor, at: int, weights: tuple[float, ...]) -> Tensor:
    """What one attribute adds to every pair, [Q, G]."""
    p, q = query[:, at, None], gallery[None, :, at]
    apart, both, squared = weights
    return apart * (p - q).abs() + both * p * q + squared * (p - q) ** 2


def _pairs(far: Tensor, told: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """D of each picture and one other, [N]."""
    p, q = told, told[other]
    terms = torch.stack(((p - q).abs(), p * q, (p - q) ** 2))
    return far[torch.arange(len(far)), other] + (weights[:, None] * terms).sum((0, 2))
