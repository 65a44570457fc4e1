"""Images are read by threads, ahead of who uses them.

Reading, decoding and resizing release the interpreter's lock; how many threads there are changes nothing but
the speed.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_order(
    work: Callable[[_In], _Out], items: Iterable[_In], workers: int, ahead: int
) -> Generator[_Out, None, None]:
    """`work` of each item, in the order of the items, done by so many threads.

    Items are taken in the reader's own thread, at most `ahead` more than it has come to.
    """
    cv2.setNumThreads(1)  # these threads are the parallel ones; each of OpenCV's calls would start more
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
