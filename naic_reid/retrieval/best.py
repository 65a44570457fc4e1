"""The best of the gallery for each query by the members' summed distances; the same bits in any blocks."""

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit

from naic_reid.artifacts import Floats, Ints
from naic_reid.errors import ReidError
from naic_reid.retrieval import distances, parallel
from naic_reid.retrieval.distances import Member, Mix

_SAMPLED = 16  # one distance in so many
_MARGIN = 56  # more than are asked for: room for those that rounding may have put in the wrong order


def best(
    members: Sequence[Member],
    mix: Mix,
    num_best: int,
    *,
    threads: int = 0,
    block: int = distances.BLOCK,
    watch: parallel.Watch = parallel.unwatched,
) -> tuple[Ints, Floats]:
    """The num_best nearest gallery rows of each query by the sum of the members' distances.

    Returns:
        int32 [Q, R] into the gallery, nearest first, and float32 [Q, R]; R = min(num_best, G). Ties go to
        the lower index.
    """

    def fill(start: int, stop: int) -> tuple[Ints, Floats]:
        return of_block(members, mix, distances.summed(members, mix, start, stop), start, num_best)

    num_query, num_gallery = members[0].vectors.num_query, members[0].vectors.num_gallery
    nothing = np.empty((0, min(num_best, num_gallery)))
    found = [(nothing.astype(np.int32), nothing.astype(np.float32))]
    found += distances.each_block(fill, num_query, threads=threads, block=block, watch=watch)
    indices, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return indices, values


def of_block(
    members: Sequence[Member], mix: Mix, total: torch.Tensor, start: int, num_best: int
) -> tuple[Ints, Floats]:
    """The best for queries start …, whose summed distances are `total` [B, G] to rounding.

    These only make a short list, as long as the bound of their error asks for; the list is summed again
    from canonical distances, so the result depends on neither block nor threads nor device.
    """
    num_gallery = total.shape[1]
    num_best = min(num_best, num_gallery)
    if not total.numel():
        return np.empty((len(total), num_best), np.int32), np.empty((len(total), num_best), np.float32)
    width = 2 * len(members) * sum(member.error(mix, start, start + len(total)) for member in members)
    assert isinstance(width, torch.Tensor)
    # Columns stand in the order of index, which the sort below keeps among equals.
    if members[0].vectors.compiled:
        near = torch.from_numpy(_columns(total.numpy(), *_limits(total.numpy(), num_best, width.numpy())))
    else:
        near = _columns_by_topk(total, num_best, width)
    sums = sum(member.measured(near, mix, start) for member in members)
    assert isinstance(sums, torch.Tensor)
    final, order = sums.float().sort(stable=True)
    return near.gather(1, order)[:, :num_best].int().cpu().numpy(), final[:, :num_best].cpu().numpy()


def _columns_by_topk(total: torch.Tensor, num_best: int, width: torch.Tensor) -> torch.Tensor:
    """Columns [B, L] of at least all values within `width` [B] of each row's num_best-th smallest."""
    length, num_gallery = num_best + _MARGIN, total.shape[1]
    while True:
        values, near = total.topk(min(length, num_gallery), largest=False)
        limit = values[:, num_best - 1].double() + width
        needed = int((values <= limit[:, None]).sum(1).max())
        if needed < length or length >= num_gallery:
            return near[:, :needed].sort().values
        length *= 4


@njit(nogil=True, cache=True)
def _limits(total, num_best, width):  # type: ignore[no-untyped-def]
    """Of each row the num_best-th smallest value and `width`, and how many lie within that at most."""
    limits, most = np.empty(len(total)), 0
    for r in range(len(total)):
        limits[r] = np.float64(_smallest(total[r], num_best)) + width[r]
        most = max(most, (total[r] <= limits[r]).sum())
    return limits, most


@njit(nogil=True, cache=True)
def _columns(total, limits, length):  # type: ignore[no-untyped-def]
    """int64 [B, length]: the columns of values up to each row's limit, then the first of the others."""
    near = np.empty((len(total), length), np.int64)
    for r in range(len(total)):
        at = 0
        for column in range(total.shape[1]):
            if total[r, column] <= limits[r]:
                near[r, at] = column
                at += 1
        column = 0
        while at < length:
            if total[r, column] > limits[r]:
                near[r, at] = column
                at += 1
            column += 1
    return near


@njit(nogil=True, cache=True)
def _smallest(values, rank):  # type: ignore[no-untyped-def]
    """The value at this rank, from 1. A sample tells below what to look, so that few have to be ordered."""
    sample = values[::_SAMPLED].copy()
    guess = min(len(sample), 2 * rank // _SAMPLED + 8)
    limit = np.partition(sample, guess - 1)[guess - 1]
    low = values[values <= limit]
    if len(low) < rank:
        low = values
    return np.partition(low, rank - 1)[rank - 1]


def block_length(num_gallery: int, memory: int, *, threads: int = 0, arrays: int = 2) -> int:
    """How many queries may be done at once within so many bytes; each takes float32 [arrays, G] a thread."""
    one = 4 * arrays * max(num_gallery, 1) * parallel.num_threads(threads)
    return max(1, min(distances.BLOCK, memory // one))


def concatenated(members: Sequence[Member]) -> tuple[Floats, Floats]:
    """Query and gallery features [Q, ΣD], [G, ΣD]; their distance is the members' weighted mean.

    Each member's unit rows times the root of its share of the weights, side by side; held in memory.

    Raises:
        ReidError: a member's rows end in masses of regions, whose distance is no product of rows.
    """
    if any(member.vectors.regions for member in members):
        raise ReidError(
            "fuse.of features: features of visible regions cannot stand side by side with others: set "
            "fuse.of: distances"
        )
    total = sum(member.weight for member in members)
    num_query, num_gallery = members[0].vectors.num_query, members[0].vectors.num_gallery
    parts = [
        member.vectors.unit(0, num_query + num_gallery).cpu().numpy()
        * np.float32((member.weight / total) ** 0.5)
        for member in members
    ]
    both = np.concatenate(parts, axis=1)
    return both[:num_query], both[num_query:]
