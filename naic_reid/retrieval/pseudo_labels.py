"""Which test images show one person, by nearness alone: pseudo-labels for a second round of training.

A gallery image is taken for its nearest query when the angle between them is below a threshold. That is
the original's rule, whose angle has no re-ranking in it. Optionally the two must be mutual, and queries
near one another are one person: else two queries of a person would become two classes, each pushed
away from the other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from naic_reid.artifacts import Floats, Ints
from naic_reid.retrieval import distances
from naic_reid.retrieval.best import best, block_length
from naic_reid.retrieval.distances import PLAIN, Member

_LARGEST_COSINE = 1 - 1e-5  # the original's


class PseudoLabels(NamedTuple):
    """Who is taken for whom."""

    owner: Ints
    """[G] the query that each gallery image is taken for, if that shows somebody; −1: none."""
    radians: Floats
    """[G] the angle to its nearest query."""
    person: Ints
    """[Q] the first query of the person whom each query shows; −1: of nobody who is labelled."""


def pseudo_labels(
    members: Sequence[Member],
    threshold: float,
    *,
    gallery_rank: int | None = None,
    max_queries: int = 1,
    memory: int = 1 << 30,
    threads: int = 0,
) -> PseudoLabels:
    """The images of a domain that may be trained on as persons; a person has two images at least.

    Args:
        members: query and gallery by each model; the angle is that of their weighted mean cosine.
        threshold: radians; angles are below it.
        gallery_rank: a gallery image must be within so many nearest of its query; None: anywhere.
        max_queries: queries that may be one person; chains of more are left out. 1: queries are not united.
        memory: bytes that products may take.
        threads: 0 means all processors.
    """
    num_query, num_gallery = members[0].vectors.num_query, members[0].vectors.num_gallery
    block = block_length(max(num_query, num_gallery), memory, threads=threads)
    features = [member.vectors.union for member in members]
    weights = [member.weight for member in members]
    turned = [
        Member(rows.gallery, rows.query, None, weight, regions=rows.regions)
        for rows, weight in zip(features, weights, strict=True)
    ]
    nearest, found = best(turned, PLAIN, 1, threads=threads, block=block)
    radians = _angles(found[:, 0], members)
    owner = np.where(radians < threshold, nearest[:, 0], -1).astype(np.int32)
    if gallery_rank is not None:
        near, _ = best(members, PLAIN, gallery_rank, threads=threads, block=block)
        owner[(near[owner] != np.arange(num_gallery)[:, None]).all(axis=1)] = -1
    alone = np.arange(num_query, dtype=np.int32)
    person = _united(members, threshold, block, threads) if max_queries > 1 else alone
    queries = np.bincount(person, minlength=num_query)
    images = np.bincount(person[owner[owner >= 0]], minlength=num_query)
    whole = (images + queries >= 2) & (queries <= max_queries)
    return PseudoLabels(owner, radians, np.where(whole[person], person, -1).astype(np.int32))


def _angles(distances: Floats, members: Sequence[Member]) -> Floats:
    """Radians, of sums of weight · (1 − cos)."""
    cosines = 1 - distances.astype(np.float64) / sum(member.weight for member in members)
    return np.arccos(np.clip(cosines, -_LARGEST_COSINE, _LARGEST_COSINE)).astype(np.float32)


def _united(members: Sequence[Member], threshold: float, block: int, threads: int) -> Ints:
    """The first of the queries that each query is linked to, over any number of links below the threshold."""
    features = [member.vectors.union for member in members]
    among = [
        Member(rows.query, rows.query, None, member.weight, regions=rows.regions)
        for rows, member in zip(features, members, strict=True)
    ]
    num = among[0].vectors.num_query

    def links(start: int, stop: int) -> sp.coo_array:
        total = distances.summed(among, PLAIN, start, stop).numpy()
        rows, columns = np.nonzero(_angles(total, members) < threshold)
        return sp.coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=total.shape)

    blocks = list(distances.each_block(links, num, threads=threads, block=block))
    _, component = connected_components(sp.vstack(blocks), directed=False)
    _, first = np.unique(component, return_index=True)
    person: Ints = first[component].astype(np.int32)
    return person
