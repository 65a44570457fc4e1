"""Published mixtures of image operations, with torchvision's operations and tables.

torchvision draws from PyTorch's one generator, which threads share; here each image's draws come from
a generator of its own. To add one: a function here, a line in the dict, a literal in `config/training.py`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.errors import extra

Pixels = NDArray[np.uint8]

_SEVERITY = 3
_CHAINS = 3
_LONGEST_CHAIN = 3


def autoaugment(image: Pixels, rng: np.random.Generator) -> Pixels:
    """One of the 25 ImageNet policies of AutoAugment (Cubuk et al. 2019, table 9) on uint8 [H, W, 3]."""
    table, space = _tables(image.shape[0], image.shape[1], 10)
    tensor = _tensor(image)
    for operation, probability, level in table[int(rng.integers(len(table)))]:
        chance, sign = rng.random(), 1 - 2 * int(rng.integers(2))
        if chance <= probability:
            tensor = _applied(tensor, operation, space, 0 if level is None else level, sign)
    return _pixels(tensor)


def augmix(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Chains of one to three operations, mixed with each other and the image (Hendrycks et al. 2020).

    Severity 3 of 10 and Beta(1, 1), as in the paper; operations that overlap with the usual tests are
    left out, as there.
    """
    _, space = _tables(image.shape[0], image.shape[1], 10)
    names = [name for name in space if name not in ("Brightness", "Color", "Contrast", "Sharpness", "Invert")]
    weights = rng.dirichlet(np.ones(_CHAINS))
    kept = rng.beta(1, 1)
    mixed = kept * image.astype(np.float64)
    for weight in weights:
        tensor = _tensor(image)
        for _ in range(int(rng.integers(1, _LONGEST_CHAIN + 1))):
            name = names[int(rng.integers(len(names)))]
            level, sign = int(rng.integers(_SEVERITY)), 1 - 2 * int(rng.integers(2))
            tensor = _applied(tensor, name, space, level, sign)
        mixed += (1 - kept) * weight * _pixels(tensor)
    return np.rint(mixed).astype(np.uint8)


POLICIES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "autoaugment": autoaugment,
    "augmix": augmix,
}


@cache
def _torchvision() -> Any:
    # Here, for importing torchvision takes a second and few recipes need it.
    with extra("recipes", "augment: autoaugment and augmix"):
        from torchvision.transforms import autoaugment

    return autoaugment


@cache
def _tables(height: int, width: int, levels: int) -> tuple[list[Any], dict[str, tuple[torch.Tensor, bool]]]:
    """AutoAugment's policies, and each operation's strengths by level and whether they have a sign."""
    source = _torchvision().AutoAugment()
    return source.policies, source._augmentation_space(levels, (height, width))


def _applied(
    tensor: torch.Tensor, name: str, space: dict[str, tuple[torch.Tensor, bool]], level: int, sign: int
) -> torch.Tensor:
    strengths, signed = space[name]
    strength = float(strengths[level]) if strengths.ndim else 0.0
    module = _torchvision()
    done: torch.Tensor = module._apply_op(
        tensor, name, sign * strength if signed else strength, module.InterpolationMode.NEAREST, None
    )
    return done


def _tensor(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _pixels(tensor: torch.Tensor) -> Pixels:
    return np.ascontiguousarray(tensor.numpy().transpose(1, 2, 0))
