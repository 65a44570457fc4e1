"""What makes a step repeatable: torch's switches, its generators, and what a forward pass moves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Equal seeds give equal bits; torch's switches are put back afterwards.

    Args:
        threads: of the computation on a CPU; 0: as many as torch takes.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads or before[0])
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def generators() -> list[Tensor]:
    """States of torch's generators: the CPU's, then each GPU's."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def set_generators(states: list[Tensor]) -> None:
    """Put back what `generators` gave; GPUs only where there are as many."""
    torch.set_rng_state(states[0])
    if len(states) - 1 == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states[1:])


class Before:
    """What a forward pass moves though no optimizer does, as it was: running statistics, generators."""

    def __init__(self, learner: nn.Module) -> None:
        self._buffers = list(learner.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._generators = generators()

    @contextmanager
    def taken_back_on_error(self) -> Iterator[None]:
        """Within, an error leaves everything as it was on entry."""
        for kept, buffer in zip(self._kept, self._buffers, strict=True):
            kept.copy_(buffer)
        self._generators = generators()
        try:
            yield
        except Exception:
            for kept, buffer in zip(self._kept, self._buffers, strict=True):
                buffer.copy_(kept)
            set_generators(self._generators)
            raise
