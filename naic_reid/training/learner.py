"""What is trained: the network and the terms of its loss, as one module."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

RATIO = "ratio"
"""The name of the term of a predictor of ratios."""
ADVERSARIAL = "adversarial"
"""The name of the term of attacked images."""
UNLABELLED = "unlabelled"
"""The name of the term of images without labels."""


class Judgement(NamedTuple):
    """What the terms say about a batch."""

    losses: dict[str, Tensor]
    """Each term by name, before its weight."""
    right: Tensor
    """Share of the batch whose own class had the largest logit (accuracy)."""


class Judged(Protocol):
    """Some branches of a network whose rows, side by side, a loss judges; `models.heads.Group` is one."""

    @property
    def weight(self) -> float: ...

    def rows(self, seen: Any, of: str) -> Tensor: ...


class Term(NamedTuple):
    """A loss and what it judges."""

    name: str
    """Terms of one name are added up."""
    group: Judged
    loss: nn.Module
    on: str = "embedding"
    """What a metric loss judges: `embedding` or `feature`."""


class Located(NamedTuple):
    """What teaches where a picture's visible regions are."""

    regions: Judged
    """Their features, side by side."""
    locator: Judged
    """Its logits of the map's rows."""
    loss: nn.Module
    """Of both, the labels and the parts that are shown: several losses by name."""


class Scaled(NamedTuple):
    """How bodies that crops made taller come to be seen at their usual scale while learning."""

    taps: Callable[[Tensor, Tensor | None], Tensor | None]
    """Images and the parts that are shown → how far taps are spread [B, 2]; None: as they are."""
    see: Callable[[Tensor | None], None]
    """Tells it to the network's layers."""


class Learner(nn.Module):
    """Images and labels → losses.

    Identity losses look at the features of this process's images; metric losses look at the embeddings of
    the whole batch, gathered where several processes hold parts of it. Gathering sends gradients back
    summed over processes, and averaging over processes, as for every other gradient, then gives those of
    one process with the whole batch.
    """

    def __init__(
        self,
        embedder: nn.Module,
        identity: Sequence[Term],
        metrics: Sequence[Term],
        teacher: nn.Module | None = None,
        located: Located | None = None,
        consistency: nn.Module | None = None,
        ratio: nn.Module | None = None,
        scaled: Scaled | None = None,
    ) -> None:
        """The first identity term's logits give the accuracy; metric losses compare with a teacher's rows.

        `consistency` judges two variations of images without labels, `ratio` the embedder's predictor of
        ratios by images and the parts of them that are shown.
        """
        super().__init__()
        self.teacher = teacher
        self.consistency = consistency
        self.embedder = embedder
        self.identity = nn.ModuleList(term.loss for term in identity)
        self.metrics = nn.ModuleList(term.loss for term in metrics)
        self._located, self._scaled, self.ratio = located, scaled, ratio
        self.located = nn.ModuleList() if located is None else nn.ModuleList([located.loss])
        self._identity = [(term.name, term.group) for term in identity]
        self._metrics = [(term.name, term.group, term.on) for term in metrics]

    @property
    def classifier(self) -> nn.Module:
        """The identity loss of the first group, whose `weight` has a row for each class."""
        return self.identity[0]

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        attacked: Tensor | None = None,
        parts: Tensor | None = None,
        views: tuple[Tensor, Tensor] | None = None,
    ) -> Judgement:
        """Of float32 [B, 3, H, W] and int64 [B].

        A term of its own each have the images as an attack left them, and two variations of further images
        without labels, each float32 [U, 3, H, W].

        `parts` are those of pictures that are shown, as in `step.Batch`.
        """
        try:
            if self._scaled is not None:
                self._scaled.see(self._scaled.taps(images, parts))
            seen = self.embedder(images)
            turned = None if attacked is None else self.embedder(attacked)
        finally:  # nothing of a batch for which there was no memory is held, or shown to the next
            if self._scaled is not None:
                self._scaled.see(None)
        losses: dict[str, Tensor] = {}
        right = None
        for (name, group), judge in zip(self._identity, self.identity, strict=True):
            loss, logits = judge(group.rows(seen, "feature"), labels)
            _add(losses, name, group.weight * loss)
            if right is None:
                right = (logits.detach().argmax(dim=1) == labels).float().mean()
        if self._located is not None:
            regions, locator, judge = self._located
            losses |= judge(regions.rows(seen, "feature"), locator.rows(seen, "feature"), labels, parts)
        together = bool(self._metrics) and dist.is_initialized()
        everyones = _gathered(labels) if together else labels
        taught = None if self.teacher is None or not self.training else self.teacher(images)
        for (name, group, on), judge in zip(self._metrics, self.metrics, strict=True):
            rows = group.rows(seen, on)
            judged = [_Gathered.apply(rows) if together else rows, everyones]
            if taught is not None:
                others = group.rows(taught, on)
                judged.append(_gathered(others) if together else others)
            _add(losses, name, group.weight * judge(*judged))
        if turned is not None:
            losses[ADVERSARIAL] = self._identified(turned, labels)
        if self.ratio is not None:
            losses[RATIO] = self.ratio(self.embedder.ratio, images, parts)
        if views is not None:
            assert self.consistency is not None, "somebody judges images without labels"
            losses[UNLABELLED] = self.consistency(*views)
        assert right is not None, "a network has an identity term"
        return Judgement(losses, right)

    def _identified(self, seen: Any, labels: Tensor) -> Tensor:
        """The recipe's identity loss of what the embedder saw."""
        first, _ = self._identity[0]
        return torch.stack([
            group.weight * judge(group.rows(seen, "feature"), labels)[0]
            for (name, group), judge in zip(self._identity, self.identity, strict=True)
            if name == first
        ]).sum()  # fmt: skip


def _add(losses: dict[str, Tensor], name: str, loss: Tensor) -> None:
    losses[name] = losses[name] + loss if name in losses else loss


def _gathered(rows: Tensor) -> Tensor:
    """Every process's rows, one process after the other."""
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Gathered(torch.autograd.Function):
    """`_gathered`, with gradients sent back as sums over the processes."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        return _gathered(rows)

    @staticmethod
    def backward(context: Any, gradients: Tensor) -> Tensor:
        gradients = gradients.clone()
        dist.all_reduce(gradients)
        return gradients.chunk(dist.get_world_size())[dist.get_rank()]
