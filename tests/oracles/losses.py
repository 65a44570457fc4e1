"""The losses as their papers write them: loops over rows in plain Python floats."""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

Rows = Sequence[Sequence[float]]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b))


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def arcface(features: Rows, classes: Rows, labels: Sequence[int], scale: float, margin: float) -> float:
    def target(c: float) -> float:
        angle = math.acos(max(-1.0, min(1.0, c)))
        return math.cos(angle + margin) if angle + margin < math.pi else c - margin * math.sin(margin)

    return _angular(features, classes, labels, scale, target, lambda c: c)


def arcface_fastreid(
    features: Rows, classes: Rows, labels: Sequence[int], scale: float, margin: float
) -> float:
    return _angular(features, classes, labels, scale, lambda c: math.cos(math.acos(c) + margin), lambda c: c)


def cosface(features: Rows, classes: Rows, labels: Sequence[int], scale: float, margin: float) -> float:
    return _angular(features, classes, labels, scale, lambda c: c - margin, lambda c: c)


def circle(
    features: Rows,
    classes: Rows,
    labels: Sequence[int],
    scale: float,
    margin: float,
    smoothing: float,
    fixed: Rows | None = None,
) -> float:
    """The weights are those at `fixed` (else at the features), which a gradient does not go through.

    Smoothing is spread over the other classes.
    """
    losses = []
    for feature, still, label in zip(features, fixed or features, labels, strict=True):
        logits = []
        for index, row in enumerate(classes):
            c, f = cosine(feature, row), cosine(still, row)
            target = max(0.0, 1 + margin - f) * (c - (1 - margin))
            logits.append(scale * (target if index == label else max(0.0, f + margin) * (c - margin)))
        others = smoothing / (len(classes) - 1)
        shares = _log_softmax(logits)
        losses.append(-sum((1 - smoothing if i == label else others) * s for i, s in enumerate(shares)))
    return sum(losses) / len(losses)


def linear(features: Rows, classes: Rows, labels: Sequence[int], smoothing: float) -> float:
    """Smoothing spread over all classes, mean over rows."""
    losses = []
    for feature, label in zip(features, labels, strict=True):
        shares = _log_softmax([_dot(feature, row) for row in classes])
        even = smoothing / len(classes)
        targets = [even + (1 - smoothing if index == label else 0) for index in range(len(classes))]
        losses.append(-sum(t * s for t, s in zip(targets, shares, strict=True)))
    return sum(losses) / len(losses)


def linear_fastreid(features: Rows, classes: Rows, labels: Sequence[int], smoothing: float) -> float:
    """Smoothing spread over the other classes, sum divided by the count of losses that are not 0."""
    losses = []
    for feature, label in zip(features, labels, strict=True):
        shares = _log_softmax([_dot(feature, row) for row in classes])
        others = smoothing / (len(classes) - 1)
        targets = [1 - smoothing if index == label else others for index in range(len(classes))]
        losses.append(-sum(t * s for t, s in zip(targets, shares, strict=True)))
    return sum(losses) / max(1, sum(loss != 0 for loss in losses))


def weighted_triplet(rows: Rows, labels: Sequence[int], margin: float | None) -> float:
    losses = []
    for anchor, label in zip(rows, labels, strict=True):
        own = [distance(anchor, row) for row, other in zip(rows, labels, strict=True) if other == label]
        rest = [distance(anchor, row) for row, other in zip(rows, labels, strict=True) if other != label]
        if rest:
            losses.append(_violation(_weighted(own, 1), _weighted(rest, -1), margin))
        else:
            losses.append(0.0)
    return sum(losses) / len(losses)


def weighted_triplet_fastreid(rows: Rows, labels: Sequence[int], margin: float | None) -> float:
    """FastReID's dialect: an absolute 1e-6 under the weights, and negatives weighed from 0."""
    losses = []
    for anchor, label in zip(rows, labels, strict=True):
        pairs = [(distance(anchor, row), other == label) for row, other in zip(rows, labels, strict=True)]
        top = max(d for d, same in pairs if same)
        means = []
        for sign, of in ((1, True), (-1, False)):
            weights = [math.exp(sign * d - (top if of else 0)) for d, same in pairs if same == of]
            chosen = [d for d, same in pairs if same == of]
            means.append(sum(w * d for w, d in zip(weights, chosen, strict=True)) / (sum(weights) + 1e-6))
        losses.append(_violation(means[0], means[1], margin))
    return sum(losses) / len(losses)


