"""How sure a score is, and whether one is better than another: a bootstrap over identities.

Queries of one person stand or fall together, so whole persons are drawn, not queries: a cluster bootstrap
(Davison & Hinkley 1997, section 3.8). A draw takes as many persons as there are, with replacement; its
score is Σ of their queries' scores over the number of these queries. For a difference both recipes meet the
same draw (paired). Where a recipe was trained several times, its trainings are drawn, too, each recipe's for
themselves (the crossed bootstrap of Owen 2007), their deviations stretched by √(R / (R − 1)) (Rao & Wu 1988),
for R trainings vary less around their own mean than around the truth.

An interval lies between two percentiles of the draws. Percentiles at the nominal level are too narrow for
few persons; they are taken at Φ(−√(n / (n − 1)) · t), with Student's t of as many degrees of freedom as the
parts that vary have together (expanded percentile, Hesterberg 2015; Welch & Satterthwaite). n is how many
persons with equally many queries would tell as much: (Σ queries)² / Σ queries² (Kish 1965).

A p-value is the larger of two: the level at which the interval would just touch 0, and that of the exact
test that swaps the two recipes for each person (with more than 12 persons that differ, for drawn swaps). The
second minds the case that the first cannot: a handful of persons that differ, all in one direction by luck.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from naic_reid.retrieval.metrics import Doubles, Ints64

SCORES = ("R1", "mAP", "mINP")
LEVEL = 0.95
DRAWS = 2000
_PIECE = 1 << 22  # numbers of drawn persons held at once
_FEWEST = 1.5  # persons, by `Shares.effective`, of whom nothing can be said
_EXACT = 12  # persons whose swaps are all tried


class Shares(NamedTuple):
    """What each of P persons adds to S scores: a score is the sum of its totals over that of `counted`."""

    persons: Sequence[str]
    names: Sequence[str]
    """Of the scores [S]."""
    totals: Doubles
    """[P, S]"""
    counted: Doubles
    """Queries of each [P], none of them 0."""

    @property
    def scores(self) -> Doubles:
        """[S]"""
        found: Doubles = self.totals.sum(0) / self.counted.sum()
        return found

    @property
    def effective(self) -> float:
        """How many persons with equally many queries would tell as much."""
        return float(self.counted.sum() ** 2 / (self.counted**2).sum())


class Difference(NamedTuple):
    """One recipe's score less another's."""

    value: float
    low: float
    high: float
    p: float

    def verdict(self, level: float = LEVEL) -> str:
        """`better`, `worse`, or `not shown` where 0 cannot be excluded."""
        shown = self.p < 1 - level and not self.low <= 0 <= self.high
        return ("better" if self.value > 0 else "worse") if shown else "not shown"


def by_person(persons: Sequence[str], each: Mapping[str, Doubles]) -> Shares:
    """The queries' own scores [Q] summed by person; `counted` is among them, and who has none is left out."""
    known, of = np.unique(np.asarray(persons, np.str_), return_inverse=True)
    sums: dict[str, Doubles] = {
        name: np.bincount(of, values, len(known)).astype(np.float64) for name, values in each.items()
    }
    counted = sums.pop("counted")
    kept = counted > 0
    totals = np.stack([values[kept] for values in sums.values()], axis=1)
    return Shares(known[kept].tolist(), list(sums), totals, counted[kept])


