"""A metric loss on class centres: every embedding near the mean of its own (Wen et al. 2016)."""

import torch
from torch import Tensor, nn

_RATE = 0.5  # the paper's α


class Center(nn.Module):
    """Mean squared distance to the own class's centre.

    Centres are a buffer that moves by the paper's eq. 4 with α = 0.5 in each training step, after
    the loss was taken. Differs from the original, whose centres are parameters of an optimiser of
    their own, which under mixed precision stepped on scaled gradients, and whose loss compares every
    row with every class.
    """

    centers: Tensor

    def __init__(self, num_classes: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.randn(num_classes, dimension))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over rows; embeddings [B, D] before the bottleneck, labels int64 [B]; float32."""
        away = embeddings.float() - self.centers[labels]
        if self.training:
            self._follow(away.detach(), labels)
        return away.square().sum(1).mean()

    def _follow(self, away: Tensor, labels: Tensor) -> None:
        """Move each class by α · Σ (x − c) / (1 + n) over its n rows in the batch."""
        same = (labels[:, None] == labels[None, :]).float()
        share = _RATE / (1 + same.sum(1, keepdim=True))
        # In place and by sorted rows only: the table has C rows, the batch B.
        self.centers.index_add_(0, labels, share * away)
