"""Partial persons from the definitions: spread taps and padding, one position at a time."""

import math
from typing import Any

import numpy as np


def bilinear(maps: Any, kernel: Any, down: float, right: float, stride: int) -> Any:
    """One output channel [h, w] of maps [C, H, W] and a kernel [C, k, k] whose taps lie so far apart."""
    channels, height, width = maps.shape
    centre = kernel.shape[1] // 2
    out = np.zeros((-(-height // stride), -(-width // stride)))
    for y, x in np.ndindex(*out.shape):
        for c in range(channels):
            for i in range(-centre, centre + 1):
                for j in range(-centre, centre + 1):
                    value = _between(maps[c], stride * y + down * i, stride * x + right * j)
                    out[y, x] += kernel[c, centre + i, centre + j] * value
    return out


def _between(plane: Any, y: float, x: float) -> float:
    """Bilinear, 0 outside."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column]
    return total


def ratio_loss(whole: float, part: float, change: float, form: str) -> float:
    """What predicted ratios of an image and of its crop cost, by the formulas; without the anchor."""
    if form == "direct":
        return (math.log(part) - math.log(change)) ** 2
    quotient = part / change / whole
    return (quotient - 1) ** 2 if form == "relative" else math.log(quotient) ** 2


def upper_part(plane: Any, kept: float) -> Any:
    """[H, W] whose upper share was stretched to the whole: rows between the centres of rows."""
    height = len(plane)
    out = np.zeros(plane.shape)
    for row in range(height):
        place = min(max((row + 0.5) * kept - 0.5, 0.0), height - 1.0)
        below = min(math.floor(place), height - 2)
        out[row] = (1 - place + below) * plane[below] + (place - below) * plane[below + 1]
    return out
