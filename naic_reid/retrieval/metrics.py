"""CMC, mAP and mINP from full rankings, with the rules spelled out.

Junk rule: with `cross_camera`, gallery images of the query's person from the query's own camera are
left out of the query's list (Market's rule); without, all cameras are equal (NAIC). A gallery image
whose person is unknown or has no query is a distractor: always wrong, never left out.
AP rule: AP = (1/R) · Σ over hits of the precision at the hit, R the positives (no trapezoids);
AP@200 sums the hits among the first 200 and divides by min(R, 200).
Denominator: the valid queries, those with at least one positive.
mINP: the mean of R / (rank of the last hit).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from naic_reid.artifacts import Floats

CUT = 200  # names a submission lists

Ints64 = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Hits:
    """Where each query's positives stand in its full ranking; every array has one entry a query."""

    positives: Ints64
    """R: positives in the gallery that was searched, after the junk rule."""
    first: Ints64
    """Rank of the first hit, from 1; 0 where there is none."""
    last: Ints64
    """Rank of the last hit; 0 where there is none."""
    precisions: Doubles
    """Sum over hits of the precision at the hit."""
    precisions_cut: Doubles
    """The same over the first 200 ranks."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The queries of all parts, one after another."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def empty(cls) -> Self:
        """No queries."""
        none = np.zeros(0, np.int64)
        return cls(none, none, none, np.zeros(0), np.zeros(0))


def hits(
    distances: Floats,
    query_ids: Ints64,
    gallery_ids: Ints64,
    query_cameras: Ints64,
    gallery_cameras: Ints64,
    *,
    cross_camera: bool,
) -> Hits:
    """Where the positives of a block of queries stand; equal distances rank by index.

    Args:
        distances: float32 [B, G].
        query_ids: persons as numbers [B].
        gallery_ids: [G]; −1 for unknown persons.
        query_cameras: cameras as numbers [B]; used only with `cross_camera`.
        gallery_cameras: [G].
        cross_camera: whether same-person same-camera images are left out.
    """
    arrays = _hits(distances, query_ids, gallery_ids, query_cameras, gallery_cameras, cross_camera, CUT)
    return Hits(*arrays)


def score(found: Hits, elsewhere: Ints64 | None = None) -> dict[str, float | int]:
    """The scores as fractions: R1, R5, R10, mAP, mAP@200, mINP, and how many queries were valid.

    Args:
        found: hits of the queries.
        elsewhere: [Q] positives that lie in galleries a query is not ranked against. They count in R and
            are never found: AP loses their share, and the last hit of such a query is never reached.
    """
    lost = np.zeros_like(found.positives) if elsewhere is None else elsewhere
    total = found.positives + lost
    valid = total > 0
    num = int(valid.sum())
    if num == 0:
        return {"queries": 0, "R1": 0.0, "R5": 0.0, "R10": 0.0, "mAP": 0.0, "mAP@200": 0.0, "mINP": 0.0}
    first, last, total = found.first[valid], found.last[valid], total[valid]
    complete = (found.positives[valid] > 0) & (lost[valid] == 0)
    hit_within = {f"R{k}": float(((first > 0) & (first <= k)).sum() / num) for k in (1, 5, 10)}
    return {
        "queries": num,
        **hit_within,
        "mAP": float((found.precisions[valid] / total).sum() / num),
        "mAP@200": float((found.precisions_cut[valid] / np.minimum(total, CUT)).sum() / num),
        "mINP": float((np.where(complete, total, 0) / np.maximum(last, 1)).sum() / num),
    }


@njit(nogil=True, cache=True)
def _hits(  # type: ignore[no-untyped-def]
    distances, query_ids, gallery_ids, query_cameras, gallery_cameras, cross_camera, cut
):
    num_query, num_gallery = distances.shape
    positives = np.zeros(num_query, np.int64)
    first = np.zeros(num_query, np.int64)
    last = np.zeros(num_query, np.int64)
    precisions = np.zeros(num_query)
    precisions_cut = np.zeros(num_query)
    for q in range(num_query):
        own = np.flatnonzero((gallery_ids == query_ids[q]) & (gallery_ids >= 0))
        if cross_camera:
            own = own[gallery_cameras[own] != query_cameras[q]]
        num = len(own)
        positives[q] = num
        if num == 0:
            continue
        row = distances[q]
        own = own[np.argsort(row[own], kind="mergesort")]
        values = row[own]
        # No sorting of the whole row: how many wrong images stand before each positive is enough.
        before = np.zeros(num + 1, np.int64)
        for g in range(num_gallery):
            if gallery_ids[g] == query_ids[q] and gallery_ids[g] >= 0:
                continue
            place = np.searchsorted(values, row[g])
            while place < num and values[place] == row[g] and own[place] < g:
                place += 1
            before[place] += 1
        wrong = 0
        for h in range(num):
            wrong += before[h]
            rank = wrong + h + 1
            precision = (h + 1) / rank
            precisions[q] += precision
            if rank <= cut:
                precisions_cut[q] += precision
            if h == 0:
                first[q] = rank
            last[q] = rank
    return positives, first, last, precisions, precisions_cut
