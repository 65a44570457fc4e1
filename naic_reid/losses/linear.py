"""Identity losses on a linear classifier: cross-entropy, with label smoothing in two dialects.

Both give the true class less than all of the target. They differ in where the rest, ε, goes:
`Linear` spreads it over all C classes (Szegedy et al. 2016, eq. 8; the original, BoT, TransReID,
torchreid), `LinearFastReID` over the C − 1 others, and divides by the count of rows whose loss is not 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """Target (1 − ε) · one-hot + ε / C; mean over rows."""

    def __init__(self, num_classes: int, dimension: int, smoothing: float = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.weight = nn.Parameter(torch.empty(num_classes, dimension))
        nn.init.normal_(self.weight, std=0.001)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the logits it was taken from, float32 [B, C].

        Args:
            features: [B, D] after the bottleneck.
            labels: int64 [B], the class index of each row.
        """
        with torch.autocast(features.device.type, enabled=False):
            logits = self.logits(features)
            return self._loss(logits, labels), logits.detach()

    def logits(self, features: Tensor) -> Tensor:
        """Of each class, float32 [B, C], with gradients."""
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(features.float(), self.weight.float())

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)


class LinearFastReID(Linear):
    """Target 1 − ε, and ε / (C − 1) for every other class; sum over rows by the count of non-zero losses."""

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return smoothed(logits, labels, self.smoothing)


def smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with FastReID's target, 1 − ε and ε / (C − 1) for every other class; a scalar."""
    others = smoothing / max(logits.shape[1] - 1, 1)
    log_shares = F.log_softmax(logits, dim=1)
    target = log_shares.gather(1, labels[:, None])[:, 0]
    losses = -(1 - smoothing - others) * target - others * log_shares.sum(1)
    return losses.sum() / (losses != 0).sum().clamp(min=1)
