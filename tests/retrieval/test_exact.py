"""The canonical distance: one value for a pair, whatever the memory it lies in."""

import numpy as np
import pytest

from naic_reid.errors import ReidError
from naic_reid.retrieval import exact
from tests.retrieval.features import clustered


@pytest.mark.parametrize("length", [1, 2, 7, 8, 31, 32, 33, 63, 64, 65, 200, 2048])
def test_the_inner_product_is_that_of_float64(length: int) -> None:
    rng = np.random.default_rng(length)
    a, b = rng.normal(size=(2, length)).astype(np.float32)
    assert exact.dot(a, b) == pytest.approx(a.astype(float) @ b.astype(float), abs=1e-13 * length)
    assert exact.dot(a, b) == exact.dot(b, a)


def test_the_inner_product_does_not_depend_on_the_alignment_of_memory() -> None:
    a, b = clustered(0, 2, 100)
    expected = exact.dot(a, b)
    for shift in range(1, 17):
        moved = np.zeros(100 + shift, np.float32)
        moved[shift:] = a
        assert exact.dot(moved[shift:], b) == expected


def test_equal_directions_are_at_distance_zero_whatever_their_length() -> None:
    rows = clustered(1, 10, 64)
    union = exact.rows(rows, 3 * rows)
    assert all(exact.distance(exact.cosine(union, i, 10 + i)) == 0 for i in range(10))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_rows_without_a_direction_are_refused_and_named(value: float) -> None:
    query, gallery = clustered(2, 4, 8), clustered(3, 6, 8)
    gallery[2] = value
    with pytest.raises(ReidError, match=r"gallery 2 \(from 0\)"):
        exact.rows(query, gallery)
    with pytest.raises(ReidError, match="query 2"):
        exact.rows(gallery, query)


def test_features_of_different_models_are_refused() -> None:
    with pytest.raises(ReidError, match="8 numbers and gallery features 9"):
        exact.rows(clustered(2, 4, 8), clustered(3, 6, 9))
