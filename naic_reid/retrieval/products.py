"""What matrix products in blocks need: unit rows, one torch thread for each of ours, a memory budget."""

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from naic_reid import machine
from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval import exact, parallel

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def each(function: Callable[[_Job], _Result], jobs: Iterable[_Job], threads: int) -> Iterator[_Result]:
    """`function` of every job, in the order of the jobs, by so many threads with one torch thread each.

    One product a thread, and whatever is done to its result in the same thread, keeps processors busier
    than all threads at one product. Afterwards torch has as many threads as before.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            parallel.num_threads(threads), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield from pool.map(function, jobs)
    finally:
        torch.set_num_threads(before)


def unit(union: exact.Rows, start: int, stop: int) -> Floats:
    """Rows start … stop at unit length, a copy [stop − start, D]."""
    num_query = len(union.query)
    parts = (
        union.query[start : min(stop, num_query)],
        union.gallery[max(start - num_query, 0) : max(stop - num_query, 0)],
    )
    both = np.concatenate(parts)
    both *= union.inverse[start:stop, None].astype(np.float32)
    return both


def free_memory(device: str) -> int:
    """Bytes free on the device: "cpu", or a GPU."""
    if device == "cpu":
        return machine.free_memory()
    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def budget(memory: str, device: str) -> int:
    """Bytes to stay within: as written, such as 800MB or 6GB, or half of what is free on the device.

    Raises:
        ReidError: the text is no amount of memory.
    """
    if not memory:
        return free_memory(device) // 2
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([kMGT]?)i?B?", memory)
    if not found or not float(found[1]):
        raise ReidError(f"memory {memory!r} is no amount: write it like 800MB or 6GB")
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))


def choose(device: str) -> str:
    """The device meant by "auto": a GPU where there is one."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def rounding(dimension: int) -> float:
    """A bound on the error of a float32 product of unit rows of this length, summed in any order.

    D·2⁻²⁴ (Higham 2002, eq. 3.5), twice for safety, and what bringing to unit length adds.
    """
    return dimension * 2.0**-23 + 2.0**-21


def tensor(values: Floats) -> torch.Tensor:
    """The same memory as a float32 tensor, to be read only and no longer than `values` lives."""
    if values.size == 0:
        return torch.empty(values.shape)
    # torch has no read-only tensors and warns of arrays that are (a mapped file); hence the address.
    memory = (ctypes.c_float * values.size).from_address(values.ctypes.data)
    return torch.frombuffer(memory, dtype=torch.float32).reshape(values.shape)
