"""Products by several threads, each with one torch thread."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from naic_reid.retrieval import parallel

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def each(function: Callable[[_Job], _Result], jobs: Iterable[_Job], threads: int) -> Iterator[_Result]:
    """`function` of every job, in the order of the jobs, by so many threads with one torch thread each.

    One product a thread, and whatever is done to its result in the same thread, keeps processors busier
    than all threads at one product. Afterwards torch has as many threads as before.
    """
    before = torch.get_num_threads()
    try:
        num = parallel.num_threads(threads)
        with ThreadPoolExecutor(num, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, jobs)
    finally:
        torch.set_num_threads(before)
