"""Sparse k-reciprocal encodings and their Jaccard similarity (Zhong et al., CVPR 2017).

Two images of one person tend to be among each other's nearest. Each row is encoded by its
k-reciprocal neighbours, and two rows are similar when their encodings overlap:

    D̂_ij  = D_ij / max_k D_ik                                    distance over the row's farthest
    N(i,k) = the first k + 1 rows of i's list, i itself among them
    R(i,k) = {j ∈ N(i,k) : i ∈ N(j,k)}                            eq. 3
    R*(i)  = R(i,k1) ∪ those R(c,h), c ∈ R(i,k1), of which more than two thirds lie in R(i,k1);
             h = k1/2 rounded half to even                        eq. 5
    V_ij   = exp(−D̂_ij) / Σ_{l ∈ R*(i)} exp(−D̂_il) for j ∈ R*(i), else 0     eq. 7, normalised
    V_i    ← mean of V_j over the first k2 rows of i's list       eq. 11
    m_ij   = Σ_l min(V_il, V_jl),   J_ij = 1 − m_ij / (2 − m_ij)  eq. 10

V has some tens of entries a row, so everything is sparse and linear in N; only the similarity
1 − J = m / (2 − m) of query × gallery is made. After the neighbours everything is local to lists.

Dialects, for parameters tuned on other implementations: `norm="none"` takes D̂ = D (fast-reid's
evaluation path, cluster-contrast); `power=2` squares D̂ (torchreid, layumi's CPU version, which square
a distance that was squared already); `count_self` lets N(i,k) hold k rows, i itself among them
(fast-reid's evaluation path). The defaults are the definition above.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from naic_reid.artifacts import Floats, Ints, JaccardRows, Neighbours
from naic_reid.retrieval import exact, parallel, sparse


class Encoding(NamedTuple):
    """How rows are encoded, and in which dialect."""

    k1: int
    """Neighbours that must be mutual; at most N − 1 are used."""
    k2: int
    """Rows averaged in query expansion, the row itself among them; 1 means none."""
    norm: str = "rowmax"
    """Or "none"."""
    power: int = 1
    """Exponent of D̂, 1 or 2."""
    count_self: bool = False
    """Whether k counts the row itself."""


def jaccard_rows(
    neighbours: Neighbours,
    query: Floats,
    gallery: Floats,
    how: Encoding,
    *,
    regions: int = 0,
    asking: tuple[int, int] | None = None,
    threads: int = 0,
) -> JaccardRows:
    """The similarity 1 − J of query × gallery.

    Args:
        neighbours: K ≥ min(k1 + 1, N) nearest rows of each row, N = Q + G; or N = Q = G, of one list that is
            both.
        query: float32 [Q, D], the features the neighbours were found with; for distances of expanded
            neighbours that are in nobody's list.
        gallery: float32 [G, D].
        how: rows are encoded.
        regions: masses of visible regions at the end of each row, see `exact`.
        asking: start and stop of the queries whose rows are wanted; none: all. Every row is encoded
            either way, what is saved is comparing.
        threads: 0 means all processors.
    """
    num, kept = neighbours.rows.shape
    assert num in (len(query) + len(gallery), len(query)) and neighbours.num_query == len(query), num
    k1 = min(how.k1, max(num - 1, 0))
    first = k1 + (not how.count_self)
    half = min(round(k1 / 2), k1) + (not how.count_self)  # Python rounds half to even, as the definition does
    assert kept >= min(max(first, how.k2), num), (kept, how, num)
    mutual = _mutual_of_all(neighbours.rows, first, threads)
    mutual_half = _mutual_of_all(neighbours.rows, max(half, 1), threads)
    farthest = neighbours.farthest if how.norm == "rowmax" else np.ones(num, np.float32)
    known = exact.rows(query, gallery, regions), neighbours.rows, neighbours.distances, farthest
    encoding = sparse.built(_encode, (known, how.power, mutual, mutual_half), (num, num), threads)
    if how.k2 > 1:
        near = neighbours.rows[:, : how.k2]
        encoding = sparse.product(
            sparse.of_lists(near, np.ones(near.shape, np.float32)), encoding, threads, over=near.shape[1]
        )
    asked = slice(*asking or (0, len(query)))
    columns = encoding[num - len(gallery) :].T.tocsr()  # which gallery rows hold an entry at l, for every l
    return JaccardRows(sparse.jaccard(encoding[asked], columns, threads), neighbours.farthest[asked])


def _mutual_of_all(rows: Ints, length: int, threads: int) -> tuple[Ints, Ints]:
    """R of every row for lists of this length: members int32 [N, length] and how many int32 [N]."""
    members = np.empty((len(rows), min(length, rows.shape[1])), np.int32)
    count = np.empty(len(rows), np.int32)
    parallel.pieces(_mutual, (rows, members, count), (0, len(rows)), 512, threads)
    return members, count


@njit(nogil=True, cache=True)
def _mutual(rows, members, count, start, stop):  # type: ignore[no-untyped-def]
    length = members.shape[1]
    for i in range(start, stop):
        num = 0
        for c in range(length):
            j = rows[i, c]
            for b in range(length):
                if rows[j, b] == i:
                    members[i, num] = j
                    num += 1
                    break
        count[i] = num


@njit(nogil=True, cache=True)
def _encode(known, power, mutual, mutual_half, start, stop):  # type: ignore[no-untyped-def]
    """V of rows start … stop before query expansion: values, columns, entries of each row."""
    union, rows, distances, farthest = known
    members, num_members = mutual
    half, num_half = mutual_half
    most = members.shape[1] * (half.shape[1] + 1)
    data = np.empty((stop - start) * most, np.float32)
    indices = np.empty((stop - start) * most, np.int32)
    counts = np.empty(stop - start, np.int32)
    weight = np.empty(most)
    # Which row last put an index into R(i,k1), and which into R*(i): no clearing between rows.
    in_mutual = np.full(len(rows), -1, np.int32)
    in_expanded = np.full(len(rows), -1, np.int32)
    at = 0
    for i in range(start, stop):
        found = at
        for c in range(num_members[i]):
            j = members[i, c]
            in_mutual[j] = in_expanded[j] = i
            indices[found] = j
            found += 1
        for c in range(num_members[i]):
            candidate = members[i, c]
            shared = 0
            for b in range(num_half[candidate]):
                shared += in_mutual[half[candidate, b]] == i
            if 3 * shared > 2 * num_half[candidate]:
                for b in range(num_half[candidate]):
                    j = half[candidate, b]
                    if in_expanded[j] != i:
                        in_expanded[j] = i
                        indices[found] = j
                        found += 1
        columns = indices[at:found]
        columns.sort()
        total = 0.0
        scale = np.float64(farthest[i]) if farthest[i] > 0 else 1.0
        for c in range(len(columns)):
            scaled = np.float64(_known_distance(union, rows, distances, i, columns[c])) / scale
            weight[c] = np.exp(-(scaled * scaled if power == 2 else scaled))
            total += weight[c]
        for c in range(len(columns)):
            data[at + c] = weight[c] / total
        counts[i - start] = len(columns)
        at = found
    return data[:at].copy(), indices[:at].copy(), counts


@njit(nogil=True, cache=True)
def _known_distance(union, rows, distances, i, j):  # type: ignore[no-untyped-def]
    """The distance of rows i and j: from i's list, from j's, or else from the features."""
    for c in range(rows.shape[1]):
        if rows[i, c] == j:
            return distances[i, c]
    for c in range(rows.shape[1]):
        if rows[j, c] == i:
            return distances[j, c]
    return exact.distance(exact.cosine(union, i, j))
