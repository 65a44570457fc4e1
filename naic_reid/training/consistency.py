"""Learning from images without labels: what a network says of an image shall not depend on its variation."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from naic_reid.training.teacher import Teacher

Loss = Callable[[Tensor, Tensor], Tensor]


class Judge(Protocol):
    """An identity loss, as far as it tells classes apart."""

    def logits(self, features: Tensor) -> Tensor: ...


class Logits(nn.Module):
    """Images → logits of the classes, float32 [B, C]: summed over the groups of branches that are judged."""

    def __init__(self, embedder: nn.Module, groups: Sequence[Any], judges: Sequence[nn.Module]) -> None:
        """`groups[i].rows` are judged by `judges[i].logits`."""
        super().__init__()
        self.embedder, self.judges = embedder, nn.ModuleList(judges)
        self._groups = tuple(groups)

    def forward(self, images: Tensor) -> Tensor:
        """Of float32 [B, 3, H, W]."""
        seen = self.embedder(images)
        pairs = zip(self._groups, self.judges, strict=True)
        found = [cast(Judge, judge).logits(group.rows(seen, "feature")) for group, judge in pairs]
        return torch.stack(found).sum(0)


class Consistency(nn.Module):
    """How far apart the classes of two variations of the same images are, by the network that learns.

    Those of the second are by the same network, or by a moving average of it, which gives no gradient.
    """

    def __init__(self, logits: Logits, loss: Loss, decay: float | None) -> None:
        """
        Args:
            logits: of the network that learns, whose parts belong to another module.
            loss: logits of the one and of the other variation → a scalar.
            decay: of the moving average; None: there is none.
        """
        super().__init__()
        self._logits, self._loss = (logits,), loss  # in a tuple: it is no part of this module
        self.teacher = None if decay is None else Teacher(logits, decay)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Of two variations of U images, each float32 [U, 3, H, W]."""
        (logits,) = self._logits
        second = logits if self.teacher is None else self.teacher
        found: Tensor = self._loss(logits(one), second(other))
        return found
