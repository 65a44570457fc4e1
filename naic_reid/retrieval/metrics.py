"""CMC, mean average precision, mINP and TPR at FPR, by counting what stands before each positive.

No ranking is sorted. The rank of a positive is one more than the number of valid gallery rows that are
nearer, or as near and of a lower index; whoever stands before it, right or wrong, counts. Which rows are
valid for a query is `Meetings`, which `protocols` makes from a rule.

AP: (1/R) · Σ over hits of the precision at the hit, R the positives. With trapezoids (the evaluation of
Oxford and layumi's): each hit adds the mean of the precision at it and just before it, 1 at the head of the
list. AP@200 sums the hits among the first 200 and divides by min(R, 200). mINP: mean of R / rank of the last
hit (Ye et al. 2021). R1, R5, R10 (CMC): share of queries with a hit among the first k.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from naic_reid.artifacts import Floats, Ints

CUT = 200  # names a submission lists
RATES = (1e-4, 1e-3, 1e-2)  # false-positive rates at which the true-positive rate is told
MOST_PAIRS = 1 << 31  # of different persons: their nearest hundredth is kept
_SPARE = 1 << 20  # distances taken in one go
_WINDOW = 8  # positives looked at on each side of such a rate

Ints64 = NDArray[np.int64]
Doubles = NDArray[np.float64]


class Meetings(NamedTuple):
    """Which gallery rows are right for each query and which it never meets; all others are wrong."""

    positives: Ints
    """Gallery rows of the queries' positives, query after query."""
    begin: Ints64
    """[Q + 1] where each query's positives begin, and the end."""
    left_out: Ints
    """Gallery rows that a query never meets, query after query; `junk` excepted."""
    left_begin: Ints64
    """[Q + 1] where each query's `left_out` begin, and the end."""
    junk: Ints
    """Gallery rows that no query meets."""

    def of(self, start: int, stop: int) -> "Meetings":
        """Those of queries start … stop."""
        first, last = self.begin[start], self.begin[stop]
        left_first, left_last = self.left_begin[start], self.left_begin[stop]
        return Meetings(
            self.positives[first:last],
            self.begin[start : stop + 1] - first,
            self.left_out[left_first:left_last],
            self.left_begin[start : stop + 1] - left_first,
            self.junk,
        )

    def num_different(self, num_gallery: int) -> int:
        """Pairs of a query and a gallery row of somebody else that the rule leaves."""
        pairs = (len(self.begin) - 1) * (num_gallery - len(self.junk))
        return pairs - len(self.positives) - len(self.left_out)


@dataclass(frozen=True)
class Hits:
    """Where each query's positives stand in its full ranking; every array has one entry a query."""

    positives: Ints64
    """R: positives in the gallery that was searched, after the rule."""
    first: Ints64
    """Rank of the first hit, from 1; 0 where there is none."""
    last: Ints64
    """Rank of the last hit; 0 where there is none."""
    precisions: Doubles
    """Sum over hits of the precision at the hit."""
    precisions_cut: Doubles
    """The same over the first 200 ranks."""
    trapezoids: Doubles
    """Sum over hits of the mean of the precision at the hit and just before it."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The queries of all parts, one after another."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def empty(cls) -> Self:
        """No queries."""
        none = np.zeros(0, np.int64)
        return cls(none, none, none, np.zeros(0), np.zeros(0), np.zeros(0))


def positives_of(distances: Floats, meetings: Meetings) -> Floats:
    """Distances of a block's positives [len(meetings.positives)], query after query."""
    of = np.repeat(np.arange(len(distances)), np.diff(meetings.begin))
    found: Floats = distances[of, meetings.positives]
    return found


def count(distances: Floats, first: int, same: Floats, meetings: Meetings) -> Ints64:
    """How many wrong gallery rows of those given stand before each positive; equal distances by index.

    Args:
        distances: float32 [B, S] to gallery rows first … first + S − 1. Changed in place: whatever is no
            pair of a query and somebody else that the rule leaves becomes infinite.
        first: see above.
        same: distances of the positives, as of `positives_of`.
        meetings: of these queries.
    """
    nearer = np.zeros(len(meetings.positives), np.int64)
    _count(distances, first, same, meetings, nearer)
    return nearer


def near_positives(
    distances: Floats, first: int, same: Floats, meetings: Meetings, slack: float
) -> tuple[Ints64, Ints64]:
    """Which distances, by query and column, are within `slack` of one of their query's positives.

    Arguments are those of `count`; what it makes infinite becomes so, and is not among them.
    """
    found: tuple[Ints64, Ints64] = _near_positives(distances, first, same, meetings, slack)
    return found


