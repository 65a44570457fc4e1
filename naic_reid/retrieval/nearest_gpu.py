"""The same neighbours as `nearest`, bit for bit, with torch on a GPU (or any device it knows).

Here selection is cheap and tiles large: blocks of rows meet all rows, the best of each are taken by
`topk` from a product in reduced precision, and are measured again on the device, in the order of
summation of `exact`. A row whose list might have ended too early takes part again with a longer one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from naic_reid.artifacts import Floats, Ints, Neighbours
from naic_reid.retrieval import exact, products

_LANES = 32  # running sums of `exact.dot`
_PIECE = 1 << 26  # float64 products measured in one go, 512 MB


def k_nearest(
    union: exact.Rows, num_query: int, keep: int, *, device: str, memory: int, block: int = 0
) -> Neighbours:
    """The min(keep, N) nearest rows of every row, itself first, and its farthest distance: see `of_rows`."""
    asking = 0, len(union.inverse)
    return Neighbours(*of_rows(union, keep, asking, device=device, memory=memory, block=block), num_query)


def of_rows(
    union: exact.Rows, keep: int, asking: tuple[int, int], *, device: str, memory: int, block: int = 0
) -> tuple[Ints, Floats, Floats]:
    """The min(keep, N) nearest rows, their distances and the farthest distance of rows start … stop.

    Args:
        union: query and gallery, see `exact.rows`.
        keep: neighbours of each row, itself counted.
        device: where to compute.
        asking: start and stop of the rows whose neighbours are wanted.
        memory: bytes to stay within on the device.
        block: rows that meet all others in one go; 0: what memory allows. Halved when memory runs out.
    """
    num, dimension = len(union.inverse), union.gallery.shape[1]
    keep = min(keep, num)
    first, last = asking
    rows = torch.empty((last - first, keep), dtype=torch.int32)
    distances = torch.empty((last - first, keep))
    farthest = torch.zeros(last - first)
    if first < last:
        search = _Search(union, keep, device)
        block = block or max(16, min(num, (memory - 8 * num * dimension) // (16 * num)))
        start = first
        while start < last:
            stop = min(start + block, last)
            try:
                found = search.of_rows(torch.arange(start, stop, device=device), 2 * keep + 32)
            except torch.cuda.OutOfMemoryError:
                if block == 1:
                    raise
                block = (block + 1) // 2
                torch.cuda.empty_cache()
                continue
            for whole, part in zip((rows, distances, farthest), found, strict=True):
                whole[start - first : stop - first] = part.cpu()
            start = stop
    return rows.numpy(), distances.numpy(), farthest.numpy()


class _Search:
    """All rows on the device, in float32 to measure and rounded to multiply."""

    def __init__(self, union: exact.Rows, keep: int, device: str):
        self.keep = keep
        self.values = torch.cat([products.tensor(union.query), products.tensor(union.gallery)]).to(device)
        self.inverse = torch.from_numpy(union.inverse).to(device)
        self.rounded = torch.empty_like(self.values)
        error = 0.0
        for start in range(0, len(self.values), 1 << 14):
            unit = (
                self.values[start : start + (1 << 14)] * self.inverse[start : start + (1 << 14), None].float()
            )
            rounded = _to_tf32(unit)
            self.rounded[start : start + (1 << 14)] = rounded
            error = max(error, float((unit - rounded).square().sum(1).max()) ** 0.5)
        largest = error * 1.001 + 2.0**-22  # the bound is derived in `nearest._operand`
        self.slack = largest + (1 + largest) * largest + products.rounding(self.values.shape[1])

    def of_rows(self, rows: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Neighbours, distances and farthest distance of these rows, by lists of this length at first."""
        num, keep = len(self.values), self.keep
        length, far_length = (num, num) if length >= num else (length, max(8, length // 8))
        with _tf32(self.values.device):
            product = self.rounded[rows] @ self.rounded.T
        lowest, far = product.topk(min(far_length, num), largest=False)
        product[torch.arange(len(rows), device=rows.device), rows] = torch.inf  # itself is always first
        nearest, near = product.topk(length)
        del product
        near = near.sort(1).values
        cosines = self.measure(rows, near)
        cosines[near == rows[:, None]] = torch.inf
        order = cosines.sort(stable=True, dim=1, descending=True).indices[:, :keep]
        found = near.gather(1, order).int()
        distances = _distances(cosines.gather(1, order))
        farthest = _distances(self.measure(rows, far)).max(1).values
        if length < num:
            # What was left out must lie below the last that is kept, and above the farthest, by the bound.
            short = nearest[:, -1] >= nearest[:, keep - 1] - 2 * self.slack
            short |= lowest[:, -1] <= lowest[:, 0] + 2 * self.slack
            crowded = short.nonzero()[:, 0]
            for piece in torch.split(crowded, max(1, len(rows) // 4)) if len(crowded) else ():
                again = self.of_rows(rows[piece], 4 * length)
                found[piece], distances[piece], farthest[piece] = again
        return found, distances, farthest

    def measure(self, rows: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Canonical cosines of each row with its candidates, float32 like `candidates` [B, L]."""
        one = rows[:, None].expand_as(candidates).reshape(-1)
        other = candidates.reshape(-1)
        step = max(1, _PIECE // self.values.shape[1])
        parts = [self._cosines(one[at : at + step], other[at : at + step]) for at in range(0, len(one), step)]
        return torch.cat(parts).reshape(candidates.shape)

    def _cosines(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        products_ = self.values[one].double() * self.values[other].double()
        whole = products_.shape[1] // _LANES * _LANES
        sums = torch.zeros((len(one), _LANES), dtype=torch.float64, device=one.device)
        for start in range(0, whole, _LANES):
            sums += products_[:, start : start + _LANES]
        sums = (sums[:, 0:8] + sums[:, 8:16]) + (sums[:, 16:24] + sums[:, 24:32])
        for half in (4, 2, 1):
            sums = sums[:, :half] + sums[:, half:]
        total = sums[:, 0]
        for column in range(whole, products_.shape[1]):
            total = total + products_[:, column]
        return (total * (self.inverse[one] * self.inverse[other])).float()


def _distances(cosines: torch.Tensor) -> torch.Tensor:
    return (2 - 2 * cosines).clamp(min=0)


def _to_tf32(values: torch.Tensor) -> torch.Tensor:
    """Rounded to the ten bits that the product would cut them to, so that its error can be bounded."""
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@contextmanager
def _tf32(device: torch.device) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
