"""Processes that train together, as torchrun starts them; a process alone is a team of one.

    torchrun --standalone --nproc-per-node=2 -m naic_reid train …

Each process makes its slice of every batch; gradients are averaged; the first one alone writes.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from naic_reid.errors import ReidError

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class Team:
    """Who trains: `rank` is this process's number, `size` how many there are."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wrapped(self, learner: nn.Module, *, sync_norm: bool = False) -> nn.Module:
        """The learner, whose gradients become means over the team.

        Args:
            learner: the same in every process.
            sync_norm: batch normalisation uses the statistics of the whole batch.

        Raises:
            ReidError: `sync_norm` without GPUs.
        """
        if self.size == 1:
            return learner
        if sync_norm:
            if self.device.type != "cuda":
                raise ReidError("train.sync_norm needs GPUs: switch it off, or start one process")
            learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(learner, [self.device] if self.device.type == "cuda" else None)

    def mean(self, values: Tensor) -> Tensor:
        """Means over the team of equally long vectors; the host does not wait where they are on a GPU."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def all_of(self, mine: list[Tensor]) -> list[list[Tensor]]:
        """Every process's tensors, in the order of ranks; all wait for each other."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def first_says(self, said: bool) -> bool:
        """What the first process says; all wait for it."""
        if self.size == 1:
            return said
        box = [said]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    @property
    def called(self) -> str:
        """What messages call this process."""
        return f"process {self.rank + 1} of {self.size} ({self.device})"


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team this process belongs to, left again at the end.

    Args:
        device: auto, cpu, cuda or cuda:N; in a larger team, each process takes the GPU of its local rank.

    Raises:
        ReidError: there is no such device here.
    """
    size, rank, local = (int(os.environ.get(name, default)) for name, default in
                         (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0")))  # fmt: skip
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and size > 1:
        device = f"cuda:{local}"
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
        if place.type not in ("cpu", "cuda"):
            raise RuntimeError("neither a processor nor an NVIDIA GPU")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ReidError(f"device {device}: not usable here ({reason}); give auto, cpu or cuda") from error
    if size == 1:
        yield Team(0, 1, place)
        return
    _end_with_launcher()
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    team = Team(rank, size, place)
    try:
        yield team
    except SystemExit:  # all leave together
        dist.destroy_process_group()
        raise
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or not _lost(error):
            raise
        raise ReidError(
            f"{team.called}: the processes that train together lost one, whose own message says why: mend "
            "that, and run again to go on from the last saved state"
        ) from error
    else:
        dist.destroy_process_group()


def _end_with_launcher() -> None:
    """Be asked to stop (SIGTERM) when the process that started this one ends, however it ends.

    torchrun stops its processes itself unless it is killed outright; then Linux does (`prctl`), and elsewhere
    they go on.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _lost(error: Exception) -> bool:
    """Whether a collective failed because another process has ended."""
    return isinstance(error, dist.DistError) or any(
        word in str(error) for word in ("onnection closed", "onnection reset", "roken pipe", "imed out")
    )
