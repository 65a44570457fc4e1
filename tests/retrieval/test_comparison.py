"""Intervals and differences: right as often as they say, and the hand-made cases."""

import numpy as np
import pytest

from naic_reid.retrieval.comparison import Shares, by_person, differences, intervals
from naic_reid.retrieval.metrics import Doubles

WORLDS = 1500


def shares(totals: Doubles, counted: Doubles) -> Shares:
    persons = [str(person) for person in range(len(counted))]
    return Shares(persons, ["AP"], totals[:, None], counted)


def of_equal_recipes(
    rng: np.random.Generator, counted: Doubles, trainings: int, spread: float
) -> list[list[Shares]]:
    """Two recipes that differ by luck alone: persons are hard for both, or for one."""
    hard = rng.normal(size=len(counted))
    made = []
    for _ in range(2):
        liking, side = rng.normal(size=len(counted)), []
        for _ in range(trainings):
            logit = 1 + hard + 0.5 * liking + spread * rng.normal()
            side.append(shares(counted / (1 + np.exp(-logit)), counted))
        made.append(side)
    return made


def world(rng: np.random.Generator, persons: int) -> Doubles:
    """How many queries each person has."""
    return rng.integers(1, 6, persons).astype(np.float64)


@pytest.mark.parametrize(("persons", "trainings", "spread"), [(12, 1, 0.0), (40, 1, 0.0), (40, 3, 0.4)])
def test_equal_recipes_are_told_apart_in_a_twentieth_of_the_worlds(
    persons: int, trainings: int, spread: float
) -> None:
    rng = np.random.default_rng(persons + trainings)
    alarms = outside = 0
    for _ in range(WORLDS):
        found = differences(*of_equal_recipes(rng, world(rng, persons), trainings, spread), draws=600)[0]
        alarms += found.verdict() != "not shown"
        outside += not found.low <= 0 <= found.high
    assert abs(alarms / WORLDS - 0.05) <= 0.015
    assert abs(outside / WORLDS - 0.05) <= 0.015


def test_a_few_persons_that_differ_by_luck_raise_no_more_alarms() -> None:
    rng = np.random.default_rng(0)
    counted, alarms = np.ones(50), 0
    for _ in range(WORLDS):
        luck = rng.random((2, 50)) < 0.05  # each recipe misses two or three of 50 persons
        found = differences(*([shares(1.0 - one, counted)] for one in luck), draws=600)[0]
        alarms += found.verdict() != "not shown"
    assert alarms / WORLDS <= 0.065


def test_an_interval_holds_the_truth_in_nineteen_of_twenty_worlds() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(WORLDS):
        counted = world(rng, 30)
        ((low, high),) = intervals(shares(counted * rng.beta(4, 2, 30), counted), draws=600)
        held += low <= 4 / 6 <= high
    assert abs(held / WORLDS - 0.95) <= 0.015


def test_queries_of_a_person_go_together() -> None:
    """Twice as many queries of the same persons say nothing new."""
    counted, totals = np.ones(20), np.linspace(0.2, 1, 20)
    once, twice = (intervals(shares(k * totals, k * counted)) for k in (1, 2))
    np.testing.assert_allclose(once, twice)
    found = by_person(
        ["b", "a", "b", "c"], {"counted": np.array([1.0, 1, 1, 0]), "R1": np.array([1.0, 0, 1, 0])}
    )
    assert found.persons == ["a", "b"] and found.totals.tolist() == [[0], [2]]
    assert found.counted.tolist() == [1, 2] and found.scores == pytest.approx([2 / 3])


def test_where_nobody_fails_the_interval_says_how_many_could_have_been_missed() -> None:
    """With 14 persons, 23 % of people may fail and none of 14 do in one of 40 worlds: 0.77¹⁴ = 0.025."""
    ((low, high),) = intervals(shares(np.ones(14), np.ones(14)))
    assert low == pytest.approx(0.025 ** (1 / 14)) and high == 1
    ((low, high),) = intervals(shares(np.zeros(14), np.ones(14)))
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 14))
    assert intervals(shares(np.ones(1), np.ones(1))).tolist() == [[0, 1]]


def test_two_persons_by_hand() -> None:
    """Of two persons, draws are (a, a), (a, b), (b, a), (b, b): nothing is shown, the swaps say p = 1/2."""
    counted = np.ones(2)
    (found,) = differences([shares(np.array([0.9, 0.8]), counted)], [shares(np.array([0.5, 0.6]), counted)])
    assert found.value == pytest.approx(0.3) and found.low == pytest.approx(0.2)
    assert found.high == pytest.approx(0.4)
    assert found.p == pytest.approx(0.5) and found.verdict() == "not shown"


def test_four_persons_all_in_one_direction_are_not_enough() -> None:
    counted = np.ones(60)
    better = np.ones(60)
    worse = better - (np.arange(60) < 4)
    (found,) = differences([shares(better, counted)], [shares(worse, counted)])
    assert found.p == pytest.approx(2 / 2**4) and found.verdict() == "not shown"
    worse = better - (np.arange(60) < 8)
    (found,) = differences([shares(better, counted)], [shares(worse, counted)])
    assert found.verdict() == "better" and found.low > 0
    (found,) = differences([shares(worse, counted)], [shares(better, counted)])
    assert found.verdict() == "worse" and found.value == pytest.approx(-8 / 60)


def test_a_recipe_against_itself_does_not_differ() -> None:
    one = [shares(np.linspace(0, 1, 9), np.ones(9))]
    (found,) = differences(one, one)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_trainings_that_disagree_widen_the_interval() -> None:
    counted = np.ones(200)
    alike = [shares(np.full(200, 0.8), counted) for _ in range(3)]
    apart = [shares(np.full(200, score), counted) for score in (0.7, 0.8, 0.9)]
    (narrow,), (wide,) = (differences(side, [shares(np.full(200, 0.6), counted)]) for side in (alike, apart))
    assert narrow.value == pytest.approx(wide.value) == pytest.approx(0.2)
    assert wide.high - wide.low > 0.1 > narrow.high - narrow.low


def test_many_persons_in_pieces_give_what_few_draws_do(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    counted = world(rng, 50)
    sides = [[shares(counted * rng.random(50), counted)] for _ in range(2)]
    whole = differences(*sides)[0], intervals(sides[0][0])
    monkeypatch.setattr("naic_reid.retrieval.comparison._PIECE", 50 * 300)
    pieces = differences(*sides)[0], intervals(sides[0][0])
    assert pieces[0][1:3] == pytest.approx(whole[0][1:3], abs=0.02)
    np.testing.assert_allclose(pieces[1], whole[1], atol=0.02)
