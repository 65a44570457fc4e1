"""Processes that train together, as torchrun starts them; a process alone is a team of one.

    torchrun --standalone --nproc-per-node=2 -m naic_reid train …

Each process makes its part of every batch; gradients are averaged; the first one alone writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from naic_reid.errors import ReidError


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
        """Means over the team of equally long vectors."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def largest(self, number: int) -> int:
        """The largest of the team's numbers; all wait for each other."""
        if self.size == 1:
            return number
        shared = torch.tensor([number], device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared.item())


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
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ReidError(f"device {device}: not usable here ({reason}); give auto, cpu or cuda") from error
    if size == 1:
        yield Team(0, 1, place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Team(rank, size, place)
    finally:
        dist.destroy_process_group()
