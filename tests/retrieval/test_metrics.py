"""CMC, mAP and mINP: equal to the definitions applied list by list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.retrieval.metrics import Hits, hits, score
from tests.oracles import metrics as oracle

NAMES = ("R1", "R5", "R10", "mAP", "mAP@200", "mINP")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_query=st.integers(1, 8),
    num_gallery=st.integers(1, 400),
    cross_camera=st.booleans(),
    coarse=st.booleans(),
    lost=st.booleans(),
)
def test_scores_are_those_of_the_definitions(
    seed: int, num_query: int, num_gallery: int, cross_camera: bool, coarse: bool, lost: bool
) -> None:
    rng = np.random.default_rng(seed)
    distances = rng.random((num_query, num_gallery)).astype(np.float32)
    if coarse:
        distances = np.round(distances, 1)  # many ties
    query = rng.integers(0, 4, num_query), rng.integers(0, 3, num_query)
    gallery = rng.integers(-1, 6, num_gallery), rng.integers(0, 3, num_gallery)
    elsewhere = rng.integers(0, 3, num_query) if lost else np.zeros(num_query, np.int64)
    found = hits(distances, query[0], gallery[0], query[1], gallery[1], cross_camera=cross_camera)
    lists = [
        oracle.ranked_hits(
            distances[q], (query[0][q], query[1][q]), list(zip(*gallery, strict=True)), cross_camera
        )
        for q in range(num_query)
    ]
    expected = [oracle.query_scores(row, int(e)) for row, e in zip(lists, elsewhere, strict=True)]
    valid = [entry for entry in expected if entry is not None]
    scored = score(found, elsewhere)
    assert scored["queries"] == len(valid)
    for name in NAMES:
        mean = np.mean([entry[name] for entry in valid]) if valid else 0.0
        assert scored[name] == pytest.approx(mean, abs=1e-12), name


def test_blocks_joined_are_the_whole() -> None:
    rng = np.random.default_rng(1)
    distances = rng.random((9, 50)).astype(np.float32)
    ids, gallery, none = rng.integers(0, 5, 9), rng.integers(0, 5, 50), np.zeros(50, np.int64)
    whole = hits(distances, ids, gallery, none[:9], none, cross_camera=False)
    parts = [
        hits(distances[a:b], ids[a:b], gallery, none[a:b], none, cross_camera=False)
        for a, b in [(0, 4), (4, 9)]
    ]
    assert score(Hits.joined(parts)) == score(whole)


def test_a_perfect_ranking_scores_one_and_no_query_scores_zero() -> None:
    ids = np.array([0, 1])
    gallery = np.array([0, 0, 1])
    distances = np.array([[0, 0.1, 1], [1, 1, 0]], np.float32)
    cameras = np.zeros(3, np.int64)
    perfect = score(hits(distances, ids, gallery, cameras[:2], cameras, cross_camera=False))
    assert [perfect[name] for name in NAMES] == [1.0] * 6
    nothing = score(Hits.empty())
    assert [nothing[name] for name in NAMES] == [0.0] * 6
