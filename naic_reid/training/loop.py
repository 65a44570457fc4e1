"""The epochs of a training run, step after step.

It knows nothing of files, logs or devices beyond what it is handed, so that a linear layer and four
numbers drive it in a test.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from naic_reid.errors import ReidError
from naic_reid.training.state import State
from naic_reid.training.step import Batch, Plan, Record, settle, step

_log = logging.getLogger(__name__)


class TooLargeError(ReidError):
    """A batch does not fit into memory, in none of the micro-batches that are allowed."""


def run(
    state: State,
    batches: Callable[[int, int], Iterator[Batch]],
    plan: Callable[[int, int], Plan],
    *,
    epochs: int,
    micro_batches: Sequence[int | None] = (None,),
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """Train from where the state stands, and yield a record of each step, one step late.

    After the last step of an epoch, and wherever `pause` asks for it, the record comes at once: nothing is
    pending then, and the state may be saved.

    Args:
        state: what is trained.
        batches: (epoch, first step) → that epoch's batches from there on.
        plan: (epoch, step) → how that step is taken.
        epochs: how many, from 0.
        micro_batches: sizes that a batch may be cut to, largest first; the next is taken for the rest of
            the run when a step finds too little memory; None: the whole batch.
        pause: asked after each step.

    Raises:
        NotFiniteError, TornError: see `step`.
        TooLargeError: a batch does not fit in the smallest micro-batches; all is as it was before it.
    """
    sizes = list(micro_batches)
    begun = time.perf_counter()
    took = (0.0, 0.0)
    while state.epoch < epochs:
        for batch in batches(state.epoch, state.step):
            arrived = time.perf_counter()
            planned = plan(state.epoch, state.step)
            while True:
                try:
                    before = step(state, batch, replace(planned, micro_batch=sizes[0]))
                    break
                except torch.OutOfMemoryError as error:
                    too_large = _too_large(state, len(batch.labels), sizes.pop(0), error)
                # Outside of that block, what the failed step held is free again.
                if not sizes:
                    raise too_large
                _log.warning("train: %s; now %s at a time", too_large, sizes[0])
            if before is not None:
                yield replace(before, seconds=took[0], waited=took[1])
            ended = state.step == planned.steps
            last = settle(state) if ended or pause() else None
            if ended:
                state.end_epoch()
            now = time.perf_counter()
            took, begun = (now - begun, arrived - begun), now
            if last is not None:
                yield replace(last, seconds=took[0], waited=took[1], settled=True)
        assert state.step == 0, "an epoch has as many batches as its plan says"


def _too_large(state: State, batch: int, size: int | None, error: Exception) -> TooLargeError:
    return TooLargeError(
        f"no memory for {size or batch} images at once on {state.device}, in epoch {state.epoch + 1}, step "
        f"{state.step + 1} ({str(error).splitlines()[0]})"
    )
