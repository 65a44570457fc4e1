"""Ranking, fusing and scoring from arrays, for programs: no files, no settings.

    from naic_reid import fuse, rank, score_distances

    best, distances = rank(query, gallery, best=10)                       # by cosine
    best, distances = rank(query, gallery, rerank=True, k1=20, k2=6, lambda_=0.3)
    best, distances = fuse([(query, gallery), (other_query, other_gallery)], weights=[2, 1])
    scores = score_distances(1 - query @ gallery.T, persons, gallery_persons, cameras, gallery_cameras)

Features are float32 [Q, D] and [G, D], rows of any length but 0, or `Features`, which may be larger than
memory. Results do not depend on threads, memory or device: not by a bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from naic_reid.artifacts import Features, Floats, Ints
from naic_reid.errors import ReidError
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import evaluation, protocols, vectors
from naic_reid.retrieval.distances import PLAIN, Member
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.rerank import Reranking

Rows = Floats | Features


def rank(
    query: Rows,
    gallery: Rows,
    best: int = 200,
    *,
    rerank: bool = False,
    k1: int = 30,
    k2: int = 2,
    lambda_: float = 0.8,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> tuple[Ints, Floats]:
    """The best of the gallery for each query, nearest first, and their distances.

    Args:
        query: float32 [Q, D].
        gallery: float32 [G, D].
        best: how many of the gallery are returned.
        rerank: by k-reciprocal re-ranking (Zhong et al., CVPR 2017; `retrieval.rerank.rank` states the
            definition) instead of the distance 1 − cos.
        k1: neighbours that must be mutual; at most as many images as there are in all.
        k2: rows averaged in query expansion of the encodings; 1: none.
        lambda_: weight of the original distance. Market-1501's custom: k1 20, k2 6, lambda_ 0.3.
        device: cpu, cuda or auto, for the search that re-ranking begins with.
        threads: 0 means all processors.
        memory: such as "6GB"; by default half of what is free.

    Returns:
        int32 [Q, R] into the gallery and float32 [Q, R], R = min(best, G). Equal distances: the lower index
        first.

    Raises:
        ReidError: a row is zero or not finite; arrays that do not fit each other; a number out of range.

    >>> import numpy as np
    >>> gallery = np.array([[1, 0], [0, 1], [3, 4]], np.float32)
    >>> best, distances = rank(np.array([[0, 2]], np.float32), gallery, best=2)
    >>> print(best, distances.round(3))
    [[1 2]] [[0.  0.2]]
    """
    return fuse(
        [(query, gallery)], best=best, rerank=rerank, k1=k1, k2=k2, lambda_=lambda_,
        device=device, threads=threads, memory=memory,
    )  # fmt: skip


def fuse(
    members: Sequence[tuple[Rows, Rows]],
    weights: Sequence[float] | None = None,
    best: int = 200,
    *,
    rerank: bool = False,
    k1: int = 30,
    k2: int = 2,
    lambda_: float = 0.8,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> tuple[Ints, Floats]:
    """As `rank`, by the weighted sum of the distances of several networks.

    Args:
        members: of each network the features of the same queries and the same gallery, in one order; D may
            differ.
        weights: of each member; None: 1 each.
        best: how many of the gallery are returned.
        rerank: as for `rank`, each member by itself; so all that follows.
        k1: as for `rank`.
        k2: as for `rank`.
        lambda_: as for `rank`.
        device: as for `rank`.
        threads: as for `rank`.
        memory: as for `rank`.

    Returns:
        As `rank`.

    Raises:
        ReidError: as `rank`; members that differ in their numbers of images; a weight that is not above 0.

    >>> import numpy as np
    >>> shape, colour = np.eye(2, dtype=np.float32), np.array([[1, 1], [1, -1]], np.float32)
    >>> best, _ = fuse([(shape[:1], shape), (colour[1:], colour)], weights=[1, 3])
    >>> best.tolist()
    [[1, 0]]
    """
    pairs = [(_rows(query, "query"), _rows(gallery, "gallery")) for query, gallery in members]
    factors = [1.0] * len(pairs) if weights is None else [float(weight) for weight in weights]
    _check(pairs, factors, best, (k1, k2, lambda_) if rerank else None)
    device = vectors.choose(device)
    allowed = budget(memory, device)
    how = Reranking(k1, k2, lambda_)
    mix = how.mix if rerank else PLAIN
    built = []
    for (query, gallery), factor in zip(pairs, factors, strict=True):
        rows = None
        if rerank:
            rows = how.of_features(query, gallery, device=device, threads=threads, memory=allowed)
        built.append(Member(query, gallery, rows, factor, device))
    block = nearest_of.block_length(len(pairs[0][1]), allowed, threads=threads)
    return nearest_of.best(built, mix, best, threads=threads, block=block)


def score_distances(
    distances: Floats,
    query: Sequence[Any],
    gallery: Sequence[Any],
    query_cameras: Sequence[Any] | None = None,
    gallery_cameras: Sequence[Any] | None = None,
    *,
    protocol: str = "",
    rates: bool = False,
    threads: int = 0,
) -> dict[str, Any]:
    """CMC and mAP of a matrix of distances under one of the field's protocols.

    Args:
        distances: float32 [Q, G], smaller is nearer; equal ones rank by index.
        query: who is on each query, Q numbers or names.
        gallery: who is on each image of the gallery; −1: junk, which no query meets.
        query_cameras: where each query was taken.
        gallery_cameras: where each image of the gallery was.
        protocol: a name of `retrieval.protocols`; "": market with cameras (images of the query's person and
            camera are left out), naic without.
        rates: also the true-positive rates at small false-positive rates of all pairs; takes longer.
        threads: 0 means all processors.

    Returns:
        R1, R5, R10, mAP, mINP and others, as shares in 0 … 1, and how many queries they are of.

    Raises:
        ReidError: numbers of rows that differ; no such protocol; no query has a positive.

    >>> import numpy as np
    >>> distances = np.array([[0.1, 0.2, 0.3], [0.5, 0.4, 0.9]], np.float32)
    >>> scores = score_distances(distances, ["ann", "bob"], ["bob", "ann", "ann"])
    >>> scores["R1"], round(scores["mAP"], 4)
    (0.0, 0.5417)
    """
    distances = np.ascontiguousarray(distances, np.float32)
    cameras = [query_cameras, gallery_cameras]
    if (query_cameras is None) != (gallery_cameras is None):
        raise ReidError("score_distances: give cameras of both queries and gallery, or of neither")
    rule = protocols.named(protocol or ("naic" if query_cameras is None else "market"))
    lists = []
    for what, persons, places, num in zip(
        ("query", "gallery"), (query, gallery), cameras, distances.shape, strict=True
    ):
        for words in (persons, places):
            if words is not None and len(words) != num:
                raise ReidError(
                    f"score_distances: {what}: {len(words)} entries for {num} rows or columns of distances"
                )
        names = [str(person) for person in persons]
        taken = [""] * num if places is None else [str(place) for place in places]
        junk = [name == "-1" for name in names]
        lists.append(protocols.Columns(names, taken, junk, [False] * num, [""] * num))
    of_query, of_gallery = protocols.numbered(*lists)
    protocols.require_positives(rule, of_query, of_gallery, "score_distances")
    return evaluation.of_distances(distances, of_query, of_gallery, rule, rates=rates, threads=threads)


def _rows(given: Rows, what: str) -> Floats:
    values = given.values if isinstance(given, Features) else np.asarray(given)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise ReidError(f"{what}: must be floats [images, numbers], not {values.dtype} {list(values.shape)}")
    return np.asarray(values, np.float32)


def _check(
    pairs: list[tuple[Floats, Floats]],
    weights: list[float],
    best: int,
    neighbours: tuple[int, int, float] | None,
) -> None:
    if not pairs or len(weights) != len(pairs) or not all(0 < weight < np.inf for weight in weights):
        raise ReidError(f"fuse: {len(pairs)} members, weights {weights}: one weight above 0 for each member")
    sizes = [(len(query), len(gallery)) for query, gallery in pairs]
    for size in sizes:
        if size != sizes[0]:
            raise ReidError(
                f"fuse: one member has {sizes[0]} queries and gallery images, another {size}: all must be of "
                "the same images"
            )
    if best < 1:
        raise ReidError(f"best {best}: must be at least 1")
    if neighbours is not None:
        k1, k2, lambda_ = neighbours
        if k1 < 1 or k2 < 1 or not 0 <= lambda_ <= 1:
            raise ReidError(f"k1 {k1}, k2 {k2}, lambda_ {lambda_}: at least 1, at least 1, and in 0 … 1")
