"""Metric losses on cosines between all pairs of a batch: every positive above every negative.

`PairwiseCosFace` is the NAIC 2020 champion's (fast-reid, Apache-2.0, `projects/NAIC20`): the circle
loss's unified form (Sun et al. 2020, eq. 1) with constant weights. `PairwiseCircle` is that paper's
eq. 6, from pytorch-metric-learning. Anchors without a positive or a negative cost nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.errors import extra
from naic_reid.losses.batch import FromLibrary

_NOWHERE = -1e9  # stands for −∞ in a sum of exponentials, but has a gradient (0)


class PairwiseCosFace(nn.Module):
    """softplus(logsumexp(−γ·s_p) + logsumexp(γ·(s_n + m))), mean over anchors; γ is `scale`."""

    def __init__(self, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over anchors; embeddings [B, D] of any length, labels int64 [B]; float32."""
        with torch.autocast(embeddings.device.type, enabled=False):
            units = F.normalize(embeddings.float())
            cosines = units @ units.T
        same = labels[:, None] == labels[None, :]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        positives = (-self.scale * cosines).masked_fill(~same | itself, _NOWHERE)
        negatives = (self.scale * (cosines + self.margin)).masked_fill(same, _NOWHERE)
        return F.softplus(positives.logsumexp(1) + negatives.logsumexp(1)).mean()


class PairwiseCircle(FromLibrary):
    """Circle loss on pairs; γ is `scale`, m is `margin`; defaults are the paper's for persons."""

    def __init__(self, scale: float = 128.0, margin: float = 0.25) -> None:
        # Here, for it brings SciPy's statistics along: half a second no other loss has to wait for.
        with extra("recipes", "the loss pairwise_circle"):
            from pytorch_metric_learning.losses import CircleLoss
            from pytorch_metric_learning.reducers import MeanReducer

        super().__init__(CircleLoss(m=margin, gamma=scale, reducer=MeanReducer()))
