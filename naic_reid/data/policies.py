"""Published mixtures of image operations, made of torchvision's.

torchvision draws from PyTorch's one generator, which threads share; here each image's draws come from
a generator of its own. To add one: a function here, a line in the dict, a literal in `config/training.py`.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.errors import extra

Pixels = NDArray[np.uint8]

_LEVELS = 10  # of each operation's strength
_SEVERITY = 3
_CHAINS = 3
_LONGEST_CHAIN = 3


def autoaugment(image: Pixels, rng: np.random.Generator) -> Pixels:
    """One of the 25 ImageNet policies of AutoAugment (Cubuk et al. 2019, table 9) on uint8 [H, W, 3]."""
    table, operations = _policies(), _operations(image.shape[0], image.shape[1])
    tensor = _tensor(image)
    for name, probability, level in table[int(rng.integers(len(table)))]:
        chance, sign = rng.random(), 1 - 2 * int(rng.integers(2))
        if chance <= probability:
            tensor = _applied(tensor, operations[name], level or 0, sign)
    return _pixels(tensor)


def augmix(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Chains of one to three operations, mixed with each other and the image (Hendrycks et al. 2020).

    Severity 3 of 10 and Beta(1, 1), as in the paper; operations that overlap with the usual tests are
    left out, as there.
    """
    operations = _operations(image.shape[0], image.shape[1])
    names = [
        name for name in operations if name not in ("Brightness", "Color", "Contrast", "Sharpness", "Invert")
    ]
    weights = rng.dirichlet(np.ones(_CHAINS))
    kept = rng.beta(1, 1)
    mixed = kept * image.astype(np.float64)
    for weight in weights:
        tensor = _tensor(image)
        for _ in range(int(rng.integers(1, _LONGEST_CHAIN + 1))):
            name = names[int(rng.integers(len(names)))]
            level, sign = int(rng.integers(_SEVERITY)), 1 - 2 * int(rng.integers(2))
            tensor = _applied(tensor, operations[name], level, sign)
        mixed += (1 - kept) * weight * _pixels(tensor)
    return np.rint(mixed).astype(np.uint8)


POLICIES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "autoaugment": autoaugment,
    "augmix": augmix,
}


class _Operation(NamedTuple):
    """What changes an image, uint8 [3, H, W], by a strength."""

    strengths: torch.Tensor
    """By level, or one for all."""
    signed: bool
    """The strength is as often below 0."""
    change: Callable[[torch.Tensor, float], torch.Tensor]


@cache
def _policies() -> list[Any]:
    """AutoAugment's 25 pairs of (operation, probability, level)."""
    with extra("recipes", "augment: autoaugment and augmix"):  # a second to import, and few recipes need it
        from torchvision.transforms import AutoAugment

    found: list[Any] = AutoAugment().policies
    return found


@cache
def _operations(height: int, width: int) -> dict[str, _Operation]:
    """AutoAugment's operations and their strengths at ten levels, for images of a size.

    Source: Cubuk et al. 2019, table 6, with moves in shares of the image; nearest pixels, black beyond it.
    """
    with extra("recipes", "augment: autoaugment and augmix"):
        from torchvision.transforms import functional as F

    def sheared(image: torch.Tensor, x: float, y: float) -> Any:
        angles = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
        return F.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=angles, center=[0, 0])

    def moved(image: torch.Tensor, x: float, y: float) -> Any:
        return F.affine(image, angle=0.0, translate=[int(x), int(y)], scale=1.0, shear=[0.0, 0.0])

    def up_to(most: float) -> torch.Tensor:
        return torch.linspace(0.0, most, _LEVELS)

    bits = 8 - (torch.arange(_LEVELS) / ((_LEVELS - 1) / 4)).round().int()
    none, share = torch.tensor(0.0), 150.0 / 331.0
    return {
        "ShearX": _Operation(up_to(0.3), True, lambda image, by: sheared(image, by, 0.0)),
        "ShearY": _Operation(up_to(0.3), True, lambda image, by: sheared(image, 0.0, by)),
        "TranslateX": _Operation(up_to(share * width), True, lambda image, by: moved(image, by, 0.0)),
        "TranslateY": _Operation(up_to(share * height), True, lambda image, by: moved(image, 0.0, by)),
        "Rotate": _Operation(up_to(30.0), True, F.rotate),
        "Brightness": _Operation(up_to(0.9), True, lambda image, by: F.adjust_brightness(image, 1 + by)),
        "Color": _Operation(up_to(0.9), True, lambda image, by: F.adjust_saturation(image, 1 + by)),
        "Contrast": _Operation(up_to(0.9), True, lambda image, by: F.adjust_contrast(image, 1 + by)),
        "Sharpness": _Operation(up_to(0.9), True, lambda image, by: F.adjust_sharpness(image, 1 + by)),
        "Posterize": _Operation(bits, False, lambda image, by: F.posterize(image, int(by))),
        "Solarize": _Operation(torch.linspace(255.0, 0.0, _LEVELS), False, F.solarize),
        "AutoContrast": _Operation(none, False, lambda image, _: F.autocontrast(image)),
        "Equalize": _Operation(none, False, lambda image, _: F.equalize(image)),
        "Invert": _Operation(none, False, lambda image, _: F.invert(image)),
    }


def _applied(tensor: torch.Tensor, operation: _Operation, level: int, sign: int) -> torch.Tensor:
    strengths, signed, change = operation
    strength = float(strengths[level]) if strengths.ndim else 0.0
    return change(tensor, sign * strength if signed else strength)


def _tensor(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _pixels(tensor: torch.Tensor) -> Pixels:
    return np.ascontiguousarray(tensor.numpy().transpose(1, 2, 0))
