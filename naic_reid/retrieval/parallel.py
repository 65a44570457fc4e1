"""Work spread over threads; what is called releases the interpreter lock (compiled kernels, BLAS)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from naic_reid import machine

_Result = TypeVar("_Result")

Watch = Callable[[Iterator[Any], int], Iterable[Any]]
"""Passes on the steps of long work, of which there are so many; may show how far they have come."""


def unwatched(steps: Iterator[Any], _total: int) -> Iterable[Any]:
    """The steps themselves."""
    return steps


def num_threads(threads: int) -> int:
    """The asked number of threads; 0 means the processors this process may use."""
    return threads or machine.processors()


def pieces(
    function: Callable[..., _Result], shared: Sequence[Any], of: tuple[int, int], length: int, threads: int
) -> list[_Result]:
    """All results of `function(*shared, start, stop)` for consecutive pieces of a range, in order."""
    parts = [(of[0] + start, of[0] + stop) for start, stop in spans(of[1] - of[0], length)]
    with ThreadPoolExecutor(num_threads(threads)) as pool:
        return list(pool.map(lambda part: function(*shared, *part), parts))


def spans(num: int, length: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive pieces of 0 … num, none longer than `length`."""
    return [(start, min(start + length, num)) for start in range(0, num, length)]