def hard_triplet(rows: Rows, labels: Sequence[int], margin: float | None) -> float:
    losses = []
    for anchor, label in zip(rows, labels, strict=True):
        own = [distance(anchor, row) for row, other in zip(rows, labels, strict=True) if other == label]
        rest = [distance(anchor, row) for row, other in zip(rows, labels, strict=True) if other != label]
        losses.append(_violation(max(own), min(rest), margin) if rest else 0.0)
    return sum(losses) / len(losses)


def pull_triplet(rows: Rows, labels: Sequence[int], margin: float | None, fixed: Rows | None = None) -> float:
    """Negatives are measured among `fixed` (else the rows), which a gradient does not go through."""
    losses = []
    for own, rest in _farthest_and_nearest(rows, labels, fixed or rows):
        losses.append(0.0 if math.isinf(rest) else _violation(own, rest, margin))
    return sum(losses) / len(losses)


def relative_triplet(rows: Rows, labels: Sequence[int], margin: float, fixed: Rows | None = None) -> float:
    ratios = [own / rest for own, rest in _farthest_and_nearest(rows, labels, fixed or rows)]
    return sum(max(0.0, ratio - margin) for ratio in ratios) / len(ratios)


def _farthest_and_nearest(rows: Rows, labels: Sequence[int], fixed: Rows) -> list[tuple[float, float]]:
    found = []
    for at, label in enumerate(labels):
        own = [distance(rows[at], row) for row, other in zip(rows, labels, strict=True) if other == label]
        rest = [distance(fixed[at], row) for row, other in zip(fixed, labels, strict=True) if other != label]
        found.append((max(own), min(rest, default=math.inf)))
    return found


def triplet_of_tensors(name: str, rows: Tensor, labels: Sequence[int], margin: float | None) -> Tensor:
    """`hard_triplet` or `weighted_triplet` pair by pair on tensors, for torch to take gradients of."""
    losses = []
    for anchor, label in zip(rows, labels, strict=True):
        pairs = [((anchor - row).norm(), other == label) for row, other in zip(rows, labels, strict=True)]
        own = torch.stack([d for d, same in pairs if same])
        rest = torch.stack([d for d, same in pairs if not same])
        if name == "hard_triplet":
            excess = own.max() - rest.min()
        else:
            excess = (own.softmax(0) * own).sum() - ((-rest).softmax(0) * rest).sum()
        losses.append(excess.exp().log1p() if margin is None else (excess + margin).clamp(min=0))
    return torch.stack(losses).mean()


def pairwise_cosface(rows: Rows, labels: Sequence[int], scale: float, margin: float) -> float:
    """The sum over all pairs of a positive and a negative, before it was taken apart into a product."""
    losses = []
    for i, j_all, k_all in _anchors(labels):
        own, rest = ([cosine(rows[i], rows[at]) for at in part] for part in (j_all, k_all))
        losses.append(math.log(1 + sum(math.exp(scale * (n + margin - p)) for p in own for n in rest)))
    return sum(losses) / len(losses)


def pairwise_circle(
    rows: Rows, labels: Sequence[int], scale: float, margin: float, fixed: Rows | None = None
) -> float:
    """The weights are those at `fixed` (else at the rows), which a gradient does not go through."""
    still = fixed or rows
    losses = []
    for i, j_all, k_all in _anchors(labels):
        own = [
            max(0.0, 1 + margin - cosine(still[i], still[j])) * (cosine(rows[i], rows[j]) - (1 - margin))
            for j in j_all
        ]
        rest = [
            max(0.0, cosine(still[i], still[k]) + margin) * (cosine(rows[i], rows[k]) - margin) for k in k_all
        ]
        losses.append(math.log(1 + sum(math.exp(scale * (n - p)) for p in own for n in rest)))
    return sum(losses) / len(losses)


def batch_circle(
    rows: Rows, labels: Sequence[int], scale: float, margin: float, fixed: Rows | None = None
) -> float:
    """The weights are those at `fixed` (else at the rows), which a gradient does not go through."""
    still = fixed or rows
    positive, negative = 0.0, 0.0
    for i, j in combinations(range(len(rows)), 2):
        c, f = cosine(rows[i], rows[j]), cosine(still[i], still[j])
        if labels[i] == labels[j]:
            positive += math.exp(-scale * max(0.0, 1 + margin - f) * (c - (1 - margin)))
        else:
            negative += math.exp(scale * max(0.0, f + margin) * (c - margin))
    return math.log(1 + positive * negative)


def mined_triplet(rows: Rows, labels: Sequence[int], margin: float) -> float:
    """Multi-similarity mining with 0.1, then the mean of the triplets that cost something."""
    units = [_unit(row) for row in rows]
    costs = []
    for i, own, rest in _anchors(labels):
        if not own or not rest:
            continue
        nearest, farthest = (
            max(cosine(rows[i], rows[n]) for n in rest),
            min(cosine(rows[i], rows[p]) for p in own),
        )
        for p in own:
            for n in rest:
                if cosine(rows[i], rows[p]) - 0.1 < nearest and cosine(rows[i], rows[n]) + 0.1 > farthest:
                    costs.append(distance(units[i], units[p]) - distance(units[i], units[n]) + margin)
    violating = [cost for cost in costs if cost > 0]
    return sum(violating) / max(1, len(violating))


