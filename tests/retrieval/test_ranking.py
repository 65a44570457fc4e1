"""Ranking and fusing from arrays, against the definitions."""

import doctest

import numpy as np
import pytest

from naic_reid.artifacts import Features, Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval import ranking
from naic_reid.retrieval.ranking import fuse, rank
from naic_reid.retrieval.rerank import Reranking
from tests.oracles import rerank as oracle


def _features(num: int, dimension: int = 8, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(num, dimension)).astype(np.float32)


QUERY, GALLERY = _features(7), _features(30, seed=1)
OTHERS = (_features(7, 5, seed=2), _features(30, 5, seed=3))


def _require(found: tuple[np.ndarray, Floats], expected: np.ndarray, best: int) -> None:
    indices, distances = found
    order = np.argsort(expected, axis=1, kind="stable")[:, :best]
    assert np.array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(expected, order, 1), atol=1e-5)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(ranking).attempted >= 6
    assert doctest.testmod(ranking).failed == 0


def test_plain_ranks_by_cosine_whatever_the_rows_lengths() -> None:
    distances = 1 - oracle.cosines(QUERY, GALLERY)[:7, 7:]
    _require(rank(QUERY, GALLERY, 10), distances, 10)
    _require(rank(QUERY * 3, GALLERY.astype(np.float64) / 7), distances, 30)


def test_features_are_ranked_as_their_arrays_are() -> None:
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (QUERY, GALLERY)]
    named = [Features(tuple(map(str, range(len(rows)))), rows) for rows in unit]
    for one, other in zip(rank(*named, best=5), rank(*unit, best=5), strict=True):
        assert np.array_equal(one, other)


def test_reranked_is_the_definition() -> None:
    expected = oracle.re_ranking(QUERY, GALLERY, 6, 3, 0.3)
    _require(rank(QUERY, GALLERY, 9, rerank=Reranking(6, 3, 0.3)), expected, 9)


@pytest.mark.parametrize("weights", [None, [2.0, 0.5]])
def test_fused_is_the_weighted_sum(weights: list[float] | None) -> None:
    one, two = weights or (1, 1)
    members = [(QUERY, GALLERY), OTHERS]
    plain = [1 - oracle.cosines(*member)[:7, 7:] for member in members]
    _require(fuse(members, weights, 30), one * plain[0] + two * plain[1], 30)
    far = [oracle.re_ranking(*member, 6, 3, 0.3) for member in members]
    found = fuse(members, weights, 30, rerank=Reranking(6, 3, 0.3))
    _require(found, one * far[0] + two * far[1], 30)


def test_no_query_and_no_gallery_give_nothing() -> None:
    assert rank(QUERY[:0], GALLERY)[0].shape == (0, 30)
    assert rank(QUERY, GALLERY[:0])[0].shape == (7, 0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: rank(QUERY[0], GALLERY), r"query: must be floats \[images, numbers\]"),
        (lambda: rank(QUERY, GALLERY.astype(int)), "gallery: must be floats"),
        (lambda: rank(QUERY[:, :5], GALLERY), "query features have 5 numbers and gallery features 8"),
        (lambda: rank(QUERY * 0, GALLERY), "is zero, all but zero or not finite"),
        (lambda: rank(QUERY, GALLERY * np.float32(1e-44)), "is zero, all but zero or not finite"),
        (lambda: rank(QUERY, GALLERY, 0), "best 0: must be at least 1"),
        (lambda: rank(QUERY, GALLERY, rerank=Reranking(0)), "k1 0"),
        (lambda: rank(QUERY, GALLERY, rerank=Reranking(lambda_=1.5)), "lambda_ 1.5"),
        (lambda: rank(QUERY, GALLERY, rerank=Reranking(k2=1, method="graph")), "gathers from 2 neighbours"),
        (lambda: fuse([]), "0 members"),
        (lambda: fuse([(QUERY, GALLERY)], [1, 2]), "1 members, weights .*one weight above 0"),
        (lambda: fuse([(QUERY, GALLERY)], [-1]), "one weight above 0"),
        (lambda: fuse([(QUERY, GALLERY), (QUERY, GALLERY[:9])]), "all must be of the same images"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ReidError, match=says):
        call()
