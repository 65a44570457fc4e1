"""The training loop: one generator that reads from top to bottom.

It knows nothing of files, logs or devices beyond what it is handed, so that a linear layer and four
numbers drive it in a test. Whoever consumes it may save between two records: nothing is pending then.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from naic_reid.errors import ReidError

BASE_RATE = "base_rate"
"""The key of a parameter group that holds its learning rate before the schedule."""

Step = tuple[Tensor, Tensor, Sequence[str]]
"""Images float32 [B, 3, H, W] and labels int64 [B] on the device, and the images' names."""
Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""(embeddings, features, labels) → (loss, logits, or none where the loss has none)."""


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


def run(
    network: nn.Module,
    losses: dict[str, tuple[Loss, float]],
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int, int], Iterator[Step]],
    factor: Callable[[float], float],
    *,
    epochs: int,
    steps: Callable[[int], int],
    start: tuple[int, int] = (0, 0),
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    scaler: torch.amp.GradScaler | None = None,
    clip: float | None = None,
) -> Iterator[Record]:
    """Train, and yield a record after each step.

    Args:
        network: images → (embeddings before the bottleneck, features after it), both [B, D].
        losses: by name, each with its weight in the sum.
        optimizer: whose groups hold `BASE_RATE`.
        batches: (epoch, first step) → that epoch's batches from there on.
        factor: epoch → factor of the learning rate.
        epochs: how many, from 0.
        steps: of an epoch.
        start: epoch and step to begin with.
        autocast: the precision of the forward pass.
        scaler: of gradients, for half precision.
        clip: the gradient's greatest length; None: any.

    Raises:
        ReidError: the loss or its gradient is not finite; the step then changed nothing.
    """
    scaler = scaler or torch.amp.GradScaler(enabled=False)
    first = start[1]
    for epoch in range(start[0], epochs):
        for group in optimizer.param_groups:
            group["lr"] = group[BASE_RATE] * factor(epoch)
        begun = time.perf_counter()
        for step, (images, labels, names) in enumerate(batches(epoch, first), start=first):
            arrived = time.perf_counter()

            with autocast():
                embeddings, features = network(images)
                found = {name: loss(embeddings, features, labels) for name, (loss, _) in losses.items()}
            total = torch.stack([weight * found[name][0] for name, (_, weight) in losses.items()]).sum()
            values = _fetch(
                torch.stack([total, *(loss for loss, _ in found.values()), _right(found, labels)])
            )

            scaler.scale(total).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            length = _fetch(torch.nn.utils.clip_grad_norm_(_trained(optimizer), clip or math.inf))
            numbers = values()
            # Where gradients are scaled, overflow is expected: the scaler skips the step and learns.
            (norm,) = length() if not scaler.is_enabled() else (0.0,)
            if not all(math.isfinite(number) for number in (*numbers, norm)):
                optimizer.zero_grad(set_to_none=True)
                shown = dict(zip(("total", *found, "accuracy", "gradient"), (*numbers, norm), strict=True))
                raise ReidError(_not_finite(epoch, step, shown, names))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)

            now = time.perf_counter()
            yield Record(
                epoch, step, steps(epoch), numbers[0], dict(zip(found, numbers[1:-1], strict=True)),
                numbers[-1], optimizer.param_groups[0]["lr"], len(images), now - begun, arrived - begun,
            )  # fmt: skip
            begun = time.perf_counter()
        first = 0


def _right(found: dict[str, tuple[Tensor, Tensor | None]], labels: Tensor) -> Tensor:
    """Share of rows whose largest logit is their label's; 0 where no loss has logits."""
    for _, logits in found.values():
        if logits is not None:
            return (logits.detach().argmax(dim=1) == labels).float().mean()
    return torch.zeros((), device=labels.device)


def _fetch(values: Tensor) -> Callable[[], list[float]]:
    """The values as numbers, when asked for; the copy from a GPU begins at once and holds up nothing."""
    there = values.detach().float().reshape(-1).to("cpu", non_blocking=True)
    if values.device.type != "cuda":
        return there.tolist
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record()

    def wait() -> list[float]:
        done.synchronize()
        return there.tolist()

    return wait


def _trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _not_finite(epoch: int, step: int, values: dict[str, float], names: Sequence[str]) -> str:
    shown = ", ".join(f"{name} {value:g}" for name, value in values.items() if not math.isfinite(value))
    return (
        f"training is not finite any more in epoch {epoch + 1}, step {step + 1} ({shown}): nothing was "
        "changed by this step; lower train.learning_rate, or set train.precision to bf16 or fp32; its "
        "images were " + ", ".join(names)
    )