def hits(nearer: Ints64, meetings: Meetings) -> Hits:
    """Where the positives of queries stand, by how many wrong gallery rows stand before each."""
    return Hits(*_hits(nearer, meetings.begin, CUT))


@njit(nogil=True, cache=True)
def first(distances: Floats, indices: NDArray[np.int32]) -> None:
    """The nearest columns of each row of `distances` [B, G], equal ones by index, into `indices` [B, R ≤ G].

    For few: each column is compared with the last of them, and put in its place among them if it is nearer.
    """
    num = indices.shape[1]
    for row in range(len(distances) if num else 0):
        values, best = distances[row], indices[row]
        held = 0
        limit = np.float32(np.inf)
        for column in range(len(values)):
            value = values[column]
            if held == num and not value < limit:
                continue
            place = held if held < num else num - 1
            held = min(held + 1, num)
            while place > 0 and value < values[best[place - 1]]:
                best[place] = best[place - 1]
                place -= 1
            best[place] = column
            limit = values[best[held - 1]]


def drawn_first(distances: Floats, meetings: Meetings, persons: Ints64, order: Ints64) -> Ints64:
    """Rank of each query's positive when every person has one image: of those it meets the first in `order`.

    Args:
        distances: float32 [B, G].
        meetings: of these queries.
        persons: [G] who is on each gallery image, as numbers 0 … G − 1; a distractor is a person of its own.
        order: [G] a permutation of the gallery.

    Returns:
        [B] ranks from 1; 0 where a query has no positive.
    """
    found: Ints64 = _drawn_first(distances, *meetings, persons, order)
    return found


def score(
    found: Hits, elsewhere: Ints64 | None = None, *, trapezoid: bool = False, all_queries: bool = False
) -> dict[str, float | int]:
    """The scores as fractions: R1, R5, R10, mAP, mAP@200, mINP, and how many queries were valid.

    Args:
        found: hits of the queries.
        elsewhere: [Q] positives that lie in galleries a query is not ranked against. They count in R and
            are never found: AP loses their share, and the last hit of such a query is never reached.
        trapezoid: mAP with trapezoids.
        all_queries: queries without a positive count, as 0.
    """
    own = each(found, elsewhere, trapezoid=trapezoid)
    valid = own.pop("counted") > 0
    num_valid = int(valid.sum())
    num = max(len(valid) if all_queries else num_valid, 1)
    return {"queries": num_valid} | {name: float(values[valid].sum() / num) for name, values in own.items()}


def each(
    found: Hits, elsewhere: Ints64 | None = None, *, trapezoid: bool = False, all_queries: bool = False
) -> dict[str, Doubles]:
    """Every query's own scores [Q], by the names of their means; `counted` is 1, or 0 where it has none.

    Arguments are those of `score`: with `all_queries` each is counted.
    """
    lost = np.zeros_like(found.positives) if elsewhere is None else elsewhere
    total = found.positives + lost
    counted, share = ((total > 0) | all_queries).astype(np.float64), np.maximum(total, 1)
    complete = (found.positives > 0) & (lost == 0)
    hit_within = {f"R{k}": ((found.first > 0) & (found.first <= k)).astype(np.float64) for k in (1, 5, 10)}
    return {
        "counted": counted,
        **hit_within,
        "mAP": (found.trapezoids if trapezoid else found.precisions) / share,
        "mAP@200": found.precisions_cut / np.minimum(share, CUT),
        "mINP": np.where(complete, total, 0) / np.maximum(found.last, 1),
    }