def intervals(shares: Shares, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Doubles:
    """Lower and upper end of each score [S, 2]; of a single person nothing is known: 0 … 1.

    Where all persons score 1 (or 0) draws cannot differ: the end is then where persons who do not, had
    there been some, would have been missed with probability (1 − level) / 2.
    """
    num = len(shares.persons)
    if shares.effective < _FEWEST:
        return np.tile([0.0, 1.0], (len(shares.names), 1))
    drawn = np.concatenate([part @ shares.totals / (part @ shares.counted)[:, None]
                            for part in _drawn(num, draws, seed)])  # fmt: skip
    ends: Doubles = np.quantile(drawn, _tails(level, shares.effective, shares.effective - 1), axis=0).T
    missed = ((1 - level) / 2) ** (1 / num)
    ends[shares.scores >= 1, 0] = missed
    ends[shares.scores <= 0, 1] = 1 - missed
    return ends


def differences(
    one: Sequence[Shares], other: Sequence[Shares], *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> list[Difference]:
    """The scores of `one` less those of `other`, each a recipe's trainings, by name of the score.

    Args:
        one: of every training; persons and their number of queries are those of all the others.
        other: likewise.
        level: of the intervals.
        draws: of persons and trainings.
        seed: of the draws.
    """
    first = one[0]
    num = len(first.persons)
    total = first.counted.sum()
    sides = [np.stack([shares.totals for shares in side]) for side in (one, other)]  # [R, P, S]
    means = [side.mean(0) for side in sides]
    values = (means[0] - means[1]).sum(0) / total
    if first.effective < _FEWEST:
        return [Difference(float(value), -1.0, 1.0, 1.0) for value in values]
    weights = [_trainings(len(side), draws, [seed, place]) for place, side in enumerate(sides, start=1)]
    joint, paired, at = [], [], 0
    for part in _drawn(num, draws, seed):
        counted = (part @ first.counted)[:, None]
        paired.append(part @ (means[0] - means[1]) / counted)
        drawn = [np.einsum("rbs,br->bs", part @ side, of[at : at + len(part)])
                 for side, of in zip(sides, weights, strict=True)]  # fmt: skip
        joint.append((drawn[0] - drawn[1]) / counted)
        at += len(part)
    found, alone = np.concatenate(joint), np.concatenate(paired)
    judged = []
    for s in range(len(first.names)):
        trainings = [side[:, :, s].sum(1) / total for side in sides]
        freedom = _freedom(alone[:, s], trainings, first.effective)
        judged.append(_judged(values[s], found[:, s], freedom, (means[0] - means[1])[:, s], level, seed))
    return judged


def _judged(
    value: float, drawn: Doubles, freedom: tuple[float, float], apart: Doubles, level: float, seed: int
) -> Difference:
    low, high = np.quantile(drawn, _tails(level, *freedom))
    beyond = (1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))) / (1 + len(drawn))
    stretch = np.sqrt(freedom[0] / (freedom[0] - 1))
    p = min(1.0, 2 * float(stdtr(freedom[1], ndtri(min(beyond, 0.5)) / stretch)))
    return Difference(float(value), float(low), float(high), max(p, _swapped(apart, len(drawn), seed)))


def _freedom(persons: Doubles, trainings: Sequence[Doubles], num: float) -> tuple[float, float]:
    """Persons, and the degrees of freedom of what varies: the persons and each recipe's trainings."""
    parts = [(float(persons.var()), num - 1.0)]
    parts += [(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in trainings if len(side) > 1]
    below = sum(variance**2 / free for variance, free in parts)
    return num, (sum(variance for variance, _ in parts) ** 2 / below if below > 0 else num - 1)


def _tails(level: float, num: float, freedom: float) -> Doubles:
    """The two percentiles, as fractions, between which an interval of this level lies."""
    tail = ndtr(np.sqrt(num / (num - 1)) * stdtrit(freedom, (1 - level) / 2))
    return np.array([tail, 1 - tail])


def _swapped(apart: Doubles, draws: int, seed: int) -> float:
    """Of swaps of the two recipes for each person, the share that sets them as far apart as they are."""
    apart = apart[apart != 0]
    if not len(apart):
        return 1.0
    exact = len(apart) <= _EXACT
    signs = _all_signs(len(apart)) if exact else _drawn_signs(len(apart), draws, seed)
    seen = abs(apart.sum()) * (1 - 1e-9)
    as_far = int((np.abs(signs @ apart) >= seen).sum())
    return as_far / len(signs) if exact else (1 + as_far) / (1 + len(signs))


def _drawn(num: int, draws: int, seed: int) -> Iterator[Doubles]:
    """How often each of `num` persons is in each draw, [B, num] at a time."""
    piece = max(1, _PIECE // num)
    if draws <= piece:
        yield _few(num, draws, seed)
        return
    rng = np.random.default_rng([seed, num])
    for start in range(0, draws, piece):
        yield _counts(rng, num, min(piece, draws - start))


@lru_cache(maxsize=4)
def _few(num: int, draws: int, seed: int) -> Doubles:
    return _counts(np.random.default_rng([seed, num]), num, draws)


def _counts(rng: np.random.Generator, num: int, draws: int) -> Doubles:
    places = rng.integers(num, size=(draws, num)) + num * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * num).reshape(draws, num).astype(np.float64)


def _trainings(num: int, draws: int, seed: list[int]) -> Doubles:
    """Weights of a recipe's trainings in each draw [draws, num], of sum 1."""
    counts = _counts(np.random.default_rng([*seed, num]), num, draws)
    stretch = np.sqrt(num / (num - 1)) if num > 1 else 0.0
    weights: Doubles = (1 + stretch * (counts - 1)) / num
    return weights


@lru_cache(maxsize=4)
def _all_signs(num: int) -> Doubles:
    bits = np.arange(1 << num)[:, None] >> np.arange(num) & 1
    return _signs(bits)


@lru_cache(maxsize=4)
def _drawn_signs(num: int, draws: int, seed: int) -> Doubles:
    return _signs(np.random.default_rng([seed, num, 1]).integers(2, size=(draws, num)))


def _signs(bits: Ints64) -> Doubles:
    return 2 * bits.astype(np.float64) - 1
