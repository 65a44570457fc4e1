"""Exact nearest neighbours on any device, within an amount of memory."""

from naic_reid.artifacts import Floats, Ints, Neighbours
from naic_reid.retrieval import nearest, nearest_gpu, parallel, vectors
from naic_reid.retrieval.vectors import Vectors


def k_nearest(
    query: Floats, gallery: Floats, keep: int, *, regions: int = 0, device: str = "cpu", threads: int = 0,
    memory: int,
) -> Neighbours:  # fmt: skip
    """The min(keep, N) nearest rows of every row, itself first, and its farthest distance: see `of_rows`."""
    features = searched(query, gallery, regions, device)
    found = of_rows(features, keep, (0, len(features)), threads=threads, memory=memory)
    return Neighbours(*found, len(query))


def searched(query: Floats, gallery: Floats, regions: int, device: str) -> Vectors:
    """Rows where they are searched: with visible regions on a processor, for GPUs know no quotients yet."""
    return Vectors(query, gallery, "cpu" if regions else device, regions=regions)


def of_rows(
    features: Vectors,
    keep: int,
    asking: tuple[int, int],
    *,
    threads: int = 0,
    memory: int,
    watch: parallel.Watch = parallel.unwatched,
) -> tuple[Ints, Floats, Floats]:
    """The nearest rows of rows start … stop, their distances, and the farthest; the same bits anywhere.

    Args:
        features: of `searched`.
        keep: neighbours of each row, itself counted; at most N are there.
        asking: start and stop of the rows whose neighbours are wanted.
        threads: on a processor; 0 means all.
        memory: bytes to stay within on the device, the features on a processor aside.
        watch: is passed the steps as they are done.

    Raises:
        ReidError: memory does not suffice.
    """
    if features.device.type != "cpu":
        return nearest_gpu.of_rows(features, keep, asking, memory=memory)
    num = len(features)
    how = nearest.plan(
        num, features.dimension, min(keep, num), memory, threads=threads, asking=asking[1] - asking[0],
        rounded=vectors.multiplies_bfloat16() and not features.regions,
    )  # fmt: skip
    return nearest.of_rows(features, keep, asking, how, threads=threads, watch=watch)
