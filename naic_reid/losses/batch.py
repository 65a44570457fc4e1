"""Metric losses on unit rows, as the friendly baseline sums them beside a classifier.

Unlike those of `pairwise` they do not judge anchor by anchor against its own pairs alone: some pull every
positive pair together whatever the negatives do, some take the batch for one sum. Contrastive (Hadsell et
al. 2006), lifted (Hermans et al. 2017, eq. 11, after Oh Song et al. 2016) and the triplet of multi-similarity
mining (Wang et al. 2019, eq. 9 and 10) come from pytorch-metric-learning; the circle over all pairs of a
batch (Sun et al. 2020, eq. 6) and instance (Zheng et al. 2020, "Dual-path", eq. 4) are ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.errors import extra


class FromLibrary(nn.Module):
    """A loss of pytorch-metric-learning, and what chooses its pairs or triplets, in float32."""

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss, self.miner = loss, miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch; embeddings [B, D] of any length, labels int64 [B]; float32."""
        with torch.autocast(embeddings.device.type, enabled=False):
            rows = embeddings.float()
            chosen = self.miner(rows, labels) if self.miner else None
            loss: Tensor = self.loss(rows, labels, chosen)
            return loss


class Contrastive(FromLibrary):
    """Mean d of positive pairs with d > 0, and mean `margin` − d of negative pairs with d below it."""

    def __init__(self, margin: float = 1.0) -> None:
        with extra("recipes", "the loss contrastive"):
            from pytorch_metric_learning.losses import ContrastiveLoss

        super().__init__(ContrastiveLoss(pos_margin=0, neg_margin=margin))


class Lifted(FromLibrary):
    """Of each anchor [logsumexp d_p + logsumexp(`margin` − d_n)]₊, and their mean; no positive counts 0."""

    def __init__(self, margin: float = 1.0) -> None:
        with extra("recipes", "the loss lifted"):
            from pytorch_metric_learning.losses import GeneralizedLiftedStructureLoss

        super().__init__(GeneralizedLiftedStructureLoss(neg_margin=margin, pos_margin=0))


class MinedTriplet(FromLibrary):
    """Mean of [d_p − d_n + `margin`]₊ over the violating of the triplets that multi-similarity mining keeps.

    A positive is kept if some negative is at most ε = 0.1 less similar, a negative if some positive is at
    most ε more similar.
    """

    def __init__(self, margin: float = 0.3) -> None:
        with extra("recipes", "the loss mined_triplet"):
            from pytorch_metric_learning.losses import TripletMarginLoss
            from pytorch_metric_learning.miners import MultiSimilarityMiner

        super().__init__(TripletMarginLoss(margin=margin), MultiSimilarityMiner(epsilon=0.1))


class BatchCircle(nn.Module):
    """softplus(logsumexp γα_n(s_n − m) + logsumexp −γα_p(s_p − 1 + m)) over all unordered pairs at once."""

    def __init__(self, scale: float = 32.0, margin: float = 0.25) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """One scalar for the batch, 0 without a positive or a negative; embeddings [B, D]; float32."""
        one, other = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
        cosines = _cosines(embeddings)[one, other]
        same = labels[one] == labels[other]
        still, m = cosines.detach(), self.margin
        positive = -(1 + m - still).clamp(min=0) * (cosines - (1 - m))
        negative = (still + m).clamp(min=0) * (cosines - m)
        sums = [
            (self.scale * values).masked_fill(~chosen, torch.finfo(values.dtype).min).logsumexp(0)
            for values, chosen in ((positive, same), (negative, ~same))
        ]
        return F.softplus(sums[0] + sums[1])


class Instance(nn.Module):
    """Cross-entropy of each row's scaled cosines with all rows, itself the target.

    Other images of its identity are negatives like all the rest: it keeps images apart, and spreads them.
    """

    def __init__(self, scale: float = 32.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over rows; embeddings [B, D] of any length, labels int64 [B]; float32."""
        cosines = self.scale * _cosines(embeddings)
        return F.cross_entropy(cosines, torch.arange(len(cosines), device=cosines.device))


class InstanceIdentity(Instance):
    """`Instance` of the identities' mean unit rows; 0 for a batch of one identity."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over identities; embeddings [B, D] of any length, labels int64 [B]; float32."""
        own = (labels[:, None] == labels[None, :]).float()
        # Each identity is stood for by its first row; choosing rows would make a GPU's host wait.
        target = own.argmax(1)
        first = target == torch.arange(len(labels), device=labels.device)
        with torch.autocast(embeddings.device.type, enabled=False):
            means = own @ F.normalize(embeddings.float())
        logits = (self.scale * _cosines(means)).masked_fill(~first, -torch.inf)
        losses = F.cross_entropy(logits, target, reduction="none")
        return (losses * first).sum() / first.sum()


def _cosines(embeddings: Tensor) -> Tensor:
    with torch.autocast(embeddings.device.type, enabled=False):
        units = F.normalize(embeddings.float())
        return units @ units.T
