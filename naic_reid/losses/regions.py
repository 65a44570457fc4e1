"""What teaches visible regions (VPM, Sun et al. 2019): the crop that augmentation made, and who is shown.

A picture that keeps the rows from `top` on, `kept` of all, and is stretched to the whole input shows region
i of p (from 1) down to row E_i = round((R·i/p − R·top) / kept) of the map's R. So the label of row r (from
1) is the number of E_i below r. A region is visible if a row other than the first and the last has its label.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.losses.linear import Linear


class Labels(NamedTuple):
    """What a batch's crops say."""

    rows: Tensor
    """int64 [B, R], the region (from 0) that each row of the map shows."""
    visible: Tensor
    """bool [B, p]."""


def labels(parts: Tensor, height: int, count: int) -> Labels:
    """Which region each of `height` rows shows, and which of `count` regions are visible.

    Args:
        parts: float [B, 2 or more], `top` and `kept`, shares of a whole body's rows, first.
        height: R.
        count: p.
    """
    top, kept = parts[:, :2].double().unbind(1)
    edges = torch.arange(1, count + 1, device=parts.device) * height / count
    ends = ((edges - height * top[:, None]) / kept[:, None]).round()
    numbers = torch.arange(1, height + 1, device=parts.device)
    rows = (ends[:, :, None] < numbers).sum(1).clamp(max=count - 1)
    inner = rows[:, 1:-1] if height > 2 else rows
    visible = (inner[:, None, :] == torch.arange(count, device=parts.device)[:, None]).any(2)
    return Labels(rows, visible)


class Regions(nn.Module):
    """Cross-entropy of each visible region's own class rows, summed, and of the locator's rows."""

    def __init__(self, num_classes: int, dimension: int, count: int) -> None:
        """Of `count` regions whose features have `dimension` numbers."""
        super().__init__()
        self.classes = nn.ModuleList(Linear(num_classes, dimension, 0.0) for _ in range(count))

    def forward(
        self, features: Tensor, logits: Tensor, persons: Tensor, parts: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses `regions` and `locator`.

        Args:
            features: [B, p·D], after the necks, side by side.
            logits: [B, p·R], the locator's.
            persons: int64 [B].
            parts: as of `labels`; None: all pictures are whole.
        """
        count = len(self.classes)
        logits = logits.view(len(logits), count, -1).float()
        if parts is None:
            parts = F.pad(logits.new_zeros(len(logits), 1), (0, 1), value=1.0)
        rows, visible = labels(parts, logits.shape[2], count)
        total = logits.new_zeros(())
        for classes, own, shown in zip(self.classes, features.chunk(count, 1), visible.T, strict=True):
            assert isinstance(classes, Linear)
            # A mean over those who show the region; no loss where nobody does.
            each = F.cross_entropy(classes.logits(own), persons, reduction="none")
            total = total + each.masked_fill(~shown, 0).sum() / shown.sum().clamp(min=1)
        # Row by row: for a map of targets a GPU adds up in no fixed order.
        located = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), rows.flatten())
        return {"regions": total, "locator": located}
