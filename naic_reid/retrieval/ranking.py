"""Ranking and fusing from arrays, for programs: no files, no settings.

    from naic_reid import Reranking, fuse, rank

    best, distances = rank(query, gallery, best=10)                       # by cosine
    best, distances = rank(query, gallery, rerank=Reranking(k1=20, k2=6, lambda_=0.3))
    best, distances = fuse([(query, gallery), (other_query, other_gallery)], weights=[2, 1])

Features are float32 [Q, D] and [G, D], rows of any length but 0, or `Features`; arrays may be mapped from a
file (`numpy.load(mmap_mode="r")`) larger than memory. Results do not depend on threads, memory or device: not
by a bit.
"""

from collections.abc import Sequence

import numpy as np

from naic_reid.artifacts import Features, Floats, Ints
from naic_reid.errors import ReidError
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import exact, vectors
from naic_reid.retrieval.distances import PLAIN, Member
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.rerank import Reranking

Rows = Floats | Features


def rank(
    query: Rows,
    gallery: Rows,
    best: int = 200,
    *,
    rerank: Reranking | None = None,
    regions: int = 0,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> tuple[Ints, Floats]:
    """The best of the gallery for each query, nearest first, and their distances.

    Args:
        query: float32 [Q, D].
        gallery: float32 [G, D].
        best: how many of the gallery are returned.
        rerank: by re-ranked distances, see `Reranking`; None: by 1 − cos.
        regions: how many numbers at the end of each row are masses of visible regions; `Features` say it
            themselves.
        device: cpu, cuda or auto.
        threads: 0 means all processors.
        memory: such as "6GB"; by default half of what is free.

    Returns:
        int32 [Q, R] into the gallery and float32 [Q, R], R = min(best, G). Equal distances: the lower index
        first.

    Raises:
        ReidError: a row is zero or not finite; arrays that do not fit each other; a number out of range; too
            little memory.

    >>> import numpy as np
    >>> gallery = np.array([[1, 0], [0, 1], [3, 4]], np.float32)
    >>> best, distances = rank(np.array([[0, 2]], np.float32), gallery, best=2)
    >>> print(best, distances.round(3))
    [[1 2]] [[0.  0.2]]
    """
    return fuse(
        [(query, gallery)], None, best,
        rerank=rerank, regions=regions, device=device, threads=threads, memory=memory,
    )  # fmt: skip


def fuse(
    members: Sequence[tuple[Rows, Rows]],
    weights: Sequence[float] | None = None,
    best: int = 200,
    *,
    rerank: Reranking | None = None,
    regions: int = 0,
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
        rerank: as for `rank`, each member by itself.
        regions: as for `rank`, of every member whose rows are arrays.
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
    _check(pairs, factors, best, rerank)
    device = vectors.choose(device)
    allowed = budget(memory, device)
    built = []
    for pair, given, factor in zip(pairs, members, factors, strict=True):
        masses = {row.regions if isinstance(row, Features) else regions for row in given}
        if len(masses) > 1:
            raise ReidError(
                f"query and gallery: features of {sorted(masses)} regions: one network gives both"
            )
        own = masses.pop()
        rows = rerank and rerank.of_features(
            *pair, regions=own, device=device, threads=threads, memory=allowed
        )
        built.append(Member(*pair, rows, factor, device, regions=own))
    block = nearest_of.block_length(len(pairs[0][1]), allowed, threads=threads)
    return nearest_of.best(built, rerank.mix if rerank else PLAIN, best, threads=threads, block=block)


def _rows(given: Rows, what: str) -> Floats:
    return exact.floats(given.values if isinstance(given, Features) else given, what)


def _check(
    pairs: list[tuple[Floats, Floats]], weights: list[float], best: int, rerank: Reranking | None
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
    if rerank is not None:
        rerank.check()
