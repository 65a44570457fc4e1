"""Pseudo-labels, against loops over all pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from naic_reid.retrieval.distances import Member
from naic_reid.retrieval.pseudo_labels import PseudoLabels, pseudo_labels
from tests.oracles import pseudo_labels as oracle


def _world(seed: int, num_query: int = 12, num_gallery: int = 30) -> tuple[list[Member], list[float]]:
    """Two members in which some persons are near, some of them with several queries."""
    rng = np.random.default_rng(seed)
    weights = [1.0, 2.5]
    persons = rng.normal(size=(8, 16))
    of_query, of_gallery = rng.integers(0, 8, num_query), rng.integers(0, 8, num_gallery)
    members = []
    for weight in weights:
        rows = [
            (persons[who] + rng.uniform(0.02, 0.12) * rng.normal(size=(len(who), 16))).astype(np.float32)
            for who in (of_query, of_gallery)
        ]
        members.append(Member(rows[0], rows[1], weight=weight))
    return members, weights


def _unit(values: NDArray[np.float32]) -> list[list[float]]:
    wide = values.astype(np.float64)
    rows: list[list[float]] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).tolist()
    return rows


def _persons(found: PseudoLabels) -> list[tuple[list[int], list[int]]]:
    return [
        (np.flatnonzero(found.person == first).tolist(),
         [g for g, q in enumerate(found.owner.tolist()) if q >= 0 and found.person[q] == first])
        for first in sorted(set(found.person.tolist()) - {-1})
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("gallery_rank", "max_queries"), [(None, 1), (3, 1), (1, 4), (10, 4), (10, 2)])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45])
def test_persons_are_those_of_the_loops(
    seed: int, gallery_rank: int | None, max_queries: int, threshold: float
) -> None:
    members, weights = _world(seed)
    query, gallery = (
        [_unit(getattr(member.vectors.union, role)) for member in members] for role in ("query", "gallery")
    )
    expected = oracle.pseudo_labels(query, gallery, weights, threshold, gallery_rank, max_queries)
    assert (
        _persons(
            pseudo_labels(members, threshold, gallery_rank=gallery_rank, max_queries=max_queries, threads=1)
        )
        == expected
    )


def test_the_worlds_above_show_what_the_rules_differ_in() -> None:
    members, _ = _world(0)
    counts = {
        (gallery_rank, max_queries): [
            len(shown)
            for shown in zip(
                *_persons(pseudo_labels(members, 0.3, gallery_rank=gallery_rank, max_queries=max_queries)),
                strict=True,
            )
        ]
        for gallery_rank, max_queries in ((None, 1), (1, 1), (10, 4))
    }
    assert len({str(count) for count in counts.values()}) == 3, counts


def test_of_two_equally_near_queries_the_first_is_taken() -> None:
    query = np.eye(3, 4, dtype=np.float32)[[1, 0, 0]]
    gallery = np.eye(3, 4, dtype=np.float32)[[0, 2]]
    found = pseudo_labels([Member(query, gallery)], 0.3)
    assert found.owner.tolist() == [1, -1]
    assert found.person.tolist() == [-1, 1, -1]


def test_the_angle_of_equal_images_is_that_of_the_largest_cosine() -> None:
    row = np.eye(1, 4, dtype=np.float32)
    found = pseudo_labels([Member(row, row)], 0.1)
    assert found.radians[0] == pytest.approx(np.arccos(1 - 1e-5), abs=1e-7)


def test_memory_changes_nothing() -> None:
    members, _ = _world(3)
    for one, other in zip(
        pseudo_labels(members, 0.3, gallery_rank=5, max_queries=4),
        pseudo_labels(members, 0.3, gallery_rank=5, max_queries=4, memory=1),
        strict=True,
    ):
        assert np.array_equal(one, other)
