"""Pseudo-labels as the reference states them: loops over all pairs, with the angle of each."""

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def angle(
    one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], weights: Sequence[float]
) -> float:
    """Radians of the weighted mean cosine over members; each argument holds a unit row per member."""
    total = 0.0
    for a, b, weight in zip(one, other, weights, strict=True):
        total += weight * sum(x * y for x, y in zip(a, b, strict=True))
    cosine = total / sum(weights)
    return math.acos(max(-1 + 1e-5, min(1 - 1e-5, cosine)))


def pseudo_labels(
    query: Sequence[Rows],
    gallery: Sequence[Rows],
    weights: Sequence[float],
    threshold: float,
    gallery_rank: int | None,
    max_queries: int,
) -> list[tuple[list[int], list[int]]]:
    """Persons as (their queries, their gallery images), in the order of their first query."""
    queries = [[rows[i] for rows in query] for i in range(len(query[0]))]
    images = [[rows[i] for rows in gallery] for i in range(len(gallery[0]))]
    owner: dict[int, int] = {}
    for g, image in enumerate(images):
        angles = [angle(q, image, weights) for q in queries]
        nearest = min(range(len(queries)), key=lambda q: (angles[q], q))
        if angles[nearest] < threshold:
            own = [angle(queries[nearest], other, weights) for other in images]
            before = sum((own[other], other) < (own[g], g) for other in range(len(images)))
            if gallery_rank is None or before < gallery_rank:
                owner[g] = nearest
    persons = [{q} for q in range(len(queries))]
    if max_queries > 1:
        for a in range(len(queries)):
            for b in range(a):
                if angle(queries[a], queries[b], weights) < threshold:
                    one, other = (next(p for p in persons if q in p) for q in (a, b))
                    if one is not other:
                        persons.remove(other)
                        one |= other
    found = []
    for person in sorted(map(sorted, persons)):
        shown = [g for g in range(len(images)) if owner.get(g) in person]
        if len(person) <= max_queries and len(person) + len(shown) >= 2:
            found.append((person, shown))
    return found
