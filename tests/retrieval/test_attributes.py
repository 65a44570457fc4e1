"""Distances refined by attributes: the definition, its equalities, and weights that are learnt."""

import math

import numpy as np
import pytest

from naic_reid.retrieval.attributes import Refinement, differing, learnt


def rows(*given: list[float]) -> np.ndarray:
    return np.array(given, np.float32)


def test_a_bag_more_adds_its_weight() -> None:
    """p = (1, 0), q = (0, 0), α = (1, 1), β = γ = 0: +1."""
    how = Refinement(rows([1, 1])[0], *np.zeros((2, 2), np.float32))
    assert how.refined(rows([0.5]), rows([1, 0]), rows([0, 0])).tolist() == [[1.5]]


def test_the_sum_of_all_terms_by_loops() -> None:
    rng = np.random.default_rng(3)
    p, q, far = (rng.random(shape).astype(np.float32) for shape in ((3, 4), (5, 4), (3, 5)))
    how = Refinement(*rng.normal(size=(3, 4)).astype(np.float32))
    expected = far.astype(float)
    for i in range(3):
        for j in range(5):
            for at in range(4):
                apart, both = abs(p[i, at] - q[j, at]), p[i, at] * q[j, at]
                expected[i, j] += how.apart[at] * apart + how.both[at] * both + how.squared[at] * apart**2
    np.testing.assert_allclose(how.refined(far, p, q), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(how.refined(far.T, q, p), how.refined(far, p, q).T, rtol=1e-5, atol=1e-6)


def test_without_weights_a_distance_is_what_it_was_to_the_bit() -> None:
    rng = np.random.default_rng(4)
    far, p = rng.random((6, 6)).astype(np.float32), rng.random((6, 3)).astype(np.float32)
    assert np.array_equal(Refinement.none(3).refined(far, p, p), far)


@pytest.mark.parametrize(("true", "least"), [(True, 0.02), (False, -1.0)])
def test_weights_grow_where_attributes_tell_persons_apart(true: bool, least: float) -> None:
    """Distances tell nothing; of two attributes the first is the person's, the other is drawn anew."""
    rng = np.random.default_rng(5)
    persons = np.repeat(np.arange(2), 8)
    far = rng.random((16, 16)).astype(np.float32) * 0.05 + 0.5
    far = (far + far.T) / 2
    told = np.stack([persons if true else rng.integers(0, 2, 16), rng.integers(0, 2, 16)], 1)
    found = learnt(far, told.astype(np.float32), persons)
    assert found.apart[0] > least and (abs(found.apart[1]) < found.apart[0] or not true)
    assert np.array_equal(found.apart, learnt(far, told.astype(np.float32), persons).apart)


def test_persons_differ_where_both_are_known() -> None:
    known = np.array([[1, 2, 0], [1, 1, 3], [2, 1, 1]])
    assert differing(known).tolist() == [[0, 1, 2], [1, 0, 2], [2, 2, 0]]


def by_loops(
    far: np.ndarray, told: np.ndarray, persons: np.ndarray, counts: np.ndarray | None, margin: np.ndarray
) -> np.ndarray:
    """Weights after three steps of Adam at .003, each pair and term by itself."""
    num, terms = len(far), 3 * told.shape[1]
    weights, first, second = np.zeros((3, terms))

    def shown(i: int, j: int) -> np.ndarray:
        if counts is not None and (not counts[i, j] or persons[i] == persons[j]):
            return np.zeros(terms)
        p, q = told[i].astype(float), told[j].astype(float)
        return np.concatenate([abs(p - q), p * q, (p - q) ** 2])

    for step in (1, 2, 3):
        slope = np.zeros(terms)
        for i in range(num):
            whole = [far[i, j] + weights @ shown(i, j) for j in range(num)]
            own = max((j for j in range(num) if persons[j] == persons[i]), key=lambda j: whole[j])
            other = min(
                (j for j in range(num) if persons[j] != persons[i]), key=lambda j: whole[j] - margin[i, j]
            )
            if whole[own] - whole[other] + margin[i, other] > 0:
                slope += (shown(i, own) - shown(i, other)) / num
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        weights = weights - 0.003 * first / (1 - 0.9**step) / root
    return weights.reshape(3, -1)


@pytest.mark.parametrize("kind", ["plain", "label", "margin"])
def test_weights_are_learnt_as_by_loops_whichever_pairs_count_and_whatever_their_margin(kind: str) -> None:
    rng = np.random.default_rng(6)
    persons = np.repeat(np.arange(5), 3)
    far, told = rng.random((15, 15)).astype(np.float32), rng.random((15, 4)).astype(np.float32)
    apart = differing(rng.integers(1, 3, (5, 2))[persons])
    assert {0, 1, 2} <= {*apart[persons[:, None] != persons[None, :]].tolist()}
    counts = apart > 0 if kind == "label" else None
    margin = np.float32(0.1 + 0.9 * apart / 2) if kind == "margin" else 0.1
    found = learnt(far, told, persons, counts=counts, margin=margin, steps=3)
    expected = by_loops(far, told, persons, counts, np.broadcast_to(margin, far.shape))
    np.testing.assert_allclose([found.apart, found.both, found.squared], expected, atol=2e-5)
    if kind != "plain":
        other = learnt(far, told, persons, steps=3)
        assert not math.isclose(float(np.abs(other.apart - found.apart).max()), 0, abs_tol=1e-4)


def test_terms_that_count_for_nobody_teach_nothing() -> None:
    rng = np.random.default_rng(7)
    far, told = rng.random((6, 6)).astype(np.float32), rng.random((6, 2)).astype(np.float32)
    nobody = np.zeros((6, 6), np.bool_)
    found = learnt(far, told, np.repeat(np.arange(3), 2), counts=nobody)
    assert not any(each.any() for each in (found.apart, found.both, found.squared))