class Roc:
    """True-positive rates at small false-positive rates, from all pairs that the rule leaves, block by block.

    `TPR@FPR=x` is verification's usual number: of the n pairs of different persons a = ⌊x·n⌋ may pass, so
    the threshold is the (a + 1)-th smallest of their distances, and the value is the share of the pairs of
    one person that are nearer. `fast-reid TPR@FPR=x` is what fast-reid prints under that name: there the
    roles are swapped (a pair "of different persons" is what counts as found), so x is the share of
    pairs of one person at or beyond a threshold and the value the share of pairs of different persons
    there, at the nearest point of scikit-learn's `roc_curve`.

    Args:
        same: float32 [P] distances of all pairs of one person.
        num_different: how many pairs of different persons `add` will be given.
    """

    def __init__(self, same: Floats, num_different: int):
        self.same = np.sort(same)
        self.num_different = num_different
        self.kept = min(num_different, int(max(RATES) * num_different) + 1)
        self.limit = np.float32(np.inf)  # of distances kept, those above it play no part
        self.near = np.empty(self.kept + self.kept // 2 + _SPARE, np.float32)
        self.num_near = 0
        farthest = np.unique(self.same)[::-1]  # thresholds of fast-reid's curve, in its order
        counts = len(same) - np.searchsorted(self.same, farthest)
        around = np.searchsorted(counts, [round(rate * len(same)) for rate in RATES])
        chosen = {int(k) for at in around for k in range(at - _WINDOW, at + _WINDOW + 2)}
        self.num_thresholds = len(farthest)
        self.chosen = np.array(sorted(k for k in chosen if 0 <= k < len(farthest)), np.int64)
        self.thresholds, self.counts = farthest[self.chosen], counts[self.chosen]
        self.below, self.not_above = np.zeros((2, len(self.chosen)), np.int64)
        apart = np.flatnonzero(np.diff(self.chosen) > 1) + 1
        self.windows = len(self.chosen) - np.append(len(self.chosen), np.append(apart[::-1], 0))
        self.lock = Lock()

    def add(self, different: Floats) -> None:
        """A block [B, G] of distances of different persons; whatever is no such pair is infinite."""
        below, not_above = np.zeros((2, len(self.chosen)), np.int64)
        if len(self.chosen):
            _add_counts(different, self.thresholds[::-1].copy(), self.windows, below, not_above)
        with self.lock:
            self.below += below[::-1]
            self.not_above += not_above[::-1]
        step = max(1, _SPARE // max(different.shape[1], 1))  # few rows: the limit falls with the first
        for start in range(0, len(different), step):
            self._take(_near(different[start : start + step], self.limit))

    def _take(self, near: Floats) -> None:
        with self.lock:
            for start in range(0, len(near), _SPARE):
                part = near[start : start + _SPARE]
                self.near[self.num_near : self.num_near + len(part)] = part
                self.num_near += len(part)
                if self.num_near + _SPARE > len(self.near):
                    self._forget()

    def _forget(self) -> None:
        """Keep the smallest that may matter."""
        if self.num_near > self.kept > 0:
            self.near[: self.num_near].partition(self.kept - 1)
            self.num_near = self.kept
            self.limit = self.near[: self.kept].max()

    def rates(self) -> dict[str, float]:
        """Both kinds of rate by name, as fractions; 0 where there are no pairs of one person or of two."""
        found: dict[str, float] = {}
        for rate, threshold in zip(RATES, self.limits(), strict=True):
            passed = np.searchsorted(self.same, np.float32(threshold))
            found[f"TPR@FPR={rate:g}"] = float(passed / max(len(self.same), 1))
        for rate in RATES:
            found[f"fast-reid TPR@FPR={rate:g}"] = self._swapped(rate)
        return found

    def limits(self) -> list[float]:
        """For each of `RATES` the distance below which pairs of different persons pass at that rate."""
        near = np.sort(self.near[: self.num_near])
        allowed = [int(np.floor(rate * self.num_different)) for rate in RATES]
        return [float(near[at]) if at < len(near) else float("inf") for at in allowed]

    def _swapped(self, rate: float) -> float:
        """The curve begins at (0, 0); points on a straight line between others are not on it."""
        if not len(self.same) or not self.num_different:
            return 0.0
        below, not_above = self.below, self.not_above
        farther = len(self.same) - np.searchsorted(self.same, self.thresholds, "right")
        same, different = (
            self.counts - farther,
            not_above - below,
        )  # what the curve takes in at each threshold
        known = np.diff(self.chosen, append=-1) == 1  # the next threshold is the next pair of one person
        alone = np.append(below[:-1] > not_above[1:], False)  # pairs of two persons lie between these two
        bends = np.append((same[:-1] != same[1:]) | (different[:-1] != different[1:]), False)
        begins = (self.chosen == 0) & (not_above == self.num_different)
        ends = self.chosen == self.num_thresholds - 1
        on_curve = begins | ends | known & (alone | bends)
        rates = np.append(0.0, self.counts[on_curve] / len(self.same))
        values = np.append(0.0, (self.num_different - below[on_curve]) / self.num_different)
        return float(values[np.argmin(np.abs(rates - rate))])


class Histogram:
    """How many pairs of one person, and of two, lie at which distance, block by block.

    Args:
        top: the largest distance there can be; the bins are equal parts of 0 … top.
        bins: how many.
    """

    def __init__(self, top: float, bins: int = 400):
        self.top = top
        self.same, self.different = np.zeros((2, bins), np.int64)
        self.lock = Lock()

    def add(self, same: Floats, different: Floats) -> None:
        """Distances of one person's pairs [P], and of two persons' [B, G]; infinite ones are no pairs."""
        parts = []
        for values, counts in ((same[None], self.same), (different, self.different)):
            parts.append(np.zeros_like(counts))
            _add_binned(values, np.float32(len(counts) / self.top), parts[-1])
        with self.lock:
            self.same += parts[0]
            self.different += parts[1]


@njit(nogil=True, cache=True)
def _add_binned(block, scale, counts):  # type: ignore[no-untyped-def]
    last = len(counts) - 1
    for row in block:
        for value in row:
            if value < np.inf:
                counts[min(max(np.int64(value * scale), 0), last)] += 1


@njit(nogil=True, cache=True)
def _count(distances, first, same, meetings, nearer):  # type: ignore[no-untyped-def]
    positives, begin = meetings[:2]
    num = distances.shape[1]
    values, columns, hit = np.empty(num, np.float32), np.empty(num, np.int32), _marks(num)
    for q in range(len(distances)):
        row = distances[q]
        _set_apart(row, first, q, meetings)
        if begin[q] == begin[q + 1]:
            continue
        # Most rows are farther than the farthest positive, and play no part.
        kept = _between(row, -np.inf, same[begin[q] : begin[q + 1]].max(), values, columns, hit)
        for e in range(begin[q], begin[q + 1]):
            own = np.searchsorted(columns[:kept], positives[e] - first)
            nearer[e] = _num_at_most(values[:own], same[e]) + _num_below(values[own:kept], same[e])


@njit(nogil=True, cache=True)
def _set_apart(row, first, q, meetings):  # type: ignore[no-untyped-def]
    """Whatever is no pair of query q and somebody else that the rule leaves becomes infinite."""
    positives, begin, left_out, left_begin, junk = meetings
    left = left_out[left_begin[q] : left_begin[q + 1]]
    for rows in (positives[begin[q] : begin[q + 1]], left, junk):
        for c in rows:
            if first <= c < first + len(row):
                row[c - first] = np.inf


@njit(nogil=True, cache=True)
def _near_positives(distances, first, same, meetings, slack):  # type: ignore[no-untyped-def]
    begin = meetings[1]
    num = distances.shape[1]
    values, columns, hit = np.empty(num, np.float32), np.empty(num, np.int32), _marks(num)
    near, places = np.empty(num, np.float32), np.empty(num, np.int32)
    queries, found = np.empty(num, np.int64), np.empty(num, np.int64)
    at = 0
    for q in range(len(distances)):
        _set_apart(distances[q], first, q, meetings)
        own = np.sort(same[begin[q] : begin[q + 1]])
        if len(own) == 0:
            continue
        # Most rows are farther than the farthest positive.
        kept = _between(distances[q], own[0] - slack, own[-1] + slack, values, columns, hit)
        if at + kept > len(found):
            queries = np.concatenate((queries, np.empty(len(queries) + kept, np.int64)))
            found = np.concatenate((found, np.empty(len(found) + kept, np.int64)))
        start, marks = 0, hit[: (kept + 7) // 8 * 8]
        for last in range(len(own)):
            if last + 1 < len(own) and own[last + 1] - own[last] <= 2 * slack:
                continue  # one range with the next
            num_near = _between(values[:kept], own[start] - slack, own[last] + slack, near, places, marks)
            for c in places[:num_near]:
                queries[at], found[at] = q, columns[c]
                at += 1
            start = last + 1
    return queries[:at].copy(), found[:at].copy()


@njit(nogil=True, cache=True)
def _hits(nearer, begin, cut):  # type: ignore[no-untyped-def]
    num_query = len(begin) - 1
    num, first, last = np.diff(begin), np.zeros(num_query, np.int64), np.zeros(num_query, np.int64)
    precisions, precisions_cut, trapezoids = np.zeros(num_query), np.zeros(num_query), np.zeros(num_query)
    for q in range(num_query):
        ranks = np.sort(nearer[begin[q] : begin[q + 1]]) + np.arange(1, num[q] + 1)
        for h in range(len(ranks)):
            precision = (h + 1) / ranks[h]
            before = h / (ranks[h] - 1) if ranks[h] > 1 else 1.0
            precisions[q] += precision
            trapezoids[q] += (precision + before) / 2
            if ranks[h] <= cut:
                precisions_cut[q] += precision
        if len(ranks):
            first[q], last[q] = ranks[0], ranks[-1]
    return num, first, last, precisions, precisions_cut, trapezoids


@njit(nogil=True, cache=True)
def _drawn_first(distances, positives, begin, left_out, left_begin, junk, persons, order):  # type: ignore[no-untyped-def]
    ranks = np.zeros(len(distances), np.int64)
    right = np.full(len(order), -1)  # of which query last; so the two below
    skipped, seen = right.copy(), right.copy()
    skipped[junk] = len(distances)
    for q in range(len(distances)):
        right[positives[begin[q] : begin[q + 1]]] = q
        for c in left_out[left_begin[q] : left_begin[q + 1]]:
            if skipped[c] < len(distances):
                skipped[c] = q
        drawn, mine = np.empty(len(order), np.int64), -1
        num = 0
        for c in order:
            if skipped[c] == q or skipped[c] == len(distances) or seen[persons[c]] == q:
                continue
            seen[persons[c]] = q
            drawn[num] = c
            num += 1
            if right[c] == q:
                mine = c
        if mine >= 0:
            row = distances[q]
            for c in drawn[:num]:
                ranks[q] += row[c] < row[mine] or (row[c] == row[mine] and c <= mine)
    return ranks


# The compiler makes vector instructions of these two: an unsigned index cannot be negative, and the count
# is as wide as what is compared.


@njit(nogil=True, cache=True)
def _num_below(values, limit):  # type: ignore[no-untyped-def]
    found = np.int32(0)
    for c in range(np.uint64(len(values))):
        found += np.int32(values[c] < limit)
    return found


@njit(nogil=True, cache=True)
def _num_at_most(values, limit):  # type: ignore[no-untyped-def]
    found = np.int32(0)
    for c in range(np.uint64(len(values))):
        found += np.int32(values[c] <= limit)
    return found


@njit(nogil=True, cache=True)
def _marks(num):  # type: ignore[no-untyped-def]
    """Room for a mark a value, in whole words of eight."""
    return np.zeros((num + 7) // 8 * 8, np.bool_)


@njit(nogil=True, cache=True)
def _between(row, low, high, values, columns, hit):  # type: ignore[no-untyped-def]
    """How many values of a row lie in low … high; they and their columns are put into the arrays."""
    low, high = np.float32(low), np.float32(high)
    for c in range(np.uint64(len(row))):  # no branches: the compiler makes vector instructions of this
        hit[c] = (row[c] >= low) & (row[c] <= high)
    words = hit.view(np.uint64)
    kept = 0
    for word in range(len(words)):
        if words[word] == 0:
            continue
        for c in range(8 * word, min(8 * word + 8, len(row))):
            if hit[c]:
                values[kept], columns[kept] = row[c], c
                kept += 1
    return kept


@njit(nogil=True, cache=True)
def _near(block, limit):  # type: ignore[no-untyped-def]
    """The finite values of a block that are not above the limit."""
    limit = min(limit, np.finfo(np.float32).max)
    num = block.shape[1]
    values, columns, hit = np.empty(num, np.float32), np.empty(num, np.int32), _marks(num)
    out = np.empty(num, np.float32)
    at = 0
    for row in block:
        kept = _between(row, -np.inf, limit, values, columns, hit)
        if at + kept > len(out):
            out = np.concatenate((out, np.empty(len(out) + kept, np.float32)))
        out[at : at + kept] = values[:kept]
        at += kept
    return out[:at].copy()


@njit(nogil=True, cache=True)
def _add_counts(block, thresholds, ends, below, not_above):  # type: ignore[no-untyped-def]
    """Add how many values lie below each threshold, and not above it.

    Thresholds ascend; those between two of `ends` are near each other, so few values lie among them.
    """
    num = block.shape[1]
    values, columns, hit = np.empty(num, np.float32), np.empty(num, np.int32), _marks(num)
    for row in block:
        for w in range(len(ends) - 1):
            first, last = ends[w], ends[w + 1]
            under = _num_below(row, thresholds[first])
            within = _between(row, thresholds[first], thresholds[last - 1], values, columns, hit)
            for k in range(first, last):
                below[k] += under + _num_below(values[:within], thresholds[k])
                not_above[k] += under + _num_at_most(values[:within], thresholds[k])
