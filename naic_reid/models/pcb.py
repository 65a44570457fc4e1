"""PCB as the friendly baseline has it: stripes with a classifier each, whose pooled rows are the feature.

Differs from `heads.stripes`: no gates, no branch over the whole, and what is searched with are the pooled
rows themselves, not what the classifiers see (Sun et al. 2018, section 3.1: either may be taken).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models.branches import Branch, Region, Seen
from naic_reid.models.heads import STRIPE_WIDTH, Group, Head, linear

STRIPES = 6


class Stripe(Branch):
    """Pooling → dropout → reduction → neck → dropout; its embedding is what was pooled."""

    def __init__(self, pooling: nn.Module, dimension: int, region: Region, dropout: float) -> None:
        super().__init__(
            pooling, STRIPE_WIDTH, reduction=linear(dimension, STRIPE_WIDTH), region=region, dropout=dropout
        )
        self.pooled_dropout = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor]) -> Seen:
        """Embedding [B, C], of `region` of the maps [B, C, H, W]; feature [B, 256]."""
        pooled = self.pooling(self.region.of(maps))
        assert self.reduction is not None
        feature = self.neck(self.reduction(self.pooled_dropout(pooled)).float())
        if self.dropout is not None:
            feature = self.dropout(feature)
        return Seen(pooled, feature)


def head(pooling: nn.Module, dimension: int, dropout: float) -> Head:
    """Six stripes; the sum of their identity losses, and no embedding that a metric loss would judge.

    The unit feature is made of the six pooled rows, scaled to equal lengths: the cosine of two images is the
    mean of their stripes'. Accuracy is that of the first stripe.
    """
    names = tuple(f"stripe_{index}" for index in range(STRIPES))
    branches: dict[str, Branch] = {
        name: Stripe(pooling, dimension, Region(0, index, STRIPES), dropout)
        for index, name in enumerate(names)
    }

    def unit(seen: dict[str, Seen], _: float) -> Tensor:
        rows = [F.normalize(seen[name].embedding) for name in names]
        return F.normalize(torch.cat(rows, 1))

    return Head(branches, tuple(Group((name,)) for name in names), (), unit, STRIPES * dimension)
