"""Visible regions (VPM) as loops over rows, regions and pairs."""

import math
from collections.abc import Sequence
from fractions import Fraction

Numbers = Sequence[float]
Image = tuple[Sequence[Numbers], Numbers]
"""Of each region a feature, and its mass."""


def labels(top: Fraction, kept: Fraction, height: int, count: int) -> tuple[list[int], set[int]]:
    """Which region (from 0) each row shows, and the visible ones: those of a row that is no end."""
    ends = [round((Fraction(height * i, count) - height * top) / kept) for i in range(1, count + 1)]
    rows = [sum(end < row for end in ends) for row in range(1, height + 1)]
    return rows, set(rows[1:-1])


def distance(one: Image, other: Image) -> float:
    """Σ C_i C'_i ‖f_i − f'_i‖² / Σ C_i C'_i of features at length 1."""
    common = [a * b for a, b in zip(one[1], other[1], strict=True)]
    squares = [_apart(f, g) ** 2 for f, g in zip(one[0], other[0], strict=True)]
    return sum(c * d for c, d in zip(common, squares, strict=True)) / sum(common)


def triplet(images: Sequence[Image], labels: Sequence[int], margin: float) -> float:
    """Batch-hard on Σ_i w_i ‖f_i − f'_i‖, w_i = C_i C'_i / Σ_j C_j C'_j; mean over anchors."""
    total = 0.0
    for anchor, label in zip(images, labels, strict=True):
        far = {True: [0.0], False: [math.inf]}
        for other, theirs in zip(images, labels, strict=True):
            common = [a * b for a, b in zip(anchor[1], other[1], strict=True)]
            apart = [_apart(f, g) for f, g in zip(anchor[0], other[0], strict=True)]
            mean = sum(c * d for c, d in zip(common, apart, strict=True)) / sum(common)
            far[label == theirs].append(mean)
        total += max(0.0, max(far[True]) - min(far[False]) + margin)
    return total / len(images)


def identity(
    logits: Sequence[Sequence[Numbers]], persons: Sequence[int], visible: Sequence[set[int]]
) -> float:
    """Σ over regions of the mean cross-entropy of those who show it; logits by region, image, class."""
    total = 0.0
    for region, of_images in enumerate(logits):
        shown = [n for n, seen in enumerate(visible) if region in seen]
        each = [math.log(sum(map(math.exp, of_images[n]))) - of_images[n][persons[n]] for n in shown]
        total += sum(each) / len(each) if each else 0.0
    return total


def _apart(f: Numbers, g: Numbers) -> float:
    return math.dist([x / math.hypot(*f) for x in f], [x / math.hypot(*g) for x in g])
