"""The best of the gallery for each query by the members' summed distances; the same bits in any blocks."""

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit

from naic_reid.artifacts import Floats, Ints
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

    num_query = members[0].vectors.num_query
    found = distances.each_block(fill, num_query, threads=threads, block=block, watch=watch)
    indices, values = (np.concatenate(parts) for parts in zip(fill(0, 0), *found, strict=True))
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
        near, held = map(torch.from_numpy, _columns(total.numpy(), num_best, width.numpy()))
    else:
        near = _columns_by_topk(total, num_best, width)
        held = torch.ones_like(near, dtype=torch.bool)
    sums = sum(member.measured(near, mix, start) for member in members)
    assert isinstance(sums, torch.Tensor)
    final, order = sums.float().where(held, torch.inf).sort(stable=True)
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
def _columns(total, num_best, width):  # type: ignore[no-untyped-def]
    """Columns, ascending, of all within `width` of each row's num_best-th smallest; 0 where not held."""
    limits = [np.float64(_smallest(row, num_best)) + width[r] for r, row in enumerate(total)]
    found = [np.flatnonzero(row <= limits[r]) for r, row in enumerate(total)]
    near = np.zeros((len(total), max([len(columns) for columns in found])), np.int64)
    held = np.zeros(near.shape, np.bool_)
    for r, columns in enumerate(found):
        near[r, : len(columns)], held[r, : len(columns)] = columns, True
    return near, held


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
