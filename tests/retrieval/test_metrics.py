"""CMC, mAP, mINP and the rates of a ROC: equal to the definitions applied list by list."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.artifacts import Floats
from naic_reid.retrieval import metrics, protocols
from naic_reid.retrieval.evaluation import of_distances
from naic_reid.retrieval.metrics import (
    RATES,
    Hits,
    Ints64,
    Meetings,
    Roc,
    count,
    drawn_first,
    each,
    hits,
    positives_of,
    score,
)
from naic_reid.retrieval.protocols import PROTOCOLS, Labels
from tests.oracles import metrics as oracle

NAMES = ("R1", "R5", "R10", "mAP", "mAP@200", "mINP")
NAIC, MARKET = PROTOCOLS["naic"], PROTOCOLS["market"]


def labels(identities: list[int], cameras: list[int], junk: list[bool] | None = None) -> Labels:
    num = len(identities)
    return Labels(
        np.array(identities, np.int64),
        np.array(cameras, np.int64),
        np.array(junk or [False] * num, np.bool_),
        np.full(num, -1),
    )


def drawn(seed: int, num: int, persons: int) -> Labels:
    """Distractors (−1), unknown cameras (−1) and junk among them."""
    rng = np.random.default_rng(seed)
    identities, cameras, junk = (
        rng.integers(-1, persons, num),
        rng.integers(-1, 3, num),
        rng.random(num) < 0.1,
    )
    return labels(np.where(junk, -1, identities).tolist(), cameras.tolist(), junk.tolist())


def found_in(distances: Floats, meetings: Meetings, pieces: int = 1) -> Hits:
    """The gallery may be given in pieces."""
    same = positives_of(distances, meetings)
    ends = np.linspace(0, distances.shape[1], pieces + 1).astype(int)
    nearer = sum(count(distances[:, a:b].copy(), int(a), same, meetings) for a, b in itertools.pairwise(ends))
    return hits(nearer, meetings)


def entries(made: Labels) -> list[tuple[int, ...]]:
    return list(zip(made.identities.tolist(), made.cameras.tolist(), made.junk.tolist(), strict=True))


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
    query, gallery = drawn(seed + 1, num_query, 4), drawn(seed + 2, num_gallery, 6)
    elsewhere = rng.integers(0, 3, num_query) if lost else np.zeros(num_query, np.int64)
    protocol = MARKET if cross_camera else NAIC
    found = found_in(distances, protocols.meetings(protocol, query, gallery), 1 + seed % 3)
    lists = [
        oracle.ranked_hits(distances[q], entries(query)[q], entries(gallery), cross_camera)
        for q in range(num_query)
    ]
    expected = [oracle.query_scores(row, int(e)) for row, e in zip(lists, elsewhere, strict=True)]
    valid = [entry for entry in expected if entry is not None]
    scored = score(found, elsewhere)
    assert scored["queries"] == len(valid)
    for name in NAMES:
        mean = np.mean([entry[name] for entry in valid]) if valid else 0.0
        assert scored[name] == pytest.approx(mean, abs=1e-12), name
    trapezoid = sum(entry["trapezoid"] for entry in valid) / num_query if valid else 0.0
    of_all = score(found, elsewhere, trapezoid=True, all_queries=True)
    assert of_all["mAP"] == pytest.approx(trapezoid, abs=1e-12)
    own = each(found, elsewhere, trapezoid=True, all_queries=True)
    assert own["mAP"].sum() / own["counted"].sum() == pytest.approx(trapezoid, abs=1e-12)
    assert each(found, elsewhere)["counted"].sum() == len(valid)


def test_blocks_joined_are_the_whole() -> None:
    distances = np.random.default_rng(1).random((9, 50)).astype(np.float32)
    query, gallery = drawn(1, 9, 5), drawn(2, 50, 5)
    meetings = protocols.meetings(MARKET, query, gallery)
    whole = found_in(distances, meetings)
    parts = [found_in(distances[a:b], meetings.of(a, b)) for a, b in [(0, 4), (4, 9)]]
    assert score(Hits.joined(parts)) == score(whole)


def test_a_perfect_ranking_scores_one_and_no_query_scores_zero() -> None:
    distances = np.array([[0, 0.1, 1], [1, 1, 0]], np.float32)
    meetings = protocols.meetings(NAIC, labels([0, 1], [0, 0]), labels([0, 0, 1], [0, 0, 0]))
    perfect = score(found_in(distances, meetings))
    assert [perfect[name] for name in NAMES] == [1.0] * 6
    nothing = score(Hits.empty())
    assert [nothing[name] for name in NAMES] == [0.0] * 6


# The worked examples: query person 7, camera 1; the gallery in ranked order.
EXAMPLES = {
    "A": ([7, 7, 3, 7, 0, 7], [1, 2, 2, 3, 4, 2]),
    "B": ([3, 7, 7, 5, 4, 7], [2, 2, 1, 3, 1, 4]),
    "C": ([7, 3, 7, 5], [1, 2, 1, 2]),
}


def example(*names: str, cross_camera: bool = True) -> dict[str, float | int]:
    found = []
    for name in names:
        gallery = labels(*EXAMPLES[name])
        distances = np.linspace(0, 1, len(gallery), dtype=np.float32)[None]
        protocol = MARKET if cross_camera else NAIC
        found.append(found_in(distances, protocols.meetings(protocol, labels([7], [1]), gallery)))
    joined = Hits.joined(found)
    trapezoid = score(joined, trapezoid=True, all_queries=True)
    return score(joined) | {"trapezoid": trapezoid["mAP"], "R1 of all": trapezoid["R1"]}


def test_worked_examples_of_lists() -> None:
    def values(found: dict[str, float | int]) -> list[float]:
        return [round(found[name], 6) for name in ("R1", "R5", "mAP", "trapezoid", "mINP")]

    assert values(example("A")) == [1, 1, 0.755556, 0.711111, 0.6]
    assert values(example("A", cross_camera=False)) == [1, 1, 0.854167, 0.835417, 0.666667]
    assert values(example("B")) == [0, 1, 0.45, 0.2875, 0.4]
    assert example("C")["queries"] == 0
    means = example("A", "B", "C")
    assert means["queries"] == 2
    assert [round(means[name], 6) for name in ("R1", "mAP", "mINP")] == [0.5, 0.602778, 0.5]
    assert [round(means[name], 6) for name in ("R1 of all", "trapezoid")] == [0.333333, 0.332870]


@pytest.mark.parametrize(
    ("hit", "trapezoid", "precision"),
    [
        ([1, 0, 1, 0, 0], 0.791667, 0.833333),
        ([1, 1, 0, 1, 0, 0, 1], 0.811012, 0.830357),
        ([0, 1], 0.25, 0.5),
        ([0, 0, 1, 1], 0.291667, 0.416667),
        ([1, 0, 0, 1], 0.708333, 0.75),
    ],
)
def test_worked_examples_of_trapezoids(hit: list[int], trapezoid: float, precision: float) -> None:
    distances = np.arange(len(hit), dtype=np.float32)[None]
    meetings = protocols.meetings(NAIC, labels([1], [0]), labels(hit, [0] * len(hit)))
    found = found_in(distances, meetings)
    assert score(found)["mAP"] == pytest.approx(precision, abs=1e-6)
    assert score(found, trapezoid=True)["mAP"] == pytest.approx(trapezoid, abs=1e-6)


def roc(same: Floats, different: Floats) -> Roc:
    made = Roc(same, len(different))
    for part in np.array_split(different, 3):
        made.add(part[None])
    return made


def test_worked_example_of_rates() -> None:
    same, different = (np.array(values, np.float32) for values in ([0.1, 0.2, 0.6], [0.3, 0.5, 0.7, 0.9]))
    made = roc(same, different)
    rates = made.rates()
    assert rates["TPR@FPR=0.0001"] == pytest.approx(2 / 3)  # none of four may pass
    assert rates["fast-reid TPR@FPR=0.0001"] == rates["fast-reid TPR@FPR=0.01"] == 0
    assert made._swapped(0.34) == 0.5
    assert oracle.tar_at_far(same, different, 0.25) == pytest.approx(2 / 3)
    assert oracle.tar_at_far(same, different, 0.5) == 1
    assert oracle.fast_reid_tpr(same, different, 0.34) == 0.5


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_query=st.integers(1, 12),
    num_gallery=st.integers(2, 300),
    steps=st.sampled_from([0, 10, 300]),
    apart=st.floats(0, 1),
    cross_camera=st.booleans(),
)
def test_rates_are_those_of_the_definitions(
    seed: int, num_query: int, num_gallery: int, steps: int, apart: float, cross_camera: bool
) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = drawn(seed + 1, num_query, 3), drawn(seed + 2, num_gallery, 5)
    same_person = query.identities[:, None] == gallery.identities
    distances = (rng.random((num_query, num_gallery)) + apart * ~same_person).astype(np.float32)
    if steps:
        distances = np.round(distances * steps) / np.float32(steps)
    protocol = MARKET if cross_camera else NAIC
    scored = of_distances(distances, query, gallery, protocol, threads=1)
    same, different = oracle.pairs(distances, entries(query), entries(gallery), cross_camera)
    for rate in RATES:
        usual = oracle.tar_at_far(same, different, rate) if same else 0.0
        swapped = oracle.fast_reid_tpr(same, different, rate) if same and different else 0.0
        assert scored[f"TPR@FPR={rate:g}"] == pytest.approx(usual, abs=1e-9)
        assert scored[f"fast-reid TPR@FPR={rate:g}"] == pytest.approx(swapped, abs=1e-9)


def test_rates_of_many_pairs_given_in_small_blocks() -> None:
    rng = np.random.default_rng(3)
    same = rng.normal(0.6, 0.2, 3000).astype(np.float32)
    different = rng.normal(1.0, 0.2, 40000).astype(np.float32)
    made = Roc(same, len(different))
    for part in np.array_split(different, 100):
        made.add(part[None])
    assert made.limit < np.inf  # what cannot matter any more is not kept
    ordered = np.sort(different)
    beyond = np.sort(same)[::-1]
    rates = made.rates()
    for rate in RATES:
        allowed = int(rate * len(different))
        assert rates[f"TPR@FPR={rate:g}"] == pytest.approx((same < ordered[allowed]).mean(), abs=1e-9)
    # At 1e-2, 30 pairs of one person lie at or beyond the threshold; 1e-4 of 3,000 is nearest to none.
    expected = (different >= beyond[29]).mean()
    assert rates["fast-reid TPR@FPR=0.01"] == pytest.approx(expected, abs=2e-3)
    assert rates["fast-reid TPR@FPR=0.0001"] == 0


def single_shot(distances: Floats, query: Labels, gallery: Labels, order: Ints64) -> Ints64:
    own = len(gallery) + np.arange(len(gallery))
    persons = np.unique(np.where(gallery.identities < 0, own, gallery.identities), return_inverse=True)[1]
    return drawn_first(distances, protocols.meetings(MARKET, query, gallery), persons, order)


def test_worked_example_of_single_gallery_shot() -> None:
    gallery = labels([2, 7, 2, 7, 3], [0, 0, 0, 0, 0])
    distances = np.arange(5, dtype=np.float32)[None]
    query = labels([7], [1])
    orders = [[a, b, *(g for g in range(5) if g not in (a, b))] for a in (0, 2) for b in (1, 3)]
    ranks = [int(single_shot(distances, query, gallery, np.array(order))[0]) for order in orders]
    assert sorted(ranks) == [1, 2, 2, 2]
    assert score(found_in(distances, protocols.meetings(MARKET, query, gallery)))["mAP"] == 0.5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), num_gallery=st.integers(1, 60))
def test_single_gallery_shot_ranks_are_those_of_the_definition(seed: int, num_gallery: int) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = drawn(seed + 1, 4, 4), drawn(seed + 2, num_gallery, 6)
    distances = np.round(rng.random((4, num_gallery)), 1).astype(np.float32)
    order = rng.permutation(num_gallery)
    found = single_shot(distances, query, gallery, order)
    expected = [
        oracle.single_shot_rank(distances[q], entries(query)[q], entries(gallery), order.tolist())
        for q in range(4)
    ]
    assert found.tolist() == expected


def test_meetings_of_nobody_are_empty() -> None:
    made = protocols.meetings(MARKET, labels([], []), labels([], []))
    assert isinstance(made, Meetings)
    assert made.begin.tolist() == [0] and made.num_different(0) == 0


@pytest.mark.parametrize("columns", [0, 1, 5, 400])
def test_the_first_of_a_row_are_those_of_a_stable_sort(columns: int) -> None:
    rng = np.random.default_rng(columns)
    distances = rng.integers(0, 30, (12, columns)).astype(np.float32) / 8
    distances[::3] = distances[::3, ::-1]
    distances[1] = np.inf
    distances[2] = 0
    distances[3].sort()
    distances[4] = np.sort(distances[4])[::-1]
    for num in (0, 1, min(20, columns), columns):
        found = np.zeros((12, min(num, columns)), np.int32)
        metrics.first(distances, found)
        expected = np.argsort(distances, axis=1, kind="stable")[:, : found.shape[1]]
        assert np.array_equal(found, expected)
