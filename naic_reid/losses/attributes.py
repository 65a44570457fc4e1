"""Cross-entropy of what persons wear, beside who they are (Lin et al. 2019, eq. 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttributeLoss(nn.Module):
    """The mean over attributes of the cross-entropy over images of whose person the attribute is known.

    An attribute that is known of nobody in the batch adds nothing.
    """

    known: Tensor

    def __init__(self, heads: nn.Module, known: Tensor) -> None:
        """
        Args:
            heads: features [B, D] → logits [B, values] of each of M attributes.
            known: int64 [C, M], the value of each class from 1; 0: not known.
        """
        super().__init__()
        self.heads = heads
        self.register_buffer("known", known, persistent=False)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, float32, and all logits side by side; labels are int64 [B] class indices."""
        logits = self.heads(features)
        targets = self.known[labels] - 1
        terms = [_known(one, target) for one, target in zip(logits, targets.T, strict=True)]
        return torch.stack(terms).mean(), torch.cat(logits, 1)


def _known(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy where a target is there, −1 where none is; 0 where there is none at all."""
    total = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)
