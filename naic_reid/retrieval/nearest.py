"""Exact nearest neighbours of every row within query ∪ gallery, block by block.

A rounded matrix product (bfloat16 where the processor multiplies it fast, else float32) only makes
a short list: the error of each entry is bounded (see `_operand`), so a row keeps what may still be
among its K nearest, and little more. The short list is then measured again in the canonical order
of `exact`. The result therefore does not depend on block length, threads, precision of the product
or processor. The product is symmetric: half of it is computed, and each tile serves the rows of
both its sides. The farthest row is found in the same pass.

Memory: the rounded rows (2·N·D bytes in bfloat16), short lists (about 24·N·K bytes) and a tile for
each thread.
"""

from collections.abc import Callable
from contextlib import nullcontext
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from naic_reid.artifacts import Floats, Ints
from naic_reid.errors import ReidError
from naic_reid.retrieval import exact, multiplying, parallel
from naic_reid.retrieval.vectors import Vectors

BLOCK = 1024


class Plan(NamedTuple):
    """How a search stays within its memory budget, and what it will take. It changes no bit of the result."""

    block: int = BLOCK
    """Rows on a side of a tile."""
    whole: bool = True
    """Whether all rounded rows are kept; else they are made anew for each tile, and features may be mapped
    files larger than memory."""
    rounded: bool = True
    """Whether short lists come from a bfloat16 product; else from a float32 one."""
    megabytes: int = 0
    """Estimate of memory beyond the features."""


