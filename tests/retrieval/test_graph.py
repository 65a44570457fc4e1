"""Graph re-ranking: the published numbers, and the dense definition."""

import numpy as np
import pytest

from naic_reid.artifacts import Floats
from naic_reid.retrieval import distances
from naic_reid.retrieval.distances import Member, Mix
from naic_reid.retrieval.graph import similar_rows
from naic_reid.retrieval.ranking import rank
from naic_reid.retrieval.rerank import Reranking
from tests.oracles import rerank as oracle
from tests.retrieval.features import clustered, k_nearest


def angles(*degrees: float) -> Floats:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def scores(query: Floats, gallery: Floats, k1: int, k2: int, lambda_: float) -> Floats:
    found = k_nearest(query, gallery, max(k1, k2))
    rows = similar_rows(found, k1, k2, num_gallery=len(gallery), threads=2)
    found: Floats = (
        1 - distances.summed([Member(query, gallery, rows)], Mix(lambda_, "none"), 0, len(query)).numpy()
    )
    return found


def test_worked_example() -> None:
    query, gallery = angles(40, 34), angles(17, 2, 27, 86)
    expected = [[0.751287, 0.459457, 0.963632, 0.870393], [0.762218, 0.477699, 0.969161, 0.846629]]
    np.testing.assert_allclose(scores(query, gallery, 3, 2, 0.3), expected, atol=2e-6)
    expected = [[0.638646, 0.358616, 0.937097, 0.809433], [0.649876, 0.377008, 0.942817, 0.785399]]
    np.testing.assert_allclose(scores(query, gallery, 2, 2, 0.3), expected, atol=2e-6)
    cosines = oracle.cosines(query, gallery)[:2, 2:]
    np.testing.assert_allclose(scores(query, gallery, 3, 2, 1.0), cosines, atol=1e-6)
    indices, _ = rank(query, gallery, rerank=Reranking(3, 2, 0.3, "graph"), device="cpu")
    assert indices.tolist() == [[2, 3, 0, 1]] * 2


@pytest.mark.parametrize(("k1", "k2"), [(26, 7), (10, 12), (60, 10), (5, 2)])
def test_scores_are_those_of_the_dense_definition(k1: int, k2: int) -> None:
    rows = clustered(k1, 300, 40, duplicates=True)
    query, gallery = rows[:50], rows[50:]
    expected = oracle.graph_scores(query, gallery, k1, k2, 0.3)
    np.testing.assert_allclose(scores(query, gallery, k1, k2, 0.3), expected, atol=1e-5)


def test_a_range_of_queries_has_the_bits_it_has_among_all_whatever_the_threads() -> None:
    rows = clustered(9, 2500, 24)
    near = k_nearest(rows[:200], rows[200:], 27)
    whole = similar_rows(near, 26, 7, num_gallery=2300, threads=1).similarity
    part = similar_rows(near, 26, 7, num_gallery=2300, asking=(70, 150), threads=3).similarity
    np.testing.assert_array_equal(part.toarray(), whole[70:150].toarray())


def test_rows_at_right_angles_are_not_similar() -> None:
    rows = np.eye(12, dtype=np.float32)
    expected = oracle.graph_scores(rows[:2], rows[2:], 1, 2, 0.3)
    np.testing.assert_allclose(scores(rows[:2], rows[2:], 1, 2, 0.3), expected, atol=1e-6)


@pytest.mark.parametrize(("num_query", "num_gallery"), [(0, 5), (5, 0), (3, 2)])
def test_small_sets_give_what_there_is(num_query: int, num_gallery: int) -> None:
    rows = clustered(10, 10, 8)
    query, gallery = rows[:num_query], rows[num_query : num_query + num_gallery]
    indices, _ = rank(query, gallery, rerank=Reranking(26, 7, 0.3, "graph"), device="cpu")
    assert indices.shape == (num_query, num_gallery)
