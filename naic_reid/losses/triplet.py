"""Metric losses on distances: the farthest of one's own must be nearer than the nearest of the others.

Embeddings are taken as they are, not scaled to unit length, and in float32. An anchor without
negatives costs nothing. Positives include the anchor itself, at distance 0, as in the original.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEAST_DISTANCE = 1e-6  # sqrt(1e-12): below it the distance has no gradient


class HardTriplet(nn.Module):
    """Batch-hard triplet (Hermans et al. 2017, eq. 5); margin None: soft margin, log(1 + exp)."""

    pushes = True

    def __init__(self, margin: float | None = None) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor, others: Tensor | None = None) -> Tensor:
        """The mean over anchors; embeddings [B, D] before the bottleneck, labels int64 [B].

        `others`, a teacher's rows [B, D] of the same images, are what anchors are compared with.
        """
        farthest, nearest = _hardest(*_distances(embeddings, labels, others))
        return _violation(farthest - (nearest if self.pushes else nearest.detach()), self.margin)


class PullTriplet(HardTriplet):
    """`HardTriplet` whose nearest negative has no gradient: it draws one's own nearer and pushes nobody."""

    pushes = False


class RelativeTriplet(nn.Module):
    """max(0, p / n − q): the farthest of one's own within the share q of the nearest of the others.

    n has no gradient, and the loss depends on no scale of the embeddings: alone it draws all together, so it
    wants a teacher's rows to compare with (`train.teacher`).
    """

    def __init__(self, margin: float = 0.6) -> None:
        """`margin` is q."""
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor, others: Tensor | None = None) -> Tensor:
        """The mean over anchors; embeddings [B, D], labels int64 [B], `others` as of `HardTriplet`."""
        farthest, nearest = _hardest(*_distances(embeddings, labels, others))
        return F.relu(farthest / nearest.detach() - self.margin).mean()


class VisibleTriplet(nn.Module):
    """Batch-hard triplet on what both images show: d = Σ_i w_i ‖f_i − f'_i‖ (VPM, Sun et al. 2019).

    Rows are regions' unit features times their masses, then the p masses; w_i = C_i C'_i / Σ_j C_j C'_j.
    """

    def __init__(self, margin: float | None = None, *, regions: int = 1) -> None:
        """`regions` is p; VPM's margin is 1."""
        super().__init__()
        self.margin, self.regions = margin, regions

    def forward(self, embeddings: Tensor, labels: Tensor, others: Tensor | None = None) -> Tensor:
        """The mean over anchors; embeddings [B, p·D + p], labels int64 [B], `others` as of `HardTriplet`."""
        features, masses = self._parted(embeddings)
        compared, theirs = self._parted(embeddings if others is None else others)
        common = masses[:, None] * theirs
        weights = common / common.sum(2, keepdim=True).clamp(min=_LEAST_DISTANCE)
        pairs = [
            _distances(own, labels, None if others is None else other)
            for own, other in zip(features, compared, strict=True)
        ]
        total = (weights * torch.stack([distances for distances, _ in pairs], 2)).sum(2)
        farthest, nearest = _hardest(total, pairs[0][1])
        return _violation(farthest - nearest, self.margin)

    def _parted(self, rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """Unit features [B, D] of each region, and masses [B, p], these without gradient."""
        rows = rows.float()
        parts = rows[:, : -self.regions].chunk(self.regions, 1)
        return [F.normalize(part) for part in parts], rows[:, -self.regions :].detach()


class WeightedTriplet(nn.Module):
    """Triplet of softmax-weighted mean distances (AGW, Ye et al. 2021, eq. 6; the original's loss).

    A positive weighs exp(d), a negative exp(−d). Margin None: soft margin. Differs from the
    original: the softmax is stable (it overflowed at d > 88), rows may have different numbers of
    positives, and with a margin it compares the weighted means and not whole matrices.
    """

    def __init__(self, margin: float | None = None) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over anchors; embeddings [B, D] before the bottleneck, labels int64 [B]."""
        distances, same = _distances(embeddings, labels)
        positive = (distances.masked_fill(~same, -torch.inf).softmax(1) * distances).sum(1)
        # A finite filling, for a row may have no negative: it is then infinitely far.
        least = torch.finfo(distances.dtype).min
        weights = (-distances).masked_fill(same, least).softmax(1)
        negative = torch.where(same.all(1), torch.inf, (weights * distances).sum(1))
        return _violation(positive - negative, self.margin)


class WeightedTripletFastReID(nn.Module):
    """`WeightedTriplet` in FastReID's dialect, in which AGW's published numbers were made.

    Its weights are exp(d − largest) and exp(−d) over their sums plus an absolute 1e-6. When an anchor's
    negatives are all farther than about 13.8 + ln(their number) their weights sum to less than 1 and the
    negative distance falls towards 0: it bounds the length of embeddings, and a run may stick there.
    """

    def __init__(self, margin: float | None = None) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over anchors; embeddings [B, D], labels int64 [B]."""
        distances, same = _distances(embeddings, labels)
        largest = distances.masked_fill(~same, 0).amax(1, keepdim=True)
        near = (
            (distances - largest).masked_fill(~same, -torch.inf).exp(),
            (-distances).masked_fill(same, -torch.inf).exp(),
        )
        positive, negative = (
            (weights / (weights.sum(1, keepdim=True) + 1e-6) * distances).sum(1) for weights in near
        )
        negative = torch.where(same.all(1), torch.inf, negative)
        return _violation(positive - negative, self.margin)


def _distances(embeddings: Tensor, labels: Tensor, others: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Euclidean distances, float32 [B, B], and who shares an identity with whom, bool [B, B].

    To `others`, which have no gradient, or among the embeddings themselves.
    """
    same = labels[:, None] == labels[None, :]
    if others is None:
        return _Distances.apply(embeddings.float()), same
    far = torch.cdist(embeddings.float(), others.float(), compute_mode="donot_use_mm_for_euclid_dist")
    return far.clamp(min=_LEAST_DISTANCE), same


def _hardest(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Of each anchor [B]: its own farthest, and the nearest of the others."""
    return distances.masked_fill(~same, 0).amax(1), distances.masked_fill(same, torch.inf).amin(1)


class _Distances(torch.autograd.Function):
    """Pairwise distances of rows [B, D], at least `_LEAST_DISTANCE`, in memory of B² and B · D.

    Forward by differences, for |a|² + |b|² − 2ab cancels to noise between long, near vectors. Backward by
    a product: with W = (G + Gᵀ) / d, row i gets Σ_j W_ij (x_i − x_j). `cdist`'s own backward on a GPU
    holds all [B, B, D] differences at once: 8.6 GB for 1,024 rows of 2,048.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        distances.clamp_(min=_LEAST_DISTANCE)
        context.save_for_backward(rows, distances)
        return distances

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradients: Tensor) -> Tensor:
        rows, distances = context.saved_tensors
        pulls = (gradients + gradients.T).div_(distances).masked_fill_(distances <= _LEAST_DISTANCE, 0)
        centred = rows - rows.mean(0)  # what all share cancels here and not after rounding
        return torch.addmm(centred * pulls.sum(1, keepdim=True), pulls, centred, alpha=-1)


def _violation(excess: Tensor, margin: float | None) -> Tensor:
    """Mean of max(0, excess + margin), or of log(1 + exp(excess)) without a margin."""
    return (F.softplus(excess) if margin is None else F.relu(excess + margin)).mean()
