"""Pictures by the batch, in the order given, on the network's input: what features are taken of.

At most three batches are in memory, however long the list is.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from naic_reid.data.geometry import Geometry
from naic_reid.data.read_ahead import in_order
from naic_reid.errors import ReidError

_AHEAD = 2  # batches that are read while the reader is busy with one
_Source = TypeVar("_Source")


class Batch(NamedTuple):
    """The pictures of B consecutive sources, without those that could not be read."""

    pixels: Tensor
    """uint8 [≤ B, H, W, 3]; in pinned memory where that was asked for."""
    frames: Tensor | None
    """int64 [≤ B, 4], where each picture lies (`geometry.Frame`); None: all fill their input."""
    rows: list[int]
    """Which source each picture is of."""
    faults: list[tuple[int, ReidError]]
    """Sources without a picture, and why."""


def batches(
    sources: Sequence[_Source],
    read: Callable[[_Source], NDArray[np.uint8]],
    geometry: Geometry,
    batch: int,
    *,
    workers: int,
    pinned: bool = False,
) -> Iterator[Batch]:
    """All sources, `batch` at a time.

    Args:
        sources: paths, or whatever `read` makes a picture uint8 [h, w, 3] of; it may raise `ReidError`.
        read: called by several threads at once.
        geometry: of the network's input.
        batch: sources in a batch; the last has what is left.
        workers: threads.
        pinned: put the pixels where a GPU copies from without making the host wait.
    """
    shape = (geometry.height, geometry.width, 3)
    begin = torch.empty if geometry.stretches else torch.zeros

    def put(place: NDArray[np.uint8], at: NDArray[np.int64] | None, source: _Source) -> ReidError | None:
        try:
            picture = read(source)
        except ReidError as error:
            return error
        fitted = geometry.fitted(picture)
        if at is None:
            place[:] = fitted
        else:
            at[:] = top, left, height, width = geometry.frame(*picture.shape[:2])
            place[top : top + height, left : left + width] = fitted
        return None

    begun: deque[tuple[Tensor, Tensor | None]] = deque()

    def placed() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64] | None, _Source]]:
        for start in range(0, len(sources), batch):
            some = sources[start : start + batch]
            pixels = begin((len(some), *shape), dtype=torch.uint8, pin_memory=pinned)
            frames = None
            if not geometry.stretches:
                frames = torch.zeros(len(some), 4, dtype=torch.int64, pin_memory=pinned)
            begun.append((pixels, frames))
            places = [None] * len(some) if frames is None else list(frames.numpy())
            yield from zip(pixels.numpy(), places, some, strict=True)

    with closing(in_order(lambda each: put(*each), placed(), max(1, workers), _AHEAD * batch)) as faults:
        for start in range(0, len(sources), batch):
            found = list(islice(faults, batch))
            yield _finished(start, *begun.popleft(), found)


def require(picture: NDArray[np.uint8], what: str) -> None:
    """Refuse what is no picture uint8 [h, w, 3]; `what` is what the error calls it."""
    shape: tuple[int, ...] = getattr(picture, "shape", ())
    dtype = getattr(picture, "dtype", type(picture))
    if len(shape) != 3 or shape[2] != 3 or not shape[0] or not shape[1] or dtype != np.uint8:
        raise ReidError(f"{what}: must be uint8 [h, w, 3] in R, G, B, not {dtype} {list(shape)}")


def cut(frame: NDArray[np.uint8], xyxy: NDArray[np.generic]) -> list[NDArray[np.uint8]]:
    """The parts of a picture within boxes [N, 4]: left, top, right, bottom in pixels.

    Right and bottom lie outside. Boxes end at the frame's edges; a pixel covered in part is in.

    Raises:
        ReidError: not [N, 4]; or a box is not finite, or empty within the frame.
    """
    if xyxy.size and (xyxy.ndim != 2 or xyxy.shape[1] != 4):
        raise ReidError(f"boxes: must be [N, 4]: left, top, right, bottom, not {list(xyxy.shape)}")
    height, width = frame.shape[:2]
    parts = []
    for number, box in enumerate(xyxy.reshape(-1, 4).astype(np.float64)):
        if not np.isfinite(box).all():
            raise ReidError(f"box {number}: {box.tolist()} is not finite")
        corners = np.array([*np.floor(box[:2]), *np.ceil(box[2:])])
        left, top, right, bottom = np.clip(corners, 0, [width, height] * 2).astype(int).tolist()
        if right <= left or bottom <= top:
            size = f"{width} × {height}"
            raise ReidError(f"box {number}: {box.tolist()} covers nothing of a frame of {size} pixels")
        parts.append(frame[top:bottom, left:right])
    return parts


def _finished(start: int, pixels: Tensor, frames: Tensor | None, found: list[ReidError | None]) -> Batch:
    faults = [(start + at, error) for at, error in enumerate(found) if error is not None]
    good = [at for at, error in enumerate(found) if error is None]
    if faults:
        pixels, frames = pixels[good], None if frames is None else frames[good]
    return Batch(pixels, frames, [start + at for at in good], faults)
