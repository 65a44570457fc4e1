"""The fuzz targets themselves, on their seeds and on a few changes of them."""

import numpy as np
import pytest

from tests.fuzz import targets

SEEDS = list(targets.seeds())


def test_every_target_has_a_seed() -> None:
    assert {seed[0] for seed in SEEDS} == set(range(len(targets.TARGETS)))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: targets.TARGETS[seed[0]].__name__)
def test_changed_inputs_end_well_or_in_the_documented_error(seed: bytes) -> None:
    rng = np.random.default_rng(len(seed))
    targets.one(seed)
    for _ in range(20):
        changed = bytearray(seed)
        for place in rng.integers(1, len(seed), 3):
            changed[place] = rng.integers(256)
        targets.one(bytes(changed[: rng.integers(1, len(seed) + 1)]))
