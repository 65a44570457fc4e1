"""Stripes with dynamic weights, as loops over stripes and numbers."""

import math
from collections.abc import Sequence

Numbers = Sequence[float]


def distance(
    one: tuple[Numbers, Sequence[Numbers], Numbers],
    other: tuple[Numbers, Sequence[Numbers], Numbers],
    stripes_weight: float,
) -> float:
    """(whole + weight · local) / (1 + weight) of squared distances; an image is whole, stripes, gates.

    The local distance is 2 − 2 times the mean of the stripes' cosines, each weighted by both gates.
    """
    whole = 2 - 2 * _cosine(one[0], other[0])
    weighted = sum(
        a * b * _cosine(p, q) for p, q, a, b in zip(one[1], other[1], one[2], other[2], strict=True)
    )
    local = 2 - 2 * weighted / (math.hypot(*one[2]) * math.hypot(*other[2]))
    return (whole + stripes_weight * local) / (1 + stripes_weight)


def means(activations: Sequence[Sequence[Sequence[float]]], count: int) -> list[list[float]]:
    """Of [D, H, W] the mean of each stripe, [P, D]; stripes are those of adaptive average pooling."""
    height = len(activations[0])
    found = []
    for i in range(count):
        rows = [y for y in range(height) if y + 1 > i * height / count and y < (i + 1) * height / count]
        found.append(
            [sum(sum(channel[y]) for y in rows) / (len(rows) * len(channel[0])) for channel in activations]
        )
    return found


def loss(
    local: Sequence[Sequence[Numbers]], gates: Sequence[Numbers], labels: Sequence[int],
    each: Sequence[Sequence[Numbers]], together: Sequence[Numbers],
) -> float:  # fmt: skip
    """.5 · mean over stripes of cross-entropy + .5 · that of the weighted stripes side by side."""
    total = 0.0
    for stripes, weights, label in zip(local, gates, labels, strict=True):
        alone = [_cross_entropy(stripe, rows, label) for stripe, rows in zip(stripes, each, strict=True)]
        side_by_side = [w * x for stripe, w in zip(stripes, weights, strict=True) for x in stripe]
        total += 0.5 * sum(alone) / len(alone) + 0.5 * _cross_entropy(side_by_side, together, label)
    return total / len(labels)


def _cross_entropy(feature: Numbers, rows: Sequence[Numbers], label: int) -> float:
    logits = [sum(x * y for x, y in zip(feature, row, strict=True)) for row in rows]
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


def _cosine(a: Numbers, b: Numbers) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
