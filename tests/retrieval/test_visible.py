"""Rows that end in masses of visible regions: distances, search, re-ranking and scores by what both show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from naic_reid.artifacts import Features, Floats
from naic_reid.errors import ReidError
from naic_reid.members import concatenated
from naic_reid.retrieval import distances, exact, nearest, search
from naic_reid.retrieval.distances import PLAIN, Member
from naic_reid.retrieval.k_reciprocal import Encoding, jaccard_rows
from naic_reid.retrieval.pseudo_labels import pseudo_labels
from naic_reid.retrieval.ranking import fuse, rank
from naic_reid.retrieval.rerank import Reranking, expanded
from naic_reid.retrieval.scoring import score, score_distances
from naic_reid.retrieval.vectors import Vectors, similarities
from tests.oracles import visible as oracle
from tests.retrieval.features import clustered

REGIONS, WIDTH = 3, 5


def _rows(seed: int, num: int, *, apart: bool = False) -> Floats:
    """float32 [num, 18]: clustered features times masses, some of these next to nothing, and the masses."""
    rng = np.random.default_rng(seed)
    features = clustered(seed, num, REGIONS * WIDTH).reshape(num, REGIONS, WIDTH)
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    masses = rng.uniform(0.2, 2, (num, REGIONS))
    masses[rng.random((num, REGIONS)) < (0.5 if apart else 0.2)] = 1e-6
    masses[:, 0] += 0 if apart else 0.5
    rows = np.concatenate([(features * masses[..., None]).reshape(num, -1), masses], 1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _dense(one: Floats, other: Floats) -> np.ndarray:
    """Squared distances by the loops."""
    plainly = [
        [(row[:-REGIONS].reshape(REGIONS, WIDTH).tolist(), row[-REGIONS:].tolist()) for row in rows]
        for rows in (one.astype(np.float64), other.astype(np.float64))
    ]
    return np.array([[oracle.distance(a, b) for b in plainly[1]] for a in plainly[0]])


QUERY, GALLERY = _rows(0, 12), _rows(0, 60)[12:]


def test_distances_are_those_of_the_loops_symmetric_and_zero_for_equal_images() -> None:
    expected = _dense(QUERY, GALLERY)
    np.testing.assert_allclose(2 - 2 * similarities(QUERY, GALLERY, REGIONS), expected, atol=2e-5)
    union = exact.rows(QUERY, GALLERY, REGIONS)
    measured = [[exact.cosine(union, i, 12 + j) for j in range(48)] for i in range(12)]
    np.testing.assert_allclose(2 - 2 * np.array(measured), expected, atol=1e-6)
    for i in range(12):
        assert exact.cosine(union, i, i) == pytest.approx(1, abs=2e-7)
        assert exact.cosine(union, i, 20) == exact.cosine(union, 20, i)


def test_a_region_that_one_image_does_not_show_plays_no_part() -> None:
    rows = _rows(1, 4)
    rows[0, -1] = rows[0, 2 * WIDTH : 3 * WIDTH] = 0
    before = similarities(rows[:1], rows[1:], REGIONS)
    rows[1:, 2 * WIDTH : 3 * WIDTH] *= -1
    np.testing.assert_array_equal(similarities(rows[:1], rows[1:], REGIONS), before)


def test_a_part_is_at_no_distance_from_its_whole_and_who_shares_nothing_is_a_stranger() -> None:
    whole = _rows(1, 1)[0]
    part, rest = whole.copy(), whole.copy()
    part[2 * WIDTH : 3 * WIDTH] = part[-1] = 0
    rest[: 2 * WIDTH] = 0
    rest[-3:-1] = 0
    found = similarities(np.stack([part]), np.stack([whole, rest]), REGIONS)
    np.testing.assert_allclose(found, [[1, 0]], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_the_length_of_rows_changes_nothing(scale: float) -> None:
    found = similarities(QUERY * np.float32(scale), GALLERY, REGIONS)
    np.testing.assert_allclose(found, similarities(QUERY, GALLERY, REGIONS), atol=1e-6)


@pytest.mark.parametrize("apart", [False, True])
def test_neighbours_are_those_of_all_pairs_measured(apart: bool) -> None:
    rows = _rows(2, 150, apart=apart)
    union = exact.rows(rows, rows[:0], REGIONS)
    cosines = exact.cosines(union, np.arange(150), np.tile(np.arange(150), (150, 1)))
    np.fill_diagonal(cosines, np.inf)  # itself is first
    order = np.argsort(-cosines, axis=1, kind="stable")
    found = search.k_nearest(rows[:50], rows[50:], 20, regions=REGIONS, memory=1 << 30)
    np.testing.assert_array_equal(found.rows, order[:, :20])
    np.fill_diagonal(cosines, 1)
    np.testing.assert_array_equal(found.farthest, 2 - 2 * cosines.min(1))
    small = nearest.Plan(block=16, whole=False, rounded=False)
    again = nearest.of_rows(Vectors(rows[:50], rows[50:], regions=REGIONS), 20, (0, 150), small)
    for one, other in zip(again, (found.rows, found.distances, found.farthest), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("apart", [False, True])
def test_torch_measures_to_the_same_bits(apart: bool) -> None:
    features = _rows(0, 60, apart=apart)
    rows, others = torch.arange(12), torch.arange(12, 60).expand(12, 48)
    ours, theirs = (
        Vectors(features[:12], features[12:], compiled=compiled, regions=REGIONS).measure(rows, others)
        for compiled in (True, False)
    )
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_ranking_and_reranking_are_those_of_dense_distances() -> None:
    best, near = rank(QUERY, GALLERY, 48, regions=REGIONS)
    dense = _dense(QUERY, GALLERY) / 2
    np.testing.assert_allclose(near, np.sort(dense, 1), atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(dense, best, 1), near, atol=1e-6)
    how = Reranking(6, 3, 0.3)
    _, reranked = rank(QUERY, GALLERY, 48, rerank=how, regions=REGIONS)
    union = np.concatenate([QUERY, GALLERY])
    found = search.k_nearest(QUERY, GALLERY, 60, regions=REGIONS, memory=1 << 30)
    jaccard = jaccard_rows(found, QUERY, GALLERY, Encoding(6, 3), regions=REGIONS)
    far = _dense(QUERY, union).max(1, keepdims=True)
    mixed = 0.7 * (1 - jaccard.similarity.toarray()) + 0.3 * 2 * dense / far
    np.testing.assert_allclose(reranked, np.sort(mixed, 1), atol=1e-5)


@pytest.mark.parametrize("rerank", [None, Reranking(6, 3, 0.3)])
def test_scores_are_those_of_dense_distances(rerank: Reranking | None) -> None:
    persons = np.random.default_rng(3).integers(0, 4, 60)
    found = score(QUERY, GALLERY, persons[:12], persons[12:], regions=REGIONS, rerank=rerank)
    order, near = rank(QUERY, GALLERY, 48, rerank=rerank, regions=REGIONS)
    dense = np.empty((12, 48), np.float32)
    np.put_along_axis(dense, order.astype(np.int64), near, 1)
    expected = score_distances(dense, persons[:12], persons[12:])
    for name in ("R1", "R5", "mAP", "mINP"):
        assert found[name] == pytest.approx(expected[name], abs=1e-9)


def test_the_sum_of_members_knows_each_ones_regions() -> None:
    plain = clustered(5, 60, 8)
    made = [
        Features(tuple(map(str, range(n))), rows, regions=REGIONS) for n, rows in ((12, QUERY), (48, GALLERY))
    ]
    _, near = fuse([(made[0], made[1]), (plain[:12], plain[12:])], best=48)
    summed = _dense(QUERY, GALLERY) / 2 + 1 - plain[:12].astype(np.float64) @ plain[12:].T
    np.testing.assert_allclose(near, np.sort(summed, 1), atol=1e-5)
    with pytest.raises(ReidError, match="query and gallery: features of"):
        rank(made[0], GALLERY)
    with pytest.raises(ReidError, match=r"set fuse\.of: distances"):
        concatenated([Member(QUERY, GALLERY, regions=REGIONS)])


def test_pseudo_labels_are_told_by_what_both_show() -> None:
    found = pseudo_labels([Member(QUERY, GALLERY, regions=REGIONS)], 0.6, max_queries=12, threads=1)
    cosines = 1 - _dense(GALLERY, QUERY) / 2
    np.testing.assert_allclose(np.cos(found.radians), cosines.max(1), atol=1e-5)
    near = np.eye(12, dtype=bool) | (1 - _dense(QUERY, QUERY) / 2 > np.cos(0.6))
    for _ in range(4):  # links of links
        near = near @ near
    expected = np.where(near.sum(1) > 1, near.argmax(1), -1)
    labelled = expected >= 0
    assert labelled.sum() > 3 and len(set(expected[labelled])) > 1
    np.testing.assert_array_equal(found.person[labelled], expected[labelled])
    assert (found.person[~labelled] != expected[labelled][:, None]).all()


def test_expanded_rows_are_sums_whose_distances_are_means_by_what_is_shared() -> None:
    query, _ = expanded(QUERY, GALLERY, 2, 0, regions=REGIONS, memory=1 << 30)
    near = search.k_nearest(QUERY, GALLERY, 2, regions=REGIONS, memory=1 << 30).rows[:12]
    union = np.concatenate([QUERY, GALLERY]).astype(np.float64)
    mean = union[near].sum(1)
    np.testing.assert_allclose(query, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


def test_files_tell_of_masses_and_others_keep_their_bytes(tmp_path: Path) -> None:
    names = tuple(map(str, range(12)))
    Features(names, QUERY, regions=REGIONS).write(tmp_path / "regions.npz")
    Features(names, QUERY).write(tmp_path / "plain.npz")
    assert Features.read(tmp_path / "regions.npz").regions == REGIONS
    assert Features.read(tmp_path / "plain.npz").regions == 0
    with np.load(tmp_path / "plain.npz") as held:
        assert sorted(held.files) == ["made_by", "names", "type", "values"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: exact.rows(QUERY, GALLERY, 18), "are not those of 18 regions"),
        (lambda: exact.rows(QUERY, GALLERY, 4), "are not those of 4 regions"),
        (lambda: exact.rows(QUERY, GALLERY, 2), r"query 0 \(from 0\) does not end in the masses"),
        (lambda: rank(QUERY, clustered(1, 9, 18), regions=REGIONS), "gallery [0-9]+ .from 0. does not end"),
        (lambda: Features(("a",), -QUERY[:1], regions=REGIONS), "masses from 0"),
        (lambda: Features(("a",), QUERY[:1], regions=18), "masses of regions beside features"),
    ],
)
def test_rows_without_masses_are_refused(made: Callable[[], object], message: str) -> None:
    with pytest.raises((ReidError, ValueError), match=message):
        made()


def test_the_bound_of_a_sum_holds() -> None:
    member = Member(QUERY, GALLERY, regions=REGIONS)
    made = distances.summed([member], PLAIN, 0, 12).double()
    near = torch.arange(48).expand(12, 48)
    apart = (made - member.measured(near, PLAIN, 0)).abs().amax(1)
    assert bool((apart <= member.error(PLAIN, 0, 12)).all())
