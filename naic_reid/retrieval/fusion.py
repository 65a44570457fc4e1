"""The members' distances added up, and the best of the gallery for each query.

final = Σ over members of weight · ((1 − λ)·J + λ·D̂), where J is 1 − the similarity of the sparse
Jaccard rows and D̂ = D over the query's farthest distance. Distances are made again from the
features, a block of queries at a time: nothing of size Q × G is ever held, and memory does not
depend on the number of members.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numba import njit
from numpy.typing import NDArray

from naic_reid.artifacts import Floats, Ints, JaccardRows
from naic_reid.retrieval import exact, parallel, products

BLOCK = 256  # queries in a block, where memory allows


class Mix(NamedTuple):
    """How Jaccard distance J and squared distance D become one; names of dialects as in `k_reciprocal`."""

    lambda_: float = 0.8
    """Weight of the original distance; 1: J plays no part."""
    norm: str = "rowmax"
    """rowmax: D̂ = D / farthest of the query; none: D̂ = D / 2 = 1 − cos, as in fast-reid's evaluator."""
    power: int = 1
    """Exponent of D̂, 1 or 2."""


PLAIN = Mix(lambda_=1.0, norm="none")
"""1 − cos, without re-ranking."""


class Member:
    """One (model, epoch) of the ensemble, ready to give distances.

    Args:
        query: float32 [Q, D], normalised inside.
        gallery: float32 [G, D].
        jaccard: its Jaccard rows; None where only `PLAIN` is asked for.
        weight: factor of this member's distances in the sum.

    Raises:
        ReidError: a row is zero or not finite.
    """

    def __init__(
        self, query: Floats, gallery: Floats, jaccard: JaccardRows | None = None, weight: float = 1.0
    ):
        self.rows = exact.rows(query, gallery)
        self.weight = weight
        shape = (len(query), len(gallery))
        self.similarity = jaccard.similarity if jaccard else sp.csr_array(shape, dtype=np.float32)
        self.farthest = jaccard.farthest if jaccard else np.full(shape[0], 4, np.float32)
        assert self.similarity.shape == shape, (self.similarity.shape, shape)

    def cosines(self, start: int, stop: int) -> Floats:
        """Cosines of queries start … stop with the gallery, to float32 rounding [stop − start, G]."""
        gallery = self.rows.gallery
        out = torch.empty((stop - start, len(gallery)), dtype=torch.float32)
        unit = torch.from_numpy(products.unit(self.rows, start, stop))
        step = 1 << 13  # the mapped gallery is read in pieces of this many rows
        for at in range(0, len(gallery), step):
            piece = products.tensor(gallery[at : at + step])
            torch.mm(unit, piece.T, out=out[:, at : at + step])
        cosines: Floats = out.numpy()
        cosines *= self.rows.inverse[None, len(self.rows.query) :].astype(np.float32)
        return cosines

    def add(self, total: Floats, cosines: Floats, mix: Mix, start: int) -> None:
        """Add weight · ((1 − λ)·J + λ·D̂) to `total` [B, G], in place, from the cosines of its queries."""
        _add(total, cosines, self._csr(), self._scales(mix), start, mix.lambda_, mix.power, self.weight)

    def _add_exactly(self, sums: NDArray[np.float64], short: "_Lists", mix: Mix, start: int) -> None:
        scales = self._scales(mix)
        _add_exactly(sums, *short, self.rows, self._csr(), scales, start, mix.lambda_, mix.power, self.weight)

    def _csr(self) -> tuple[Floats, Ints, Ints]:
        return self.similarity.data, self.similarity.indices, self.similarity.indptr

    def _scales(self, mix: Mix) -> Floats:
        """What each query's D is divided by."""
        if mix.norm == "none":
            return np.full(len(self.farthest), 2, np.float32)
        # A farthest distance of 0 means that all rows are equal, and every D is 0.
        return np.where(self.farthest > 0, self.farthest, np.float32(1)).astype(np.float32)

    def _error(self, mix: Mix) -> NDArray[np.float64]:
        """A bound on the error that `cosines` and `add` make in each query's distances, float64 [Q]."""
        largest = 1.0 if mix.norm == "rowmax" else 2.0
        slope = mix.lambda_ * mix.power * largest ** (mix.power - 1) / self._scales(mix).astype(np.float64)
        cosine_error = products.rounding(self.rows.gallery.shape[1])
        return self.weight * (slope * 2 * cosine_error + (1 + largest**mix.power) * 2.0**-21)


