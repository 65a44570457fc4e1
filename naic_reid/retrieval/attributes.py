"""Ranking refined by attributes: a distance of features, and terms of what both pictures seem to wear.

D = d + Σ_j α_j |p_j − q_j| + β_j p_j q_j + γ_j (p_j − q_j)², of probabilities p and q in [0, 1].

What `differing` counts of labelled pictures teaches the weights in two further ways: the sum counts only for
pairs of two persons who differ in what they wear, `learnt(…, counts=…)`; or the margin grows by how much they
differ, `learnt(…, margin=m₀ + κ · differing(known) / M)`.
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


def differing(known: NDArray[np.int64]) -> NDArray[np.int64]:
    """In how many attributes two of N persons differ, [N, N], of values from 1 [N, M]; 0 is not known."""
    one, other = known[:, None], known[None, :]
    found: NDArray[np.int64] = ((one != other) & (one > 0) & (other > 0)).sum(2)
    return found


def learnt(
    distances: Floats, probabilities: Floats, persons: NDArray[np.int64], *,
    counts: NDArray[np.bool_] | None = None, margin: float | Floats = 0.1, steps: int = 100,
    rate: float = 0.003,
) -> Refinement:  # fmt: skip
    """Weights that make the batch-hard triplet of D small, from zeros, by Adam over all pictures at once.

    Args:
        distances: float32 [N, N], of labelled pictures among each other.
        probabilities: float32 [N, M], of their attributes.
        persons: int64 [N].
        counts: [N, N], for which pairs of two persons the terms count, and then for none of one person;
            None: for all pairs.
        margin: by which the farthest of one's own shall be nearer than the nearest of the others; or for each
            pair of two persons, float [N, N]: the nearest is then the one that is farthest within its margin.
        steps: of Adam.
        rate: its learning rate.
    """
    far, told = torch.from_numpy(distances), torch.from_numpy(probabilities)
    who = torch.from_numpy(persons)
    same = who[:, None] == who[None, :]
    counted = torch.ones_like(far) if counts is None else torch.from_numpy(counts & ~same.numpy()).float()
    least = torch.as_tensor(margin, dtype=torch.float32).expand(far.shape)
    everyone = torch.arange(len(far))
    weights = nn.Parameter(torch.zeros(3, told.shape[1]))
    optimizer = torch.optim.Adam([weights], lr=rate)
    for _ in range(steps):
        with torch.no_grad():  # which pair is hardest has no gradient: only its own terms do
            terms = sum(_term(told, told, at, tuple(weights[:, at].tolist())) for at in range(told.shape[1]))
            whole = far + counted * terms
            farthest = whole.masked_fill(~same, -torch.inf).argmax(1)
            nearest = (whole - least).masked_fill(same, torch.inf).argmin(1)
        own, others = (_pairs(far, told, counted, other, weights) for other in (farthest, nearest))
        optimizer.zero_grad()
        F.relu(own - others + least[everyone, nearest]).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Refinement(*weights.detach().numpy())


def _term(query: Tensor, gallery: Tensor, at: int, weights: tuple[float, ...]) -> Tensor:
    """What one attribute adds to every pair, [Q, G]."""
    p, q = query[:, at, None], gallery[None, :, at]
    apart, both, squared = weights
    return apart * (p - q).abs() + both * p * q + squared * (p - q) ** 2


def _pairs(far: Tensor, told: Tensor, counted: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """D of each picture and one other, [N]."""
    p, q = told, told[other]
    terms = torch.stack(((p - q).abs(), p * q, (p - q) ** 2))
    rows = torch.arange(len(far))
    return far[rows, other] + counted[rows, other] * (weights[:, None] * terms).sum((0, 2))
