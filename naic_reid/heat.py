"""Where a network looks: the strength of its last map over a picture, and the two in one image.

The map is what the branches pool, as it stands for the picture without mirroring: at each place the length of
the activations over all channels (Zagoruyko and Komodakis 2017, eq. 2 with p = 2). It needs neither labels
nor gradients, and tells where activations are strong, not why two pictures match.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor


def heat(extractor: Extractor, picture: NDArray[np.uint8]) -> Floats:
    """How strongly each part of a picture is seen.

    Args:
        extractor: any; of a network with several last maps (MGN) the mean of theirs.
        picture: uint8 [h, w, 3], RGB, of any size.

    Returns:
        float32 [h', w'], at least 0, the map's own size, of the part of the input that the picture covers.

    Raises:
        ReidError: the array is no such picture.
    """
    seen: list[Any] = []
    watched = extractor.network.backbone.register_forward_hook(lambda _module, _args, out: seen.append(out))
    try:
        with torch.compiler.set_stance("force_eager"):  # a compiled network calls no hooks
            extractor.images([picture], batch=1)
    finally:
        watched.remove()
    aspect = extractor.geometry.height / extractor.geometry.width
    maps = [_on_a_grid(each, aspect) for each in extractor.network.maps(seen[0])]
    lengths = [each[0].float().norm(dim=0) for each in maps]
    first, *others = lengths
    for other in others:
        first = first + nn.functional.interpolate(other[None, None], first.shape, mode="bilinear")[0, 0]
    found: Floats = (first / len(lengths)).cpu().numpy()
    if extractor.geometry.policy == "crop":
        return found
    frame = extractor.geometry.frame(*picture.shape[:2])
    rows = _covered(frame.top, frame.height, found.shape[0] / extractor.geometry.height)
    columns = _covered(frame.left, frame.width, found.shape[1] / extractor.geometry.width)
    return found[rows, columns]


def _covered(start: int, length: int, scale: float) -> slice:
    """What so many pixels are on a map of this scale, at least one place of it."""
    first = int(scale * start)
    return slice(first, max(first + 1, round(scale * (start + length))))


def _on_a_grid(made: Tensor, aspect: float) -> Tensor:
    """A map as it is; tokens [1, C, T, 1] of an input `aspect` times as high as wide as [1, C, h, w]."""
    num = made.shape[2]
    if made.shape[3] > 1 or num < 3:
        return made
    height = min((h for h in range(1, num + 1) if num % h == 0), key=lambda h: abs(h * h / num - aspect))
    return made.reshape(1, made.shape[1], height, num // height)


class Peak(NamedTuple):
    """Where a heat map is strongest."""

    row: int
    column: int
    """Of the map, both from 0; of equal ones the first in reading order."""
    top: int
    left: int
    bottom: int
    right: int
    """The pixels of the picture that this place of the map covers; bottom and right are outside."""


def peak(strengths: Floats, height: int, width: int) -> Peak:
    """The strongest place of a map, and what it covers of a picture of this height and width in pixels.

    Args:
        strengths: float32 [h', w'], as `heat` gives them.
        height: of the picture.
        width: of the picture.
    """
    rows, columns = strengths.shape
    row, column = divmod(int(strengths.argmax()), columns)
    edges = (row * height / rows, column * width / columns,
             (row + 1) * height / rows, (column + 1) * width / columns)  # fmt: skip
    return Peak(row, column, *map(round, edges))


def framed(picture: NDArray[np.uint8], place: Peak) -> NDArray[np.uint8]:
    """The picture, uint8 [h, w, 3], with a white frame around the place, dark on both sides of the line."""
    drawn = np.ascontiguousarray(picture).copy()
    corners = (place.left, place.top), (place.right - 1, place.bottom - 1)
    cv2.rectangle(drawn, *corners, (0, 0, 0), 5)
    cv2.rectangle(drawn, *corners, (255, 255, 255), 2)
    return drawn


def overlay(
    picture: NDArray[np.uint8], strengths: Floats, limits: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """The picture under its heat, half and half.

    Args:
        picture: uint8 [h, w, 3], RGB.
        strengths: see `coloured`.
        limits: see `coloured`.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        ReidError: a strength is not finite.
    """
    colours = coloured(strengths, picture.shape[:2], limits)
    mixed: NDArray[np.uint8] = np.rint((picture.astype(np.float32) + colours) / 2).astype(np.uint8)
    return mixed


def coloured(
    strengths: Floats, size: tuple[int, ...], limits: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """The heat alone, in the colours of viridis: dark is weak, yellow is strong.

    Args:
        strengths: float32 [h', w'], brought to the size bilinearly.
        size: height and width in pixels.
        limits: what is darkest and what is brightest; None: the map's own least and greatest.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        ReidError: a strength is not finite.
    """
    if not np.isfinite(strengths).all():
        raise ReidError("the network's last map is not finite: its weights are damaged, or fp16 overflowed")
    least, most = limits or (float(strengths.min()), float(strengths.max()))
    share = np.clip((strengths - least) / max(most - least, 1e-12), 0, 1)
    wide = cv2.resize(share.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    blue_first = cv2.applyColorMap(np.rint(255 * wide).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    colours: NDArray[np.uint8] = blue_first[..., ::-1]
    return colours
