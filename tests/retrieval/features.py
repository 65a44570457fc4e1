"""Features for the tests: clusters like persons, with the traps real galleries hold."""

import numpy as np

from naic_reid.artifacts import Floats


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
