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

from naic_reid.artifacts import JaccardRows, Neighbours
from naic_reid.retrieval import sparse

_ROUNDS = 2


def similar_rows(
    neighbours: Neighbours,
    k1: int,
    k2: int,
    *,
    num_gallery: int,
    asking: tuple[int, int] | None = None,
    threads: int = 0,
) -> JaccardRows:
    """The similarity A_q·A_gᵀ of query × gallery, in the place of the Jaccard similarity.

    Args:
        neighbours: K ≥ min(max(k1, k2), N) nearest rows of each row.
        k1: rows that a row is linked to, itself among them.
        k2: rows that a row gathers from, itself among them; at least 2: with fewer the definition neither
            propagates nor normalises, and counts of shared neighbours would drown the cosine.
        num_gallery: G, the last of the rows; of one list that is both, N.
        asking: start and stop of the queries whose rows are wanted; none: all.
        threads: 0 means all processors.
    """
    num, num_query = len(neighbours.rows), neighbours.num_query
    assert k2 >= 2 and neighbours.rows.shape[1] >= min(max(k1, k2), num), (k1, k2, neighbours.rows.shape)
    cosines = 1 - neighbours.distances.astype(np.float64) / 2
    weights = sparse.of_lists(neighbours.rows[:, :k2], (cosines[:, :k2] ** 2).astype(np.float32))
    near = neighbours.rows[:, :k1]
    links = sparse.of_lists(near, np.ones(near.shape, np.float32))
    for _ in range(_ROUNDS):
        links = _unit(sparse.product(weights, links + links.T.tocsr(), threads))
    asked = slice(*asking or (0, num_query))
    columns = links[num - num_gallery :].T.tocsr()
    similarity = sparse.product(links[asked], columns, threads)
    similarity.eliminate_zeros()  # of rows at right angles
    np.minimum(similarity.data, 1, out=similarity.data)
    return JaccardRows(similarity, neighbours.farthest[asked])


def _unit(rows: sp.csr_array) -> sp.csr_array:
    """Each row at unit length; an empty one stays empty."""
    lengths = np.sqrt(rows.multiply(rows).sum(axis=1, dtype=np.float64))
    rows.data /= np.repeat(np.maximum(lengths, 1e-30), np.diff(rows.indptr))
    return rows
