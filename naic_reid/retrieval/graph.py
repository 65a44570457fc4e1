"""Re-ranking by propagation on the graph of neighbours (Zhang et al., arXiv 2012.07620), sparse.

With c the cosines of query ∪ gallery and lists that begin with the row itself:

    A_ij = 1 for j among the first k1 of row i, W_ij = c_ij² for j among its first k2, else 0
    twice: A ← W·(A + Aᵀ), each row to unit length
    similarity = A_q·A_gᵀ, query × gallery, in 0 … 1

The final distance (1 − λ)·(1 − similarity) + λ·(1 − cos) is one less the published score, so the order is
its order. A row of A has some hundreds of entries whatever N is; nothing dense of size N × N or Q × G is
made but a row.
"""

import numpy as np
import scipy.sparse as sp
from numba import njit

from naic_reid.artifacts import JaccardRows, Neighbours
from naic_reid.retrieval import parallel
from naic_reid.retrieval.k_reciprocal import stack

_ROUNDS = 2
_CHUNK = 1024  # rows propagated in one go


def similar_rows(
    neighbours: Neighbours, k1: int, k2: int, *, asking: tuple[int, int] | None = None, threads: int = 0
) -> JaccardRows:
    """The similarity A_q·A_gᵀ of query × gallery, in the place of the Jaccard similarity.

    Args:
        neighbours: K ≥ min(max(k1, k2), N) nearest rows of each row.
        k1: rows that a row is linked to, itself among them.
        k2: rows that a row gathers from, itself among them; at least 2: with fewer the definition neither
            propagates nor normalises, and counts of shared neighbours would drown the cosine.
        asking: start and stop of the queries whose rows are wanted; none: all.
        threads: 0 means all processors.
    """
    num, num_query = len(neighbours.rows), neighbours.num_query
    start, stop = asking or (0, num_query)
    assert k2 >= 2 and neighbours.rows.shape[1] >= min(max(k1, k2), num), (k1, k2, neighbours.rows.shape)
    if start == stop or num == num_query:
        nothing = sp.csr_array(np.zeros((stop - start, num - num_query), np.float32))
        return JaccardRows(nothing, neighbours.farthest[start:stop])
    links = _of_lists(neighbours, k1, np.ones_like(neighbours.distances))
    cosines = 1 - neighbours.distances.astype(np.float64) / 2
    weights = _of_lists(neighbours, k2, (cosines**2).astype(np.float32))
    for _ in range(_ROUNDS):
        links = _gathered(weights, links + links.T.tocsr(), threads)
    links.sort_indices()
    columns = links[num_query:].tocsc()
    inverted = columns.data, columns.indices, columns.indptr
    queries = links.data, links.indices, links.indptr
    rows = parallel.each(
        lambda span: _products(*queries, *inverted, num - num_query, *span),
        [(start + a, start + b) for a, b in parallel.spans(stop - start, 64)],
        threads,
    )
    return JaccardRows(stack(rows, num - num_query), neighbours.farthest[start:stop])


def _gathered(weights: sp.csr_array, links: sp.csr_array, threads: int) -> sp.csr_array:
    """W·A, each row at unit length."""
    spans = parallel.spans(links.shape[0], _CHUNK)
    pieces = parallel.each(lambda span: _unit(weights[slice(*span)] @ links), spans, threads)
    return sp.csr_array(sp.vstack(pieces))


def _of_lists(neighbours: Neighbours, length: int, values: np.ndarray) -> sp.csr_array:
    """[N, N] with the values of the first `length` of every row's list."""
    rows = neighbours.rows[:, :length]
    num, length = rows.shape
    indptr = np.arange(num + 1) * length
    return sp.csr_array((values[:, :length].ravel(), rows.ravel(), indptr), shape=(num, num))


def _unit(rows: sp.csr_array) -> sp.csr_array:
    """Each row at unit length; an empty one stays empty."""
    lengths = np.sqrt(np.add.reduceat(np.append(rows.data**2, 0), rows.indptr[:-1], dtype=np.float64))
    counts = np.diff(rows.indptr)
    rows.data /= np.repeat(np.where(counts > 0, np.maximum(lengths, 1e-30), 1), counts)
    return rows


@njit(nogil=True, cache=True)
def _products(  # type: ignore[no-untyped-def]
    data, indices, indptr, column_data, column_rows, column_ptr, num_gallery, start, stop
):
    """Inner products of rows start … stop with every gallery row that they share an entry with."""
    out = np.empty(1 << 14, np.float32)
    columns = np.empty(1 << 14, np.int32)
    counts = np.empty(stop - start, np.int32)
    total = np.zeros(num_gallery)
    at = 0
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            value = np.float64(data[e])
            for b in range(column_ptr[indices[e]], column_ptr[indices[e] + 1]):
                total[column_rows[b]] += value * np.float64(column_data[b])
        while at + num_gallery > len(out):
            out = np.concatenate((out, np.empty(len(out), np.float32)))
            columns = np.concatenate((columns, np.empty(len(columns), np.int32)))
        found = at
        for j in range(num_gallery):
            if np.float32(total[j]) > 0:
                out[found] = min(total[j], 1.0)
                columns[found] = j
                found += 1
            total[j] = 0.0
        counts[i - start] = found - at
        at = found
    return out[:at].copy(), columns[:at].copy(), counts
