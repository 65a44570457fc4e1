"""Attacks on a network's features: images changed by a few grey levels so that their feature turns round.

Opposite-direction feature attack (ODFA): Zheng et al., "U-turn: crafting adversarial queries with
opposite-direction features", IJCV 2022 (arXiv 1809.02681). With f the unit feature, it makes f(x) like
−f(x₀):

    δ ← clip(δ + sign ∂‖f(x) + f(x₀)‖² / ∂x, −r, r)        x ← clip(x₀ − level · δ, black, white)

The gradient of the first step is exactly 0, for f(x₀) and −f(x₀) are the ends of a diameter: what moves there
is rounding. Here the first step goes to a corner that was drawn beforehand, −1 or 1 for each number, so that
equal draws give equal attacks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

LEVEL = 1 / (0.226 * 255)
"""One grey level of 255 in normalised images: the same for R, G and B, as the authors have it."""


class Network(Protocol):
    """What is attacked: `models.embedder.Embedder` is one."""

    def __call__(self, images: Tensor) -> Any: ...

    def modules(self) -> Any: ...

    def unit(self, seen: Any) -> Tensor: ...


def drawn(shape: Sequence[int], *key: int) -> Tensor:
    """A first step: −1 or 1 for each number of a batch, int8 of this shape; equal keys give equal draws."""
    return torch.from_numpy(2 * np.random.default_rng(key).integers(0, 2, shape, np.int8) - 1)


@dataclass(frozen=True)
class Attack:
    """Of how many grey levels at most, and between which bounds."""

    levels: int
    """r."""
    black: Tensor
    """float32 [3], of R, G, B: the least value of a normalised image."""
    white: Tensor
    """Likewise the greatest."""

    @property
    def steps(self) -> int:
        """T, the drawn one included."""
        return round(min(1.25 * self.levels, self.levels + 4))

    def __call__(self, network: Network, images: Tensor, start: Tensor) -> Tensor:
        """Images that look the same and whose features point the other way, float32 [B, 3, H, W].

        The network is looked at in evaluation mode and float32, and is left as it was: its parameters get no
        gradient, its statistics and random generators do not move. Images do not influence each other.

        Args:
            network: images → what `unit` makes rows of length 1 of.
            images: float32 [B, 3, H, W], normalised.
            start: of −1 and 1, [B, 3, H, W]: the first step.
        """
        black, white = (bound.to(images.device).view(1, 3, 1, 1) for bound in (self.black, self.white))
        away = start.to(images.dtype)
        attacked = images
        with _looking(network), torch.autocast(images.device.type, enabled=False):
            with torch.no_grad():
                target = -network.unit(network(images))
            for step in range(self.steps):
                if step:
                    slope = _slope(lambda seen: network.unit(network(seen)), attacked, target)
                    away = (away + slope.sign()).clamp(-self.levels, self.levels)
                attacked = torch.clamp(images - LEVEL * away, black, white)
        return attacked.detach()


def _slope(feature: Callable[[Tensor], Tensor], images: Tensor, target: Tensor) -> Tensor:
    """Of the squared distance between features and their targets, for each number of the images."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        distance = (feature(images) - target).square().sum()
        (slope,) = torch.autograd.grad(distance, images)
    return slope


@contextmanager
def _looking(network: Network) -> Iterator[None]:
    """The network in evaluation mode within the block; each of its modules is then as it was."""
    trained = [module for module in network.modules() if module.training]
    for module in trained:
        module.training = False
    try:
        yield
    finally:
        for module in trained:
            module.training = True
