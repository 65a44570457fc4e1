"""Many images, each read once: hashes, means and faults in the order asked for."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from naic_reid.data.images import Look, look

_CHUNK = 64  # images handed to a worker in one go


def looks(paths: Sequence[Path], *, with_pixels: bool = True, workers: int = 1) -> Iterator[Look]:
    """What one reading of each file tells, in the order of `paths`.

    Workers are threads: reading, hashing and decoding let go of the interpreter.
    """

    def some(start: int) -> list[Look]:
        return [look(path, with_pixels=with_pixels) for path in paths[start : start + _CHUNK]]

    starts = range(0, len(paths), _CHUNK)
    if workers <= 1:
        for start in starts:
            yield from some(start)
        return
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[list[Look]]] = deque()
        for start in starts:
            pending.append(pool.submit(some, start))
            if len(pending) > 4 * workers:  # a few ahead, so that memory does not grow with N
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
