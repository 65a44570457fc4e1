"""Augmentation one pixel at a time, in R, G, B and plain floats."""

import math
from typing import Any

import numpy as np

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def vary(image: Any, flip: bool, down: int, right: int, colour: Any) -> Any:
    """Mirrored, moved over black, recoloured."""
    height, width, _ = image.shape
    varied = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            from_y, from_x = y + down, x + right
            if 0 <= from_y < height and 0 <= from_x < width:
                varied[y, x] = image[from_y, width - 1 - from_x if flip else from_x]
    return varied if colour is None else recolour(varied, *colour)


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
