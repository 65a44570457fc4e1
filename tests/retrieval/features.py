"""Features for the tests: clusters like persons, with the traps real galleries hold."""

from typing import Any

import numpy as np

from naic_reid.artifacts import Floats, Ints, Neighbours
from naic_reid.retrieval import nearest
from naic_reid.retrieval.vectors import Vectors, multiplies_bfloat16


def clustered(
    seed: int, num: int, dimension: int, *, noise: float = 0.7, duplicates: bool = False, unit: bool = True
) -> Floats:
    """float32 [num, dimension]: a centre for each ten rows, plus noise; and copies of rows."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(num // 10, 1), dimension))
    rows = centres[rng.integers(0, len(centres), num)] + noise * rng.normal(size=(num, dimension))
    if duplicates and num > 20:
        rows[num // 2 : num // 2 + 6] = rows[3]  # across query and gallery
        rows[7] = rows[num - 1]
        rows[num - 5] = 2 * rows[num - 2]  # the same direction, another length
    if unit:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def k_nearest(query: Floats, gallery: Floats, keep: int, **options: Any) -> Neighbours:
    """The nearest of every row: `of_rows` and its options."""
    return Neighbours(*of_rows(query, gallery, keep, (0, len(query) + len(gallery)), **options), len(query))


def of_rows(
    query: Floats, gallery: Floats, keep: int, asking: tuple[int, int], *, threads: int = 0, **how: Any
) -> tuple[Ints, Floats, Floats]:
    """The nearest of rows start … stop, by `nearest` and a plan's words."""
    plan = nearest.Plan(**{"rounded": multiplies_bfloat16(), **how})
    return nearest.of_rows(Vectors(query, gallery), keep, asking, plan, threads=threads)
