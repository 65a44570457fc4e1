"""Work spread over threads; what is called releases the interpreter lock (compiled kernels, BLAS)."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


Watch = Callable[[Iterator[None], int], Iterable[None]]
"""Passes on the steps of long work, of which there are so many; may show how far they have come."""


def unwatched(steps: Iterator[None], _total: int) -> Iterable[None]:
    """The steps themselves."""
    return steps


def num_threads(threads: int) -> int:
    """The asked number of threads; 0 means the processors this process may use."""
    return threads or len(os.sched_getaffinity(0))


def each(function: Callable[[_Job], _Result], jobs: Iterable[_Job], threads: int) -> list[_Result]:
    """`function` of every job, in the order of the jobs, on so many threads (0: all processors)."""
    with ThreadPoolExecutor(num_threads(threads)) as pool:
        return list(pool.map(function, jobs))


def spans(num: int, length: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive pieces of 0 … num, none longer than `length`."""
    return [(start, min(start + length, num)) for start in range(0, num, length)]
