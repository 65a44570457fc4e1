"""Files written beside training: the step waits for a copy, never for a disk."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def copied(tree: Any) -> tuple[Any, Callable[[], None]]:
    """A copy of dicts, lists and tuples with all tensors on the CPU; and a function that waits for it.

    Tensors of a GPU go to pinned memory while it computes on: what it changes later waits for the copy on
    the device, and the host does not wait at all.
    """
    on_gpu: torch.device | None = None

    def copy(node: Any) -> Any:
        nonlocal on_gpu
        if isinstance(node, Tensor):
            if node.device.type != "cuda":
                return node.detach().clone()
            on_gpu = node.device
            there = torch.empty_like(node, device="cpu", pin_memory=True)
            return there.copy_(node.detach(), non_blocking=True)
        if isinstance(node, dict):
            return {key: copy(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(copy(value) for value in node)
        return node

    made = copy(tree)
    if on_gpu is None:
        return made, lambda: None
    # Of that GPU, which need not be the current one.
    arrived: Any = torch.cuda.current_stream(on_gpu).record_event()
    return made, arrived.synchronize


class Writer:
    """One thread that writes files in the order in which they were handed over."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._last: Future[None] | None = None

    @property
    def idle(self) -> bool:
        return self._last is None or self._last.done()

    def write(self, tree: Any, how: Callable[[Any], None]) -> None:
        """Copy the tree now, and call `how` with the copy later; an earlier file's error is raised here."""
        if self.idle:
            self.wait()
        made, arrived = copied(tree)
        before = self._last

        def work() -> None:
            if before is not None:
                before.result()  # what follows a file that could not be written is not written either
            arrived()
            how(made)

        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """Until all is written; raises what writing raised."""
        if self._last is not None:
            self._last.result()

    @contextmanager
    def finishing(self) -> Iterator["Writer"]:
        """All is written when the block ends, also by an error, which then is the one that is raised."""
        try:
            yield self
            self.wait()
        finally:
            self._pool.shutdown()


class Pace:
    """Says when to save: at most every `seconds`, and waiting for copies no more than 1/20 of the time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._took = 0.0
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= max(self._seconds, 20 * self._took)

    @contextmanager
    def saving(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._last = time.monotonic()
        self._took = self._last - begun
