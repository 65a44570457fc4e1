"""What makes a step repeatable: PyTorch's switches and its random generators."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def repeatable(threads: int, *, deterministic: bool = True) -> Iterator[None]:
    """Equal seeds give equal bits; every switch is put back afterwards.

    Args:
        threads: of the computation on a CPU; 0: as many as torch takes.
        deterministic: false lets a GPU take its quickest kernels, tried out on the first batches; equal
            seeds then give runs that are equal but for rounding.
    """
    fill: Any = torch.utils.deterministic
    cudnn: Any = torch.backends.cudnn
    before = (
        torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(), fill.fill_uninitialized_memory,
        cudnn.benchmark, os.environ.get(_WORKSPACE),
    )  # fmt: skip
    if deterministic:
        os.environ.setdefault(_WORKSPACE, ":4096:8")
    fill.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    cudnn.benchmark = not deterministic
    torch.set_num_threads(threads or before[0])
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        fill.fill_uninitialized_memory, cudnn.benchmark = before[3:5]
        if before[5] is None:
            os.environ.pop(_WORKSPACE, None)


def generators(device: torch.device) -> list[Tensor]:
    """States of this process's generators: the CPU's, then its GPU's."""
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *own]


def set_generators(states: list[Tensor], device: torch.device) -> None:
    """Put back what `generators` gave; a GPU's only where there was one."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
