"""The same neighbours as `nearest`, bit for bit, with torch on a GPU (or any device it knows).

Here selection is cheap and tiles large: blocks of rows meet all rows, the best of each are taken by
`topk` from a product in reduced precision, and are measured again on the device. Each measured pair is
compared with the bound of its error. A row whose list might have ended too early takes part again with a
longer one.
"""

import torch

from naic_reid.artifacts import Floats, Ints
from naic_reid.precision import float32_products
from naic_reid.retrieval import vectors
from naic_reid.retrieval.vectors import Vectors

_ROWS = 1 << 14  # rounded in one go


def of_rows(
    features: Vectors, keep: int, asking: tuple[int, int], *, memory: int, block: int = 0
) -> tuple[Ints, Floats, Floats]:
    """The min(keep, N) nearest rows, their distances and the farthest distance of rows start … stop.

    Args:
        features: query and gallery on a device.
        keep: neighbours of each row, itself counted.
        asking: start and stop of the rows whose neighbours are wanted.
        memory: bytes to stay within on the device.
        block: rows that meet all others in one go; 0: what memory allows. Halved when memory runs out.
    """
    num = len(features)
    keep = min(keep, num)
    first, last = asking
    rows = torch.empty((last - first, keep), dtype=torch.int32)
    distances = torch.empty((last - first, keep))
    farthest = torch.zeros(last - first)
    if first < last:
        search = _Search(features, keep)
        block = block or max(16, min(num, (memory - 8 * num * features.dimension) // (16 * num)))
        start = first
        while start < last:
            stop = min(start + block, last)
            try:
                found = search.of_block(start, stop)
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
    """Rows rounded to multiply fast; their float32 forms where that leaves too much in doubt."""

    def __init__(self, features: Vectors, keep: int):
        self.features, self.keep = features, keep
        self.num = len(features)
        self.length = 2 * keep + 32  # of the lists that are measured; grows when many end too early
        self.rounded = torch.empty((self.num, features.dimension), device=features.device)
        error = 0.0
        for start in range(0, self.num, _ROWS):
            unit = features.unit(start, min(start + _ROWS, self.num))
            rounded = _to_tf32(unit)
            self.rounded[start : start + _ROWS] = rounded
            error = max(error, float((unit - rounded).square().sum(1).max()) ** 0.5)
        largest = error * 1.001 + 2.0**-22  # the bound is derived in `vectors.rounding`
        self.precise_slack, _ = vectors.rounding(features.dimension)
        self.slack = largest + (1 + largest) * largest + self.precise_slack

    def of_block(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Neighbours, distances and farthest distance of rows start … stop."""
        rows = torch.arange(start, stop, device=self.features.device)
        with float32_products("tf32"):
            product = self.rounded[start:stop] @ self.rounded.T
        *found, short = self._of_product(rows, product, self.length, self.slack)
        del product
        again, length = short.nonzero()[:, 0], self.length
        if 8 * len(again) > len(rows):
            self.length = min(2 * self.length, self.num)
        while len(again):
            unfinished = []
            for piece in torch.split(again, max(1, len(rows) // 4)):
                *better, short = self._of_product(
                    rows[piece], self._precise(rows[piece]), length, self.precise_slack
                )
                for whole, part in zip(found, better, strict=True):
                    whole[piece] = part
                unfinished.append(piece[short])
            again, length = torch.cat(unfinished), 4 * length
        return found[0], found[1], found[2]

    def _precise(self, rows: torch.Tensor) -> torch.Tensor:
        """The float32 product of a few rows with all, by all bits of its factors."""
        features = self.features
        unit = features.unit_of(rows)
        with float32_products("fp32"):
            parts = [unit @ part.T for part in features.parts]
        product: torch.Tensor = torch.cat(parts, 1).mul_(features.inverse.float())
        return product

    def _of_product(
        self, rows: torch.Tensor, product: torch.Tensor, length: int, slack: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same for any rows by their product [B, N], and whose lists may have ended too early."""
        length, far_length = min(length, self.num), min(max(8, length // 8), self.num)
        if length == self.num:
            far_length = self.num
        lowest, far = product.topk(far_length, largest=False)
        farthest = self._measured(rows, far, lowest, slack).amin(1)
        product[torch.arange(len(rows), device=rows.device), rows] = torch.inf  # itself is always first
        nearest, near = product.topk(length)
        near, by_index = near.sort(1)  # which the sort below keeps among equals
        cosines = self._measured(rows, near, nearest.gather(1, by_index), slack)
        cosines[near == rows[:, None]] = torch.inf
        cosines, order = cosines.sort(stable=True, dim=1, descending=True)
        # What was left out must lie below the last that is kept, and above the farthest, by the bound.
        short = nearest[:, -1] + slack >= cosines[:, self.keep - 1]
        short |= lowest[:, -1] - slack <= farthest
        if length == self.num:
            short[:] = False
        near = near.gather(1, order)[:, : self.keep].int()
        return near, vectors.distance(cosines[:, : self.keep]), vectors.distance(farthest), short

    def _measured(
        self, rows: torch.Tensor, others: torch.Tensor, rounded: torch.Tensor, slack: float
    ) -> torch.Tensor:
        """Canonical cosines [B, L] of pairs whose products are `rounded` [B, L]."""
        cosines = self.features.measure(rows, others)
        apart = (cosines - rounded).abs()
        apart[torch.isinf(rounded)] = 0
        assert float(apart.max()) <= slack, "a product is further from its cosine than its bound says"
        return cosines


def _to_tf32(values: torch.Tensor) -> torch.Tensor:
    """Rounded to the ten bits that the product would cut them to, so that its error can be bounded."""
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
