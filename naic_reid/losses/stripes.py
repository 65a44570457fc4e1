"""The identity loss of horizontal stripes: each must tell persons apart, and so must all of them, weighted.

Source: the original's PCB branch, .5 · mean over stripes of their cross-entropy + .5 · that of the weighted
stripes side by side.
"""

import torch
from torch import Tensor, nn

from naic_reid.losses.linear import Linear


class StripesLoss(nn.Module):
    """Cross-entropy of each stripe and of the whole row, half each."""

    def __init__(self, num_classes: int, count: int, width: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(Linear(num_classes, width, smoothing=0.0) for _ in range(count))
        self.together = Linear(num_classes, count * width, smoothing=0.0)

    def forward(self, rows: Tensor, labels: Tensor) -> Tensor:
        """The mean over images; rows [B, P · width + P] are stripes and their weights, labels int64 [B]."""
        count = len(self.each)
        local = rows[:, :-count].reshape(len(rows), count, -1)
        alone = [loss(local[:, i], labels)[0] for i, loss in enumerate(self.each)]
        weighted = (rows[:, -count:, None] * local).flatten(1)
        loss: Tensor = 0.5 * torch.stack(alone).mean() + 0.5 * self.together(weighted, labels)[0]
        return loss
