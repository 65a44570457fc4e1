"""The function for two arrays: features in, ranking out, as its docstring defines it."""

import numpy as np
import pytest

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval.ranking import rank
from naic_reid.retrieval.rerank import Reranking, expanded
from tests.oracles import rerank as oracle
from tests.retrieval.features import clustered


def split(seed: int = 1, num: int = 300) -> tuple[Floats, Floats]:
    rows = clustered(seed, num, 40, unit=False)
    return rows[:50], rows[50:]


def test_the_ranking_is_that_of_the_definition() -> None:
    query, gallery = split()
    expected = oracle.re_ranking(query, gallery, 20, 6, 0.3)
    indices, distances = rank(query, gallery, 40, rerank=Reranking(20, 6, 0.3), device="cpu")
    np.testing.assert_allclose(np.take_along_axis(expected, indices, 1), distances, atol=1e-5)
    np.testing.assert_allclose(np.sort(expected, axis=1)[:, :40], distances, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "twin"),
    [
        ({"power": 2}, oracle.torchreid_re_ranking),
        ({"norm": "none", "count_self": True}, oracle.fast_reid_re_ranking),
    ],
)
def test_dialects_are_reached_by_their_names(options, twin) -> None:
    query, gallery = split(2)
    expected = np.sort(twin(query, gallery, 20, 6, 0.3), axis=1)
    _, distances = rank(query, gallery, 250, rerank=Reranking(20, 6, 0.3, **options), device="cpu")
    np.testing.assert_allclose(distances, expected, atol=1e-5)


def test_memory_and_threads_never_change_a_bit() -> None:
    query, gallery = split(3, 1200)
    first = rank(query, gallery, rerank=Reranking(), device="cpu")
    for memory, threads in [("60MB", 2), ("6MB", 1)]:
        again = rank(query, gallery, rerank=Reranking(), device="cpu", memory=memory, threads=threads)
        np.testing.assert_array_equal(again[0], first[0])
        np.testing.assert_array_equal(again[1], first[1])


@pytest.mark.parametrize("word", [{"method": "Graph"}, {"norm": "row_max"}, {"power": 3}])
def test_a_word_that_is_unknown_is_refused_with_those_there_are(word) -> None:
    with pytest.raises(ReidError, match=f"{next(iter(word))} .* is unknown; there are"):
        rank(*split(), rerank=Reranking(**word), device="cpu")


def test_too_little_memory_is_refused_with_the_amount_it_takes() -> None:
    with pytest.raises(ReidError, match=r"take .* MB at least"):
        rank(*split(), rerank=Reranking(), device="cpu", memory="100kB")


@pytest.mark.parametrize(("alpha", "k"), [(0.0, 5), (3.0, 5), (3.0, 300)])
def test_query_expansion_is_the_weighted_sum_of_the_nearest(alpha: float, k: int) -> None:
    query, gallery = split(4)
    cosines = oracle.cosines(query, gallery)
    order = oracle.ranks(query, gallery)[:, :k]
    unit = np.concatenate([query, gallery]).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.stack([(cosines[i, order[i]].clip(0) ** alpha) @ unit[order[i]] for i in range(len(unit))])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    one, other = expanded(query, gallery, k, alpha, memory=10**9)
    np.testing.assert_allclose(np.concatenate([one, other]), expected, atol=1e-6)