def contrastive(rows: Rows, labels: Sequence[int], margin: float) -> float:
    units = [_unit(row) for row in rows]
    parts = []
    for same in (True, False):
        apart = [
            distance(units[i], units[j])
            for i, j in combinations(range(len(rows)), 2)
            if (labels[i] == labels[j]) == same
        ]
        costs = [d if same else margin - d for d in apart]
        above = [cost for cost in costs if cost > 0]
        parts.append(sum(above) / max(1, len(above)))
    return sum(parts)


def lifted(rows: Rows, labels: Sequence[int], margin: float) -> float:
    """An anchor without positives, or negatives, has 0 in the place of their sum."""
    units = [_unit(row) for row in rows]
    costs = []
    for i, own, rest in _anchors(labels):
        pull = [math.exp(distance(units[i], units[p])) for p in own]
        push = [math.exp(margin - distance(units[i], units[n])) for n in rest]
        costs.append(max(0.0, sum(math.log(sum(terms)) for terms in (pull, push) if terms)))
    return sum(costs) / len(costs)


def instance(rows: Rows, labels: Sequence[int], scale: float) -> float:
    costs = [-_log_softmax([scale * cosine(row, other) for other in rows])[i] for i, row in enumerate(rows)]
    return sum(costs) / len(costs)


def instance_identity(rows: Rows, labels: Sequence[int], scale: float) -> float:
    means = []
    for person in sorted(set(labels)):
        mine = [_unit(row) for row, label in zip(rows, labels, strict=True) if label == person]
        means.append([sum(values) / len(mine) for values in zip(*mine, strict=True)])
    return instance(means, [], scale)


def sphere(features: Rows, classes: Rows, labels: Sequence[int], scale: float) -> float:
    def target(c: float) -> float:
        angle = math.acos(max(-1.0, min(1.0, c)))
        k = min(3, int(angle / (math.pi / 4)))
        return (-1) ** k * math.cos(4 * angle) - 2 * k

    return _angular(features, classes, labels, scale, target, lambda c: c)


def _unit(row: Sequence[float]) -> list[float]:
    length = math.sqrt(_dot(row, row))
    return [value / length for value in row]


def center(rows: Rows, labels: Sequence[int], centers: Rows) -> float:
    return sum(distance(row, centers[label]) ** 2 for row, label in zip(rows, labels, strict=True)) / len(
        rows
    )


def moved_centers(rows: Rows, labels: Sequence[int], centers: Rows, rate: float) -> list[list[float]]:
    """Wen et al. 2016, eq. 4 and algorithm 1."""
    moved = []
    for label, place in enumerate(centers):
        mine = [row for row, other in zip(rows, labels, strict=True) if other == label]
        step = [sum(c - row[d] for row in mine) / (1 + len(mine)) for d, c in enumerate(place)]
        moved.append([c - rate * s for c, s in zip(place, step, strict=True)])
    return moved


def _anchors(labels: Sequence[int]) -> list[tuple[int, list[int], list[int]]]:
    """Each row with its positives, itself left out, and its negatives."""
    everyone = range(len(labels))
    return [
        (
            i,
            [j for j in everyone if j != i and labels[j] == labels[i]],
            [k for k in everyone if labels[k] != labels[i]],
        )
        for i in everyone
    ]


def _angular(features, classes, labels, scale, target, others) -> float:  # type: ignore[no-untyped-def]
    losses = []
    for feature, label in zip(features, labels, strict=True):
        cosines = [cosine(feature, row) for row in classes]
        logits = [scale * (target(c) if index == label else others(c)) for index, c in enumerate(cosines)]
        losses.append(-_log_softmax(logits)[label])
    return sum(losses) / len(losses)


def _log_softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    total = top + math.log(sum(math.exp(logit - top) for logit in logits))
    return [logit - total for logit in logits]


def _weighted(distances: Sequence[float], sign: int) -> float:
    top = max(sign * d for d in distances)
    weights = [math.exp(sign * d - top) for d in distances]
    return sum(w * d for w, d in zip(weights, distances, strict=True)) / sum(weights)


def _violation(positive: float, negative: float, margin: float | None) -> float:
    excess = positive - negative
    if margin is not None:
        return max(0.0, excess + margin)
    return max(excess, 0.0) + math.log1p(math.exp(-abs(excess)))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