def best(
    members: Sequence[Member],
    mix: Mix,
    num_best: int,
    *,
    threads: int = 0,
    block: int = BLOCK,
    watch: parallel.Watch = parallel.unwatched,
) -> tuple[Ints, Floats]:
    """The num_best nearest gallery rows of each query by the sum of the members' distances.

    A float32 product makes a short list; the list is summed again from canonical distances (see
    `exact`), so the result depends on neither block nor threads. Ties go to the lower index.

    Returns:
        int32 [Q, R] into the gallery, nearest first, and float32 [Q, R]; R = min(num_best, G).
    """
    num_query, num_gallery = len(members[0].rows.query), len(members[0].rows.gallery)
    num_best = min(num_best, num_gallery)
    indices = np.empty((num_query, num_best), np.int32)
    distances = np.empty((num_query, num_best), np.float32)
    error = len(members) * np.sum([member._error(mix) for member in members], axis=0)

    def fill(span: tuple[int, int]) -> None:
        start, stop = span
        total = np.zeros((stop - start, num_gallery), np.float32)
        for member in members:
            member.add(total, member.cosines(start, stop), mix, start)
        kept, begin = _short_lists(total, num_best, 2 * error[start:stop])
        del total
        sums = np.zeros(len(kept))
        for member in members:
            member._add_exactly(sums, (kept, begin), mix, start)
        _take(sums, kept, begin, indices[start:stop], distances[start:stop])

    spans = parallel.spans(num_query if num_best else 0, block)
    for _ in watch(products.each(fill, spans, threads), len(spans)):
        pass
    return indices, distances


def block_length(num_gallery: int, memory: int, *, threads: int = 0, arrays: int = 2) -> int:
    """How many queries may be done at once within so many bytes; each takes float32 [arrays, G] a thread."""
    one = 4 * arrays * max(num_gallery, 1) * parallel.num_threads(threads)
    return max(1, min(BLOCK, memory // one))


def concatenated(members: Sequence[Member]) -> tuple[Floats, Floats]:
    """Query and gallery features [Q, ΣD], [G, ΣD]; their distance is the members' weighted mean.

    Each member's unit rows times the root of its share of the weights, side by side; held in memory.
    """
    total = sum(member.weight for member in members)
    parts = [
        products.unit(member.rows, 0, len(member.rows.inverse)) * np.float32((member.weight / total) ** 0.5)
        for member in members
    ]
    both = np.concatenate(parts, axis=1)
    return both[: len(members[0].rows.query)], both[len(members[0].rows.query) :]


_Lists = tuple[Ints, NDArray[np.int64]]
"""Gallery rows of consecutive queries one after another, and where each query's begin (and the end)."""


@njit(nogil=True, cache=True)
def _add(total, cosines, csr, scales, start, lambda_, power, weight):  # type: ignore[no-untyped-def]
    data, indices, indptr = csr
    jaccard = np.float32(weight * (1 - lambda_))
    original = np.float32(weight * lambda_)
    for r in range(len(total)):
        inverse = np.float32(1) / scales[start + r]
        row, cosine = total[r], cosines[r]
        for c in range(len(row)):
            scaled = max(np.float32(0), np.float32(2) - np.float32(2) * cosine[c]) * inverse
            if power == 2:
                scaled *= scaled
            row[c] += jaccard + original * scaled
        for e in range(indptr[start + r], indptr[start + r + 1]):
            row[indices[e]] -= jaccard * data[e]


@njit(nogil=True, cache=True)
def _short_lists(total, num_best, width):  # type: ignore[no-untyped-def]
    """For each row of `total` what may be among its num_best smallest when values err by width / 2."""
    num_gallery = total.shape[1]
    begin = np.zeros(len(total) + 1, np.int64)
    kept = np.empty(len(total) * num_best * 2, np.int32)
    at = 0
    for r in range(len(total)):
        limit = np.float64(_smallest(total[r], num_best)) + width[r]
        if at + num_gallery > len(kept):
            kept = np.concatenate((kept, np.empty(len(kept) + num_gallery, np.int32)))
        for c in range(num_gallery):
            if total[r, c] <= limit:
                kept[at] = c
                at += 1
        begin[r + 1] = at
    return kept[:at].copy(), begin


@njit(nogil=True, cache=True)
def _smallest(values, rank):  # type: ignore[no-untyped-def]
    """The value at this rank, from 1. A sample tells below what to look, so that few have to be ordered."""
    sample = values[::16].copy()
    guess = min(len(sample), rank // 8 + 8)
    limit = np.partition(sample, guess - 1)[guess - 1]
    low = values[values <= limit]
    if len(low) < rank:
        low = values
    return np.partition(low, rank - 1)[rank - 1]


@njit(nogil=True, cache=True)
def _add_exactly(sums, kept, begin, rows, csr, scales, start, lambda_, power, weight):  # type: ignore[no-untyped-def]
    data, indices, indptr = csr
    num_query = len(rows.query)
    for r in range(len(begin) - 1):
        first, last = indptr[start + r], indptr[start + r + 1]
        for e in range(begin[r], begin[r + 1]):
            cosine = exact.cosine(rows, start + r, num_query + kept[e])
            scaled = np.float64(exact.distance(cosine)) / scales[start + r]
            if power == 2:
                scaled *= scaled
            place = first + np.searchsorted(indices[first:last], kept[e])
            similar = data[place] if place < last and indices[place] == kept[e] else np.float32(0)
            sums[e] += weight * ((1 - lambda_) * (1 - similar) + lambda_ * scaled)


@njit(nogil=True, cache=True)
def _take(sums, kept, begin, indices, distances):  # type: ignore[no-untyped-def]
    """The smallest of each list; float32 sums that are equal stay in the order of index."""
    for r in range(len(begin) - 1):
        values = sums[begin[r] : begin[r + 1]].astype(np.float32)
        order = np.argsort(values, kind="mergesort")
        for c in range(indices.shape[1]):
            indices[r, c] = kept[begin[r] + order[c]]
            distances[r, c] = values[order[c]]
