"""Sparse rows, made and multiplied in pieces by several threads; the same bits whatever their number."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit

from naic_reid.artifacts import Floats, Ints
from naic_reid.retrieval import parallel

_CHUNK = 256  # rows made in one go


def built(
    kernel: Callable[..., tuple[Floats, Ints, Ints]],
    shared: Sequence[Any],
    shape: tuple[int, int],
    threads: int,
) -> sp.csr_array:
    """One CSR matrix of what `kernel(*shared, start, stop)` gives.

    That is the values and columns of rows start … stop, and how many entries each row has.
    """
    pieces = parallel.pieces(kernel, shared, (0, shape[0]), _CHUNK, threads)
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    data, indices, counts = (np.concatenate(parts) for parts in zip(nothing, *pieces, strict=True))
    return sp.csr_array((data, indices, np.append(0, counts.cumsum())), shape=shape)


def of_lists(rows: Ints, values: Floats) -> sp.csr_array:
    """[N, N] with `values` [N, K] in the columns `rows` [N, K] of each row."""
    num, length = rows.shape
    ends = np.arange(num + 1) * length
    return sp.csr_array((values.ravel(), rows.ravel(), ends), shape=(num, num))


def product(left: sp.csr_array, right: sp.csr_array, threads: int, over: float = 1.0) -> sp.csr_array:
    """Σ_l left_il · right_lj / over, summed in float64 in the order of l.

    Args:
        left: float32 [M, L].
        right: float32 [L, N].
        threads: 0 means all processors.
        over: what the sums are divided by.

    Returns:
        float32 [M, N], columns ascending; every entry that a term belongs to is there.
    """
    return _of(left, right, threads, False, float(over))


def jaccard(left: sp.csr_array, right: sp.csr_array, threads: int) -> sp.csr_array:
    """m / (2 − m), m = Σ_l min(left_il, right_lj), for rows that sum to 1; else as `product`."""
    return _of(left, right, threads, True, 1.0)


def _of(left: sp.csr_array, right: sp.csr_array, threads: int, smaller: bool, over: float) -> sp.csr_array:
    parts = [(each.data, each.indices, each.indptr) for each in (left, right)]
    shape = left.shape[0], right.shape[1]
    return built(_product, (*parts, shape[1], smaller, over), shape, threads)


@njit(nogil=True, cache=True)
def _product(left, right, num_columns, smaller, over, start, stop):  # type: ignore[no-untyped-def]
    (data, indices, indptr), (other_data, other_indices, other_indptr) = left, right
    out, columns = np.empty(1 << 14, np.float32), np.empty(1 << 14, np.int32)
    counts = np.empty(stop - start, np.int32)
    total = np.zeros(num_columns)
    seen = np.full(num_columns, -1, np.int32)  # by which row last: no clearing between rows
    at = 0
    for i in range(start, stop):
        while at + num_columns > len(out):
            out = np.concatenate((out, np.empty(len(out), np.float32)))
            columns = np.concatenate((columns, np.empty(len(columns), np.int32)))
        found = at
        for e in range(indptr[i], indptr[i + 1]):
            value = np.float64(data[e])
            for b in range(other_indptr[indices[e]], other_indptr[indices[e] + 1]):
                j, factor = other_indices[b], np.float64(other_data[b])
                if seen[j] != i:
                    seen[j] = i
                    total[j] = 0.0
                    columns[found] = j
                    found += 1
                total[j] += min(value, factor) if smaller else value * factor
        columns[at:found].sort()
        for e in range(at, found):
            m = total[columns[e]]
            out[e] = min(m, 1.0) / (2.0 - min(m, 1.0)) if smaller else m / over
        counts[i - start] = found - at
        at = found
    return out[:at].copy(), columns[:at].copy(), counts
