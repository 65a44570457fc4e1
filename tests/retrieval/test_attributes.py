"""Distances refined by attributes: the definition, its equalities, and weights that are learnt."""

import numpy as np
import pytest

from naic_reid.retrieval.attributes import Refinement, learnt


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
