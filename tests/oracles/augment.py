"""Augmentation one pixel at a time, in R, G, B and plain floats."""

import math
from typing import Any

import numpy as np

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def vary(image: Any, flip: bool, down: int, right: int, colour: Any, pad: int) -> Any:
    """Mirrored and recoloured; then a black border of `pad`, and of that a crop, off the middle."""
    height, width, _ = image.shape
    mirrored = np.empty((height, width, 3))
    for y in range(height):
        for x in range(width):
            mirrored[y, x] = image[y, width - 1 - x if flip else x]
    if colour is not None:
        mirrored = recolour(mirrored, *colour)
    padded = np.zeros((height + 2 * pad, width + 2 * pad, 3))
    padded[pad : pad + height, pad : pad + width] = mirrored
    return padded[pad + down : pad + down + height, pad + right : pad + right + width]


def stretched(image: Any, top: int, rows: int) -> Any:
    """Rows top … top + rows − 1 of the image, at its whole height: bilinear, pixels being little squares."""
    height = len(image)
    out = np.empty(image.shape)
    for y in range(height):
        place = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
        above = int(place)
        below = min(above + 1, rows - 1)
        out[y] = (1 - place + above) * image[top + above] + (place - above) * image[top + below]
    return out


def part_stretched(image: Any, top: int, left: int, rows: int, columns: int) -> Any:
    """A part of the image at its whole size: rows first, then columns."""
    tall = stretched(image, top, rows)
    return stretched(tall.transpose(1, 0, 2), left, columns).transpose(1, 0, 2)


def recolour(image: Any, brightness: float, contrast: float, saturation: float, hue: float) -> Any:
    """Brightness, contrast, saturation, hue: one after the other, each by its definition."""
    image = image * brightness
    mean = np.mean([_luma(p) for p in image.reshape(-1, 3)])
    image = contrast * image + (1 - contrast) * mean
    out = np.empty_like(image)
    for place in np.ndindex(*image.shape[:2]):
        pixel = image[place]
        pixel = saturation * pixel + (1 - saturation) * _luma(pixel)
        y = _luma(pixel)
        red, blue = pixel[0] - y, pixel[2] - y
        i, q = 0.74 * red - 0.27 * blue, 0.48 * red + 0.41 * blue
        angle = 2 * math.pi * hue
        i, q = math.cos(angle) * i - math.sin(angle) * q, math.sin(angle) * i + math.cos(angle) * q
        determinant = 0.74 * 0.41 + 0.27 * 0.48
        red, blue = (0.41 * i + 0.27 * q) / determinant, (0.74 * q - 0.48 * i) / determinant
        green = -(0.299 * red + 0.114 * blue) / 0.587
        out[place] = y + red, y + green, y + blue
    return np.clip(np.rint(out), 0, 255)


def finish(image: Any, top: int, left: int, tall: int, wide: int) -> Any:
    """Normalised [3, H, W], the rectangle filled with MEAN itself."""
    height, width, _ = image.shape
    out = np.empty((3, height, width))
    for y in range(height):
        for x in range(width):
            erased = top <= y < top + tall and left <= x < left + wide
            for c in range(3):
                out[c, y, x] = MEAN[c] if erased else (image[y, x, c] / 255 - MEAN[c]) / STD[c]
    return out


def _luma(pixel: Any) -> float:
    return float(0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2])
