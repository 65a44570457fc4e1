"""Exact nearest neighbours on any device, within an amount of memory."""

from naic_reid.artifacts import Floats, Ints, Neighbours
from naic_reid.retrieval import nearest, nearest_gpu, parallel, vectors
from naic_reid.retrieval.vectors import Vectors


def k_nearest(
    query: Floats, gallery: Floats, keep: int, *, regions: int = 0, device: str = "cpu", threads: int = 0,
    memory: int,
) -> Neighbours:  # fmt: skip
    """The min(keep, N) nearest rows of every row, itself first, and its farthest distance: see `of_rows`."""
    asking = 0, len(query) + len(gallery)
    found = of_rows(
        query, gallery, keep, asking, regions=regions, device=device, threads=threads, memory=memory
    )
    return Neighbours(*found, len(query))


def of_rows(
    query: Floats,
    gallery: Floats,
    keep: int,
    asking: tuple[int, int],
    *,
    regions: int = 0,
    device: str = "cpu",
    threads: int = 0,
    memory: int,
    watch: parallel.Watch = parallel.unwatched,
) -> tuple[Ints, Floats, Floats]:
    """The nearest rows of rows start … stop, their distances, and the farthest; the same bits anywhere.

    Args:
        query: float32 [Q, D], normalised inside.
        gallery: float32 [G, D].
        keep: neighbours of each row, itself counted; at most N are there.
        asking: start and stop of the rows whose neighbours are wanted.
        regions: masses of visible regions at the end of each row, see `exact`.
        device: where to compute; with regions, on a processor.
        threads: on a processor; 0 means all.
        memory: bytes to stay within on the device, the features on a processor aside.
        watch: is passed the steps as they are done.

    Raises:
        ReidError: a row is zero or not finite, or memory does not suffice.
    """
    if device != "cpu" and not regions:
        return nearest_gpu.of_rows(Vectors(query, gallery, device), keep, asking, memory=memory)
    num, dimension = len(query) + len(gallery), query.shape[1]
    how = nearest.plan(
        num, dimension, min(keep, num), memory, threads=threads, asking=asking[1] - asking[0],
        rounded=vectors.multiplies_bfloat16() and not regions,
    )  # fmt: skip
    return nearest.of_rows(
        Vectors(query, gallery, regions=regions), keep, asking, how, threads=threads, watch=watch
    )
