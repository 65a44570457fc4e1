"""The training loop: one generator that reads from top to bottom.

It knows nothing of files, logs or devices beyond what it is handed, so that a linear layer and four
numbers drive it in a test. Whoever consumes it may save between two records: nothing is pending then.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from naic_reid.errors import ReidError
from naic_reid.training.repeatable import Before

BASE_RATE = "base_rate"
"""The key of a parameter group that holds its learning rate before the schedule."""

Step = tuple[Tensor, Tensor, Sequence[str]]
"""Images float32 [B, 3, H, W] and labels int64 [B] on the device, and the images' names."""


class NotFiniteError(ReidError):
    """A loss or gradient is not finite; everything is as it was before that step."""

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch, self.step = epoch, step


@dataclass(frozen=True)
class Record:
    """What one step did."""

    epoch: int
    step: int
    """From 0 in its epoch."""
    steps: int
    """In the epoch."""
    total: float
    losses: dict[str, float]
    """Each term by name, before its weight."""
    accuracy: float
    """Share of the batch whose own class had the largest logit."""
    rate: float
    """Learning rate of the first parameter group."""
    images: int
    seconds: float
    waited: float
    """Seconds of these in which the step waited for its batch."""

    @property
    def ends_epoch(self) -> bool:
        return self.step + 1 == self.steps

    @property
    def following(self) -> tuple[int, int]:
        """Epoch and step of the next."""
        return (self.epoch + 1, 0) if self.ends_epoch else (self.epoch, self.step + 1)


def run(
    learner: nn.Module,
    weights: Mapping[str, float],
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int, int], Iterator[Step]],
    factor: Callable[[int, int], float],
    *,
    epochs: int,
    steps: Callable[[int], int],
    start: tuple[int, int] = (0, 0),
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    scaler: torch.amp.GradScaler | None = None,
    clip: float | None = None,
    part: int | None = None,
    mean: Callable[[Tensor], Tensor] = lambda values: values,
) -> Iterator[Record]:
    """Train, and yield a record after each step.

    Args:
        learner: (images, labels) → losses by name, and the share of images put in their class.
        weights: of the losses in their sum.
        optimizer: whose groups hold `BASE_RATE`.
        batches: (epoch, first step) → that epoch's batches from there on.
        factor: (epoch, step) → factor of the learning rate.
        epochs: how many, from 0.
        steps: of an epoch.
        start: epoch and step to begin with.
        autocast: the precision of the forward pass.
        scaler: of gradients, for half precision.
        clip: the gradient's greatest length; None: any.
        part: images that go through the learner at once; None: the whole batch.
        mean: over all processes that train together.

    Raises:
        NotFiniteError: the loss or its gradient is; as after any error before the optimizer moves, all is
            then as it was before the step, what the forward pass moved included.
    """
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    before = Before(learner)
    first = start[1]
    for epoch in range(start[0], epochs):
        begun = time.perf_counter()
        for step, (images, labels, names) in enumerate(batches(epoch, first), start=first):
            arrived = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = group[BASE_RATE] * factor(epoch, step)

            with before.taken_back_on_error(), _dropped_on_error(optimizer):
                seen = []
                size = part or len(images)
                parts = [slice(begin, begin + size) for begin in range(0, len(images), size)]
                for some in parts:
                    with autocast(), _together(learner, last=some is parts[-1]):
                        losses, right = learner(images[some], labels[some])
                        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
                        share = len(labels[some]) / len(labels)
                        scaler.scale(share * total).backward()  # type: ignore[no-untyped-call]
                    seen.append(share * torch.stack([total, *losses.values(), right]).detach())

                scaler.unscale_(optimizer)
                norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf)
                # The one place where the host waits for the device: nothing may move before this is seen.
                *values, length = torch.cat((mean(torch.stack(seen).sum(dim=0)), norm.reshape(1))).tolist()
                # Where gradients are scaled, overflow is expected: the scaler skips the step and learns.
                if not all(map(math.isfinite, values)) or not (math.isfinite(length) or scaler.is_enabled()):
                    shown = dict(
                        zip(("total", *losses, "accuracy", "gradient"), (*values, length), strict=True)
                    )
                    raise NotFiniteError(_not_finite(epoch, step, shown, names), epoch, step)

            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)

            now = time.perf_counter()
            yield Record(
                epoch, step, steps(epoch), values[0], dict(zip(losses, values[1:-1], strict=True)),
                values[-1], optimizer.param_groups[0]["lr"], len(images), now - begun, arrived - begun,
            )  # fmt: skip
            begun = time.perf_counter()
        first = 0


@contextlib.contextmanager
def _dropped_on_error(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within, an error leaves no gradients."""
    try:
        yield
    except Exception:
        optimizer.zero_grad(set_to_none=True)
        raise


def _together(learner: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Where processes train together, their gradients meet once a step: with the last part."""
    if isinstance(learner, DistributedDataParallel) and not last:
        held: contextlib.AbstractContextManager[Any] = learner.no_sync()
        return held
    return contextlib.nullcontext()


def _not_finite(epoch: int, step: int, values: dict[str, float], names: Sequence[str]) -> str:
    shown = ", ".join(f"{name} {value:g}" for name, value in values.items() if not math.isfinite(value))
    return (
        f"training is not finite any more in epoch {epoch + 1}, step {step + 1} ({shown}): nothing was "
        "changed by this step; lower train.learning_rate, or set train.precision to bf16 or fp32; its "
        "images were " + ", ".join(names)
    )