def plan(
    num: int,
    dimension: int,
    keep: int,
    memory: int,
    *,
    threads: int = 0,
    rounded: bool = True,
    asking: int | None = None,
) -> Plan:
    """The fastest way to search for the neighbours of `asking` rows (none: all) within so many bytes.

    Raises:
        ReidError: the lists alone take more.
    """
    item = 2 if rounded else 4
    asking = num if asking is None else asking
    lists = asking * 8 * (_capacity(keep - 1) + _capacity(1) + keep) + num * 40
    operand = item * num * dimension
    for whole, block in [(True, BLOCK), (True, BLOCK // 4), (False, BLOCK), (False, BLOCK // 4)]:
        tile = (item + 4) * block * block + (4 + item) * block * dimension * (1 if whole else 2)
        needed = lists + whole * operand + parallel.num_threads(threads) * tile
        if needed <= memory:
            return Plan(block, whole, rounded, needed // 10**6 + 1)
    raise ReidError(
        f"search: {num} rows with {keep} neighbours take {needed // 10**6 + 1} MB at least, and "
        f"{memory // 10**6} MB may be used: raise --memory, lower search.keep, or use fewer threads"
    )


def of_rows(
    features: Vectors,
    keep: int,
    asking: tuple[int, int],
    how: Plan,
    *,
    threads: int = 0,
    watch: parallel.Watch = parallel.unwatched,
) -> tuple[Ints, Floats, Floats]:
    """The min(keep, N) nearest of rows start … stop, itself first; their distances; the farthest distances.

    Args:
        features: query and gallery on a processor.
        keep: neighbours of each row, itself counted.
        asking: start and stop of the rows whose neighbours are wanted.
        how: of `plan`.
        threads: 0 means all processors.
        watch: is passed the tiles as they are done.
    """
    keep = min(keep, len(features))
    operand, slack, share = _operand(features, how, threads)
    near = _short(len(features), keep - 1, 1.0, slack, share)
    far = _short(len(features), min(1, len(features) - 1), -1.0, slack, share)
    for short in (near, far):  # the others' lists stay empty: nothing is as large as this
        short.cut[: asking[0]] = short.cut[asking[1] :] = np.inf
    spans, pairs = _tiles(len(features), asking, how.block)
    locks = [Lock() for _ in spans]

    def tile(pair: tuple[int, int]) -> None:
        (a, a_stop), (b, b_stop) = spans[pair[0]], spans[pair[1]]
        product = features.multiplied(operand(a, a_stop), operand(b, b_stop)).float().numpy()
        # The lower block is always taken first, so that two threads cannot wait for each other.
        with locks[pair[0]], locks[pair[1]] if a != b else nullcontext():
            if a == b:
                _seed(product, a, near, far)
            _scan(features.union, product, a, b, near, far)

    for _ in watch(multiplying.each(tile, pairs, threads), len(pairs)):
        pass
    return _finished(features, near, far, asking, threads)


def _tiles(
    num: int, asking: tuple[int, int], block: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(start, stop) of blocks of rows, and the pairs of blocks that meet: all with those that are asking.

    Only among the asking rows is the product's symmetry of use: S of N rows take S·(N − S/2) products instead
    of N²/2. Pairs of a block with itself come first: each gives its rows cuts to begin with.
    """
    first, last = asking
    spans = [
        (begin + start, begin + stop)
        for begin, end in ((0, first), (first, last), (last, num))
        for start, stop in parallel.spans(end - begin, block)
    ]
    blocks = range(len(spans)) if num > 1 else range(0)
    asked = [first <= start < last for start, _ in spans]
    pairs = [(i, i) for i in blocks if asked[i]]
    pairs += [(i, j) for i in blocks for j in blocks if i < j and (asked[i] or asked[j])]
    return spans, pairs


def _finished(
    features: Vectors, near: "_Short", far: "_Short", asking: tuple[int, int], threads: int
) -> tuple[Ints, Floats, Floats]:
    """Neighbours, distances and farthest distances of the asking rows by their short lists."""
    union, measured = features.union, np.zeros(len(features), np.int32)
    num, keep = asking[1] - asking[0], near.keep + 1
    found = np.empty((num, keep), np.int32), np.empty((num, keep), np.float32), np.zeros(num, np.float32)
    steps: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (_drop_and_order, (near, measured)),
        (_measure_first, (union, near, measured)),
        (_fetch_first, (near, measured)),
        (_drop_again, (near, measured)),
        (_measure_first, (union, near, measured)),
        (_write, (union, near, far, measured, found, asking[0])),
    ]
    for step, shared in steps:  # each for all rows before the next: rows look into one another's lists
        parallel.pieces(step, shared, asking, 256, threads)
    return found


class _Short(NamedTuple):
    """For each row the candidates for its `keep` largest signed cosines: those a bound cannot exclude."""

    rows: Ints  # [N, capacity]
    values: Floats  # [N, capacity]; of a row the first `sure` are measured, the others rounded
    held: Ints  # [N], how many there are
    sure: Ints  # [N]
    cut: Floats  # [N]; a smaller rounded value cannot be among the row's largest
    keep: int
    sign: float  # −1: the smallest cosines are wanted, and values are negated
    slack: float  # a rounded value v differs from the cosine by less than slack + share·|v|
    share: float


def _capacity(keep: int) -> int:
    return 4 * keep + 60


def _short(num: int, keep: int, sign: float, slack: float, share: float) -> _Short:
    shape = num, _capacity(keep)
    lists = np.empty(shape, np.int32), np.empty(shape, np.float32)
    counts = np.zeros(num, np.int32), np.zeros(num, np.int32)
    cut = np.full(num, -np.inf if keep else np.inf, np.float32)
    return _Short(*lists, *counts, cut, keep, sign, slack, share)


def _operand(
    features: Vectors, how: Plan, threads: int
) -> tuple[Callable[[int, int], torch.Tensor], float, float]:
    """Unit rows start … stop in the product's precision, and the bound (slack, share) of its error."""
    num, dimension = len(features), features.dimension
    kind = torch.bfloat16 if how.rounded else torch.float32
    kept = torch.empty((num if how.whole else 0, dimension), dtype=kind)

    def make(start: int, stop: int) -> torch.Tensor:
        return features.unit(start, stop).to(kind)

    def fill(span: tuple[int, int]) -> float:
        unit = features.unit(*span)
        made = unit.to(kind)
        if how.whole:
            kept[slice(*span)] = made
        return float(unit.sub_(made).square_().sum(1).max()) ** 0.5 if how.rounded else 0.0

    lost = max(multiplying.each(fill, parallel.spans(num, 256), threads), default=0.0)
    bound = features.rounding(lost if how.rounded else None)
    return (lambda start, stop: kept[start:stop]) if how.whole else make, *bound


def _seed(product: Floats, first_row: int, near: "_Short", far: "_Short") -> None:
    """Cuts from a tile on the diagonal: its rows have `keep` neighbours at least as near as those in it."""
    num = len(product)
    np.fill_diagonal(product, -np.inf)
    if num > near.keep > 0:
        place = num - near.keep
        _raise_cuts(near, first_row, np.partition(product, place, axis=1)[:, place])
    np.fill_diagonal(product, np.inf)
    if num > 1:
        _raise_cuts(far, first_row, -product.min(axis=1))


@njit(nogil=True, cache=True)
def _raise_cuts(short, first_row, values):  # type: ignore[no-untyped-def]
    for r in range(len(values)):
        v = np.float64(values[r])
        _raise_cut(short, first_row + r, v - short.slack - short.share * abs(v))


@njit(nogil=True, cache=True)
def _scan(union, product, first_row, first_column, near, far):  # type: ignore[no-untyped-def]
    """Offer a tile of the product to the rows of both its sides; of a tile on the diagonal, one half."""
    num_rows, num_columns = product.shape
    near_column = near.cut[first_column : first_column + num_columns]
    far_column = far.cut[first_column : first_column + num_columns]
    hit = np.zeros((num_columns + 7) // 8 * 8, np.bool_)
    eight_hits = hit.view(np.uint64)
    for r in range(num_rows):
        i = first_row + r
        near_row, far_row = near.cut[i], far.cut[i]
        values = product[r]
        for c in range(num_columns):  # no branches: the compiler makes vector instructions of this
            v = values[c]
            hit[c] = (v >= near_row) | (v >= near_column[c]) | (-v >= far_row) | (-v >= far_column[c])
        start = r + 1 if first_row == first_column else 0
        for word in range(start // 8, len(eight_hits)):
            if eight_hits[word] == 0:
                continue
            for c in range(max(8 * word, start), min(8 * word + 8, num_columns)):
                v, j = values[c], first_column + c
                if v >= near.cut[i]:
                    _push(union, near, i, j, v)
                if v >= near.cut[j]:
                    _push(union, near, j, i, v)
                if -v >= far.cut[i]:
                    _push(union, far, i, j, -v)
                if -v >= far.cut[j]:
                    _push(union, far, j, i, -v)


@njit(nogil=True, cache=True)
def _push(union, short, i, j, value):  # type: ignore[no-untyped-def]
    place = short.held[i]
    short.rows[i, place] = j
    short.values[i, place] = value
    short.held[i] = place + 1
    if place + 1 == short.rows.shape[1]:
        _drop_hopeless(short, i)
        if 8 * short.held[i] > 7 * short.rows.shape[1]:
            _measure(union, short, i)  # near-equal rows crowd the list: only measuring tells them apart


@njit(nogil=True, cache=True)
def _drop_hopeless(short, i):  # type: ignore[no-untyped-def]
    """Drop candidates whose upper bound lies below the keep-th largest lower bound, and raise the cut."""
    count, sure = short.held[i], short.sure[i]
    if count <= short.keep:
        return
    lower = np.empty(count, np.float64)
    for c in range(count):
        v = np.float64(short.values[i, c])
        lower[c] = v if c < sure else v - short.slack - short.share * abs(v)
    limit = np.partition(lower, count - short.keep)[count - short.keep]
    kept, kept_sure = 0, 0
    for c in range(count):
        v = np.float64(short.values[i, c])
        upper = v if c < sure else v + short.slack + short.share * abs(v)
        if upper >= limit:
            short.rows[i, kept] = short.rows[i, c]
            short.values[i, kept] = short.values[i, c]
            kept += 1
            kept_sure += c < sure
    short.held[i], short.sure[i] = kept, kept_sure
    _raise_cut(short, i, limit)


@njit(nogil=True, cache=True)
def _measure(union, short, i):  # type: ignore[no-untyped-def]
    """Replace rounded values by cosines, and keep the best alone."""
    for c in range(short.sure[i], short.held[i]):
        short.values[i, c] = _measured(union, short, i, c)
    _keep_best(short, i)


@njit(nogil=True, cache=True)
def _measured(union, short, i, c):  # type: ignore[no-untyped-def]
    rounded = short.values[i, c]
    value = np.float32(short.sign) * exact.cosine(union, i, short.rows[i, c])
    assert abs(value - rounded) <= short.slack + short.share * abs(rounded)  # else the bound is wrong
    return value


@njit(nogil=True, cache=True)
def _keep_best(short, i):  # type: ignore[no-untyped-def]
    """Of measured candidates the `keep` largest, largest first; equal ones in the order of index."""
    keep, best = short.keep, 0
    values = np.empty(keep, np.float32)
    rows = np.empty(keep, np.int32)
    for c in range(short.held[i]):
        j, v = short.rows[i, c], short.values[i, c]
        if best == keep and (v < values[keep - 1] or (v == values[keep - 1] and j > rows[keep - 1])):
            continue
        best = min(best + 1, keep)
        place = best - 1
        while place > 0 and (v > values[place - 1] or (v == values[place - 1] and j < rows[place - 1])):
            values[place], rows[place] = values[place - 1], rows[place - 1]
            place -= 1
        values[place], rows[place] = v, j
    short.rows[i, :best] = rows[:best]
    short.values[i, :best] = values[:best]
    short.held[i] = short.sure[i] = best
    if best == keep:
        _raise_cut(short, i, np.float64(values[keep - 1]))


@njit(nogil=True, cache=True)
def _raise_cut(short, i, limit):  # type: ignore[no-untyped-def]
    """The smallest rounded value whose upper bound reaches `limit`."""
    least = limit - short.slack
    cut = np.float32(least / (1 + short.share) if least >= 0 else least / (1 - short.share))
    # One unit lower, so that rounding the cut itself to float32 excludes nothing.
    short.cut[i] = max(short.cut[i], cut - abs(cut) * np.float32(2.0**-23))


# After the scan each list holds what the bound could not exclude. Its `keep` largest rounded values are
# measured first; their cosines are a better limit, and exclude most others. A pair mostly stands in both
# rows' lists and is measured in one of them only: hence the passes, and `measured`, the length up to which
# a list is measured when the pass is over (and `sure` when it begins).


@njit(nogil=True, cache=True)
def _drop_and_order(short, measured, start, stop):  # type: ignore[no-untyped-def]
    """Drop the hopeless; then the `keep` largest to the front."""
    for i in range(start, stop):
        if short.keep == 0:
            continue
        _drop_hopeless(short, i)
        held = short.held[i]
        values = short.values[i, :held]
        limit = np.partition(values, held - short.keep)[held - short.keep]
        front = short.sure[i]
        for c in range(front, held):
            if values[c] >= limit:
                values[c], values[front] = values[front], values[c]
                short.rows[i, c], short.rows[i, front] = short.rows[i, front], short.rows[i, c]
                front += 1
        measured[i] = front


@njit(nogil=True, cache=True)
def _measure_first(union, short, measured, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for c in range(short.sure[i], measured[i]):
            if _place_elsewhere(short, measured, i, c) < 0:
                short.values[i, c] = _measured(union, short, i, c)


@njit(nogil=True, cache=True)
def _place_elsewhere(short, measured, i, c):  # type: ignore[no-untyped-def]
    """Where row i stands in the list of its candidate c, if it is or will be measured there; else −1."""
    j = short.rows[i, c]
    for place in range(measured[j] if j < i else short.sure[j]):
        if short.rows[j, place] == i:
            return place
    return -1


@njit(nogil=True, cache=True)
def _fetch_first(short, measured, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for c in range(short.sure[i], measured[i]):
            place = _place_elsewhere(short, measured, i, c)
            if place >= 0:
                short.values[i, c] = short.values[short.rows[i, c], place]


@njit(nogil=True, cache=True)
def _drop_again(short, measured, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        short.sure[i] = measured[i]
        if short.keep > 0:
            _drop_hopeless(short, i)
        measured[i] = short.held[i]


@njit(nogil=True, cache=True)
def _write(union, near, far, measured, found, first, start, stop):  # type: ignore[no-untyped-def]
    """Rows start … stop into arrays that begin with row `first`."""
    rows, distances, farthest = found
    for i in range(start, stop):
        at, one = i - first, slice(i, i + 1)
        rows[at, 0], distances[at, 0] = i, np.float32(0.0)
        # Others still read this list: the best are taken from a copy.
        lists = near.rows[one].copy(), near.values[one].copy()
        counts = near.held[one].copy(), near.sure[one].copy(), near.cut[one].copy()
        own = _Short(*lists, *counts, near.keep, near.sign, near.slack, near.share)
        for c in range(near.sure[i], near.held[i]):
            place = _place_elsewhere(near, measured, i, c)
            if place >= 0:
                own.values[0, c] = near.values[near.rows[i, c], place]
        if near.keep > 0:
            _keep_best(own, 0)
        for c in range(near.keep):
            rows[at, c + 1] = own.rows[0, c]
            distances[at, c + 1] = exact.distance(own.values[0, c])
        if far.keep > 0:
            farthest[at] = exact.distance(-_largest(union, far, i))


@njit(nogil=True, cache=True)
def _largest(union, short, i):  # type: ignore[no-untyped-def]
    """The largest signed cosine in a list: those whose upper bound lies below it need no measuring."""
    held = short.held[i]
    best = np.float32(-np.inf)
    for c in np.argsort(-short.values[i, :held]):
        v = np.float64(short.values[i, c])
        if c < short.sure[i]:
            best = max(best, short.values[i, c])
        elif v + short.slack + short.share * abs(v) >= best:
            best = max(best, _measured(union, short, i, c))
    return best
