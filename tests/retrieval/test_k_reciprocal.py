"""Re-ranking: every final distance is that of the definition, in every dialect."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from naic_reid.artifacts import Floats
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import distances as engine
from naic_reid.retrieval.k_reciprocal import Encoding, jaccard_rows
from tests.oracles import rerank as oracle
from tests.retrieval.features import clustered, k_nearest

DIALECTS: dict[str, tuple[Callable[..., NDArray[np.float64]], str, int, bool]] = {
    "definition": (oracle.re_ranking, "rowmax", 1, False),
    "torchreid": (oracle.torchreid_re_ranking, "rowmax", 2, False),
    "fast-reid": (oracle.fast_reid_re_ranking, "none", 1, True),
}


def final_distances(
    query: Floats, gallery: Floats, k1: int, k2: int, lambda_: float, dialect: str = "definition"
) -> Floats:
    """Every distance of query × gallery, in the order of the gallery."""
    _, norm, power, count_self = DIALECTS[dialect]
    neighbours = k_nearest(query, gallery, max(k1 + 1, k2), threads=2)
    rows = jaccard_rows(neighbours, query, gallery, Encoding(k1, k2, norm, power, count_self), threads=2)
    member = engine.Member(query, gallery, rows)
    indices, distances = nearest_of.best([member], engine.Mix(lambda_, norm, power), len(gallery))
    full = np.empty((len(query), len(gallery)), np.float32)
    np.put_along_axis(full, indices, distances, 1)
    return full


@settings(max_examples=40, deadline=None)
@given(
    dialect=st.sampled_from(list(DIALECTS)),
    seed=st.integers(0, 2**31),
    num=st.integers(4, 150),
    dimension=st.sampled_from([4, 33, 96]),
    k1=st.integers(1, 40),
    k2=st.integers(1, 8),
    lambda_=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    duplicates=st.booleans(),
)
def test_every_final_distance_is_that_of_the_definition(
    dialect: str, seed: int, num: int, dimension: int, k1: int, k2: int, lambda_: float, duplicates: bool
) -> None:
    rows = clustered(seed, num, dimension, duplicates=duplicates)
    split = 1 + seed % (num - 1)
    query, gallery = rows[:split], rows[split:]
    expected = DIALECTS[dialect][0](query, gallery, k1, k2, lambda_)
    found = final_distances(query, gallery, k1, k2, lambda_, dialect)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("k1", "k2"), [(30, 2), (15, 6), (20, 1), (7, 3)])
def test_larger_sets_agree_too(dialect: str, k1: int, k2: int) -> None:
    rows = clustered(k1, 400, 64, duplicates=True)
    expected = DIALECTS[dialect][0](rows[:60], rows[60:], k1, k2, 0.3)
    found = final_distances(rows[:60], rows[60:], k1, k2, 0.3, dialect)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_dialects_differ_from_one_another() -> None:
    rows = clustered(3, 200, 32)
    found = [final_distances(rows[:30], rows[30:], 20, 6, 0.3, dialect) for dialect in DIALECTS]
    assert min(abs(a - b).max() for a, b in [found[:2], found[1:], found[::2]]) > 0.01


@pytest.mark.parametrize("num", [31, 32, 33])
def test_a_set_barely_larger_than_k1_agrees(num: int) -> None:
    rows = clustered(num, num, 16)
    expected = oracle.re_ranking(rows[:3], rows[3:], 30, 2, 0.8)
    np.testing.assert_allclose(final_distances(rows[:3], rows[3:], 30, 2, 0.8), expected, atol=1e-5)


def test_equal_features_everywhere_are_all_similar() -> None:
    rows = np.ones((50, 8), np.float32)
    expected = oracle.re_ranking(rows[:5], rows[5:], 30, 2, 0.3)
    np.testing.assert_allclose(final_distances(rows[:5], rows[5:], 30, 2, 0.3), expected, atol=1e-5)


def test_threads_and_longer_lists_never_change_a_bit() -> None:
    rows = clustered(4, 1500, 40, duplicates=True)
    query, gallery = rows[:200], rows[200:]
    first = jaccard_rows(k_nearest(query, gallery, 31), query, gallery, Encoding(30, 2), threads=1)
    for keep, threads in [(31, 2), (31, 3), (64, 2), (200, 1)]:
        again = jaccard_rows(
            k_nearest(query, gallery, keep), query, gallery, Encoding(30, 2), threads=threads
        )
        np.testing.assert_array_equal(again.similarity.indices, first.similarity.indices)
        np.testing.assert_array_equal(again.similarity.data, first.similarity.data)


@pytest.mark.parametrize(("num_query", "num_gallery"), [(0, 0), (0, 20), (20, 0), (1, 1), (1, 40)])
def test_empty_and_tiny_domains_give_rows_of_the_right_shape(num_query: int, num_gallery: int) -> None:
    rows = clustered(5, 60, 16)
    query, gallery = rows[:num_query], rows[num_query : num_query + num_gallery]
    found = jaccard_rows(k_nearest(query, gallery, 31), query, gallery, Encoding(30, 2))
    assert found.similarity.shape == (num_query, num_gallery)
    assert found.farthest.shape == (num_query,)


def test_permuting_the_gallery_permutes_the_distances() -> None:
    rows = clustered(6, 300, 48)
    order = np.random.default_rng(0).permutation(250)
    plain = final_distances(rows[:50], rows[50:], 20, 6, 0.3)
    moved = final_distances(rows[:50], rows[50:][order], 20, 6, 0.3)
    np.testing.assert_allclose(moved, plain[:, order], atol=1e-6)
