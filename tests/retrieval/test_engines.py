"""Engines of faiss: flat is exact, the approximate ones say truly how much they found."""

import numpy as np
import pytest

from naic_reid.retrieval import engines
from tests.retrieval.features import clustered, k_nearest


def sides(num: int = 1500):
    rows = clustered(1, num, 48, duplicates=True)
    return rows[:100], rows[100:]


def test_flat_search_gives_the_bits_of_exact_search() -> None:
    found = engines.k_nearest(*sides(), 31, "faiss-flat", threads=2)
    expected = k_nearest(*sides(), 31)
    for name in ("rows", "distances", "farthest"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert engines.recall(*sides(), found) == 1.0


@pytest.mark.parametrize(("engine", "least"), [("faiss-ivf", 0.5), ("faiss-hnsw", 0.8)])
def test_approximate_search_finds_most_and_more_with_more_effort(engine: str, least: float) -> None:
    little, much = (
        engines.k_nearest(*sides(), 31, engine, nprobe=effort, ef_search=effort, threads=1)
        for effort in (2, 64)
    )
    true = k_nearest(*sides(), 31)
    shares = []
    for found in (little, much):
        measured = engines.recall(*sides(), found, sample=1500)
        pairs = zip(found.rows, true.rows, strict=True)
        assert measured == pytest.approx(
            np.mean([len(np.intersect1d(a, b)) / 31 for a, b in pairs]), abs=1e-3
        )
        shares.append(measured)
    assert least < shares[1]
    assert shares[0] < shares[1]
    assert (much.farthest <= true.farthest).all()
    assert (much.farthest >= 0.8 * true.farthest).all()


@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("num", [0, 1, 2, 40])
def test_tiny_sets_are_found_whole(engine: str, num: int) -> None:
    rows = clustered(2, 40, 16)[:num]
    found = engines.k_nearest(rows[: num // 2], rows[num // 2 :], 31, engine, threads=1)
    assert found.rows.shape == (num, min(31, num))
    assert engines.recall(rows[: num // 2], rows[num // 2 :], found) == 1
    np.testing.assert_array_equal(found.rows, k_nearest(rows[: num // 2], rows[num // 2 :], 31).rows)
