"""The learning rate's factor: a product of pure functions of the epoch, which counts from 0."""

import math
from collections.abc import Sequence


def warmup(epoch: float, epochs: int, factor: float) -> float:
    """A linear rise: factor · (1 − e / epochs) + e / epochs for e < epochs, then 1.

    Source: the original's `WarmupMultiStepLR`, whose counter is the epoch and not the step.
    """
    return 1.0 if epoch >= epochs else factor * (1 - epoch / epochs) + epoch / epochs


def multistep(epoch: float, milestones: Sequence[int], gamma: float) -> float:
    """1, times gamma for each milestone reached."""
    return gamma ** sum(epoch >= milestone for milestone in milestones)


def cosine(epoch: float, begin: int, end: int, floor: float = 0.0) -> float:
    """1 up to epoch `begin`, then half a cosine to `floor` at `end` (Loshchilov & Hutter 2017, eq. 5)."""
    share = (epoch - begin) / max(1, end - begin)
    return floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, max(0.0, share)))) / 2
