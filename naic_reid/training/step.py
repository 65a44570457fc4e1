"""One training step: forward pass, backward pass, optimizer.

The numbers of a step are read while the next one is on its way, just before that one's optimizer moves
anything: the host then waits for what a GPU has long finished, and the GPU never waits for the host. A step
that is not finite is skipped on the device itself, so that reading late loses nothing.
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from naic_reid import precision
from naic_reid.errors import ReidError
from naic_reid.training import optimizers
from naic_reid.training.state import Pending, State

MOST_SKIPPED = 50
"""Steps in a row that may be skipped for an overflow; more, and nothing is being learnt."""
LEAST_SCALE = 2.0**-14
"""Of the loss: what overflows below it is no matter of float16's range."""


class Batch(NamedTuple):
    """What a step is taken with."""

    images: Tensor
    """float32 [B, 3, H, W] on the device."""
    labels: Tensor
    """int64 [B] on the device."""
    names: Sequence[str]
    """Of the images, for messages."""
    start: Tensor | None = None
    """[B, 3, H, W] of −1 and 1 on the device, the first step of an attack on the images; none: no attack."""
    parts: Tensor | None = None
    """float32 [B, 3] on the device: where in a whole picture, as a share of its height, what is shown begins,
    how much that is, and how much of the width. None: all are whole."""
    views: Tensor | None = None
    """float32 [U, 2, 3, H, W] on the device: images without labels, each in two variations; none: none."""


@dataclass(frozen=True)
class Plan:
    """How a step is taken."""

    weights: Mapping[str, float]
    """Of the losses in their sum, by name."""
    steps: int
    """In this epoch."""
    factor: float = 1.0
    """Of every learning rate."""
    precision: str = "fp32"
    """Of the forward and backward pass: a word of `naic_reid.precision`."""
    clip: float | None = None
    """Greatest length of the gradient; none: any."""
    loss_factor: float = 1.0
    """Of the whole loss, for its gradient alone: records tell the loss itself."""
    attack: Callable[[Tensor, Tensor], Tensor] | None = None
    """Images and their first steps → attacked images; for batches that have such."""
    micro_batch: int | None = None
    """Images that go through the learner at once; none: the whole batch."""
    mean: Callable[[Tensor], Tensor] = lambda values: values
    """Over all processes that train together."""
    kept: Sequence[Tensor] = ()
    """Parameters that this step leaves as they are, though they have gradients."""
    flags: Tensor | None = None
    """Numbers of this process, on the device, whose mean the record brings to all."""


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
    gradient: float
    """Its length, before it was clipped."""
    rate: float
    """Learning rate (lr) of the first parameter group."""
    scale: float | None
    """Of the loss while float16 gradients are computed; none in other precisions."""
    flags: tuple[float, ...]
    """Means of the plan's flags."""
    images: int
    """In this process."""
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds of these in which the step waited for its batch."""
    settled: bool = False
    """Whether no other step had begun when this was said: all may be saved now."""

    @property
    def finite(self) -> bool:
        """Whether the step was taken: one that is not finite is skipped."""
        return all(map(math.isfinite, (self.total, *self.losses.values(), self.gradient)))

    @property
    def ends_epoch(self) -> bool:
        return self.step + 1 == self.steps


class NotFiniteError(ReidError):
    """A loss or gradient is not finite; everything is as it was before that step."""

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch, self.step = epoch, step


class TornError(ReidError):
    """The optimizer failed when some parameters had moved: what is in memory is of no use any more."""


def step(state: State, batch: Batch, plan: Plan) -> Record | None:
    """Take one step, and return the record of the one before, whose numbers have arrived meanwhile.

    Raises:
        NotFiniteError: the step before was not; everything is as it was before that one.
        TornError: the optimizer failed midway.
        Exception: of the learner, of a full memory; everything is as it was before this step.
    """
    state.begin()
    scaled = precision.scales_losses(plan.precision)
    scale = state.scale.value if scaled else torch.ones((), device=state.device)
    try:
        with precision.float32_products(plan.precision):
            sums, terms = _judge(state.called, batch, plan, scale)
        for kept in plan.kept:
            kept.grad = None
        gradients = [p.grad for p in state.parameters if p.grad is not None]
        length = torch.nn.utils.get_total_norm(gradients) / scale
        flags = [] if plan.flags is None else [plan.flags]
        numbers = plan.mean(torch.cat((sums, length.reshape(1), *flags)))
        taken = numbers.isfinite().all()
        state.unsaid = settle(state) or state.unsaid
        if plan.clip is not None or scaled:
            clipped = 1.0 if plan.clip is None else (plan.clip / (length + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, clipped / scale)
        for group in state.optimizer.param_groups:
            group["lr"] = group[optimizers.BASE_RATE] * plan.factor
        _move(state.optimizer, taken)
    except (NotFiniteError, TornError):
        raise
    except Exception:
        state.take_back()
        raise
    for follower in state.followers:
        follower.follow(taken)
    if scaled:
        numbers = torch.cat((numbers, scale.reshape(1)))
        state.scale.update(taken)
    rate = state.optimizer.param_groups[0]["lr"]
    state.advance(Pending(state.epoch, state.step, plan.steps, rate, scaled, terms, batch.names, numbers))
    before: Record | None
    before, state.unsaid = state.unsaid, None
    return before


def settle(state: State) -> Record | None:
    """Read the numbers of the step that was taken last; none when they have been read.

    Raises:
        NotFiniteError: its loss is not finite, or its gradient without a scaled loss, or too many in a row
            overflowed with one; everything is as it was before the first step that was not settled.
    """
    if (pending := state.pending) is None:
        return None
    record = _read(pending)
    if record.finite:
        state.accept()
        return record
    overflow = record.scale is not None and math.isfinite(record.total)
    if overflow and state.skipped + 1 < MOST_SKIPPED and (record.scale or 0.0) >= LEAST_SCALE:
        state.skip()
        return record
    message = _overflowed(record, state.skipped + 1) if overflow else _not_finite(record)
    state.take_back_all()
    raise NotFiniteError(f"{message}; its images were {', '.join(pending.names)}", record.epoch, record.step)


def _judge(learner: nn.Module, batch: Batch, plan: Plan, scale: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Forward and backward: leaves gradients; the sums [total, each term, accuracy], and the terms' names."""
    seen = []
    size = plan.micro_batch or len(batch.labels)
    micro_batches = [slice(begin, begin + size) for begin in range(0, len(batch.labels), size)]
    views = (
        [None] * len(micro_batches) if batch.views is None else batch.views.tensor_split(len(micro_batches))
    )
    for some, two in zip(micro_batches, views, strict=True):
        share = len(batch.labels[some]) / len(batch.labels)
        more = _more(batch, plan, some, two)
        with _held_back(learner, held=some is not micro_batches[-1]):
            with precision.autocast(plan.precision, batch.images.device):
                losses, right = learner(batch.images[some], batch.labels[some], **more)
                total = torch.stack([plan.weights[name] * loss for name, loss in losses.items()]).sum()
            (plan.loss_factor * share * scale * total).backward()  # type: ignore[no-untyped-call]
        seen.append(share * torch.stack([total, *losses.values(), right]).detach())
    return torch.stack(seen).sum(dim=0), tuple(losses)


