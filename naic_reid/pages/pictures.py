"""Small pictures inside a page, in so many bytes altogether."""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from naic_reid import machine
from naic_reid.data import images
from naic_reid.data.crops import Part
from naic_reid.errors import ReidError

_STEPS = ((192, 82), (160, 76), (128, 70), (104, 64), (80, 58), (64, 50))  # height, JPEG quality
_AROUND = 6  # bytes of JSON around a key and its picture
_SAMPLE = 48  # pictures from which the step is chosen

Image = Path | Part | NDArray[np.uint8]
"""A file, a part of one, or pixels [h, w, 3]."""


class Thumbnail(NamedTuple):
    """A small JPEG for a page that needs nothing else."""

    source: str
    """A data: address."""
    width: int
    height: int


def thumbnail(image: Image, height: int, *, enlarge: bool = True, quality: int = 95) -> Thumbnail | None:
    """The image at this height; none where it cannot be read. With `enlarge` off, small ones stay small."""
    try:
        if isinstance(image, Path):
            pixels = images.read(image)
        else:
            pixels = image.read() if isinstance(image, Part) else image
    except ReidError:
        return None
    height = height if enlarge else min(height, pixels.shape[0])
    size = (max(1, round(pixels.shape[1] * height / pixels.shape[0])), height)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    content = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )[1].tobytes()
    return Thumbnail(f"data:image/jpeg;base64,{base64.b64encode(content).decode()}", *size)


class Album(NamedTuple):
    """Pictures of a page by key."""

    pictures: dict[str, str]
    """Key → data: address, in the order asked for; fewer than asked where there was no room."""
    missing: int
    """Images that cannot be read, or are not what they were when they were listed."""
    left_out: int
    """Images for which there was no room."""


def album(parts: Mapping[str, Image], most: int, *, largest: int = 192) -> Album:
    """Images as pictures, as large as all of them together may be.

    Args:
        parts: key → image, the most wanted first.
        most: bytes of all pictures as they stand in the page.
        largest: height that is tried, in pixels.
    """
    keys = list(parts)
    sample = keys[:: max(1, len(keys) // _SAMPLE)]
    for height, quality in ((height, quality) for height, quality in _STEPS if height <= largest):
        tried = _made([parts[key] for key in sample], height, quality)
        mean = sum(len(picture or "") for picture in tried) / max(1, len(tried))
        if mean * len(keys) <= 0.92 * most:
            break
    return chosen(dict(zip(keys, _made([parts[key] for key in keys], height, quality), strict=True)), most)


def chosen(made: Mapping[str, str | None], most: int) -> Album:
    """Those for which there is room, in their order.

    Args:
        made: key → data: address; none: it cannot be read.
        most: bytes of all as they stand in the page, as JSON.
    """
    found = Album({}, 0, 0)
    missing = left_out = used = 0
    for key, picture in made.items():
        size = len(picture or "") + len(key) + _AROUND
        if picture is None:
            missing += 1
        elif used + size > most:
            left_out += 1
        else:
            found.pictures[key] = picture
            used += size
    return found._replace(missing=missing, left_out=left_out)


def _made(parts: Sequence[Image], height: int, quality: int) -> list[str | None]:
    def one(part: Image) -> str | None:
        made = thumbnail(part, height, enlarge=False, quality=quality)
        return made.source if made else None

    with ThreadPoolExecutor(machine.processors()) as pool:
        return list(pool.map(one, parts))
