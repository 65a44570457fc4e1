"""A metric loss on class centres: every embedding near the mean of its own (Wen et al. 2016)."""

import torch
from torch import Tensor, nn

_RATE = 0.5  # the paper's α


class Center(nn.Module):
    """Mean squared distance to the own class's centre.

    Centres move by the paper's eq. 4 with α = 0.5 after each training step, when `follow` is called. They
    are a parameter without a gradient: neither copied before each forward pass, in case it has to be taken
    back, nor sent around with each by DistributedDataParallel, as buffers are. Differs from the original,
    whose centres are parameters of an optimiser of their own, which under mixed precision stepped on scaled
    gradients, and whose loss compares every row with every class.
    """

    def __init__(self, num_classes: int, dimension: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(num_classes, dimension), requires_grad=False)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean over rows; embeddings [B, D] before the bottleneck, labels int64 [B]; float32."""
        away = embeddings.float() - self.centers[labels]
        if self.training:
            self._seen.append((away.detach(), labels))
        return away.square().sum(1).mean()

    @torch.no_grad()
    def follow(self, taken: Tensor) -> None:
        """Move each class by α · Σ (x − c) / (1 + n) over its n rows in the batch, where `taken` is true."""
        for away, labels in self._seen:
            same = (labels[:, None] == labels[None, :]).float()
            share = _RATE / (1 + same.sum(1, keepdim=True))
            # In place and by the batch's rows only: the table has C rows, the batch B.
            self.centers.index_add_(0, labels, (share * away).masked_fill(~taken, 0))
        self.forget()

    def forget(self) -> None:
        """Drop what was seen since the last step."""
        self._seen = []