def _more(batch: Batch, plan: Plan, some: slice, views: Tensor | None) -> dict[str, Any]:
    """What the learner is shown with a micro-batch beside its images and labels."""
    more: dict[str, Any] = {} if batch.parts is None else {"parts": batch.parts[some]}
    if batch.start is not None:
        assert plan.attack is not None, "a batch that is attacked has a plan for it"
        more["attacked"] = plan.attack(batch.images[some], batch.start[some])
    if views is not None:
        more["views"] = views.unbind(1)
    return more


def _held_back(learner: nn.Module, *, held: bool) -> contextlib.AbstractContextManager[Any]:
    """Where processes train together, their gradients meet once a step: with the last micro-batch."""
    if held and isinstance(learner, DistributedDataParallel):
        alone: contextlib.AbstractContextManager[Any] = learner.no_sync()
        return alone
    return contextlib.nullcontext()


def _move(optimizer: torch.optim.Optimizer, taken: Tensor) -> None:
    """Let the optimizer move, or not, as the device knows and the host does not yet."""
    versions = _versions(optimizer)
    try:
        optimizers.step(optimizer, taken)
    except Exception as error:
        if _versions(optimizer) != versions:
            raise TornError(
                f"the optimizer failed midway ({str(error).splitlines()[0]}): nothing of it was saved; "
                "run again, and training goes on from its last saved state"
            ) from error
        raise


def _versions(optimizer: torch.optim.Optimizer) -> list[int]:
    """A number for each tensor that an optimizer moves, which grows when it is written to."""
    held = (value for values in optimizer.state.values() for value in values.values())
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    return [tensor._version for tensor in (*moved, *held) if isinstance(tensor, Tensor)]


def _read(pending: Pending) -> Record:
    total, *rest = pending.read()
    scale = rest.pop() if pending.scaled else None
    count = len(pending.terms)
    losses = dict(zip(pending.terms, rest[:count], strict=True))
    accuracy, gradient, *flags = rest[count:]
    return Record(
        pending.epoch, pending.step, pending.steps, total, losses, accuracy, gradient, pending.rate, scale,
        tuple(flags), len(pending.names),
    )  # fmt: skip


def _not_finite(record: Record) -> str:
    values = {"total": record.total, **record.losses, "gradient": record.gradient}
    shown = ", ".join(f"{name} {value:g}" for name, value in values.items() if not math.isfinite(value))
    return (
        f"training is not finite any more in epoch {record.epoch + 1}, step {record.step + 1} ({shown}): "
        "nothing was changed by this step; a lower learning_rate may help, or precision bf16 or fp32"
    )


def _overflowed(record: Record, times: int) -> str:
    return (
        f"fp16 overflows: gradients of {times} steps in a row, the last in epoch {record.epoch + 1}, step "
        f"{record.step + 1}, at a loss scale of {record.scale:g}, were not finite, and nothing was learnt "
        "from them; precision bf16 or fp32 has the range, or a lower learning_rate may help"
    )
