"""Query ∪ gallery on a device: to multiply fast, and to measure in the one canonical order of `exact`.

A float32 product only tells what has to be looked at, within a bound (`rounding`); what counts is then
measured. Measured cosines have the same bits on every device: on a processor by the compiled kernel of
`exact`, elsewhere by torch in float64, in the same order of summation.
"""

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.artifacts import Floats
from naic_reid.retrieval import exact

_PIECE = 1 << 26  # float64 products measured in one go, 512 MB
_STEP = 1 << 11  # gallery rows multiplied in one go: read from a mapped file, used while still in the cache


class Vectors:
    """Rows 0 … Q + G − 1, queries first.

    Args:
        query: float32 [Q, D], any length of rows; on a processor not copied, so it may be mapped.
        gallery: float32 [G, D].
        device: where to compute.
        compiled: measure by `exact`'s kernel; None: on a processor.
        regions: how many numbers at the end of a row are masses of visible regions, see `exact`.

    Raises:
        ReidError: a row is zero or not finite, or query and gallery do not fit each other.
    """

    def __init__(
        self, query: Floats, gallery: Floats, device: str = "cpu", *, compiled: bool | None = None,
        regions: int = 0,
    ):  # fmt: skip
        self.union = exact.rows(query, gallery, regions)
        self.device = torch.device(device)
        self.compiled = self.device.type == "cpu" if compiled is None else compiled
        self.parts = [_tensor(part).to(self.device) for part in (self.union.query, self.union.gallery)]
        self.inverse = torch.from_numpy(self.union.inverse).to(self.device)

    def __len__(self) -> int:
        return self.num_query + self.num_gallery

    @property
    def dimension(self) -> int:
        return int(self.union.gallery.shape[1])

    @property
    def regions(self) -> int:
        return self.union.regions

    @property
    def num_query(self) -> int:
        return len(self.union.query)

    @property
    def num_gallery(self) -> int:
        return len(self.union.gallery)

    def rows(self, chosen: torch.Tensor) -> torch.Tensor:
        """Chosen rows as they were given, float32 [len(chosen), D], a copy."""
        out = torch.empty((len(chosen), self.dimension), device=self.device)
        of_query = chosen < self.num_query
        out[of_query] = self.parts[0][chosen[of_query]]
        out[~of_query] = self.parts[1][chosen[~of_query] - self.num_query]
        return out

    def unit(self, start: int, stop: int) -> torch.Tensor:
        """Rows start … stop at unit length, float32 [stop − start, D], a copy."""
        query, gallery = self.parts
        num = self.num_query
        both = torch.cat([query[start : min(stop, num)], gallery[max(start - num, 0) : max(stop - num, 0)]])
        both *= self.inverse[start:stop, None].float()
        return both

    def unit_of(self, chosen: torch.Tensor) -> torch.Tensor:
        """Chosen rows at unit length, float32 [len(chosen), D]."""
        return self.rows(chosen) * self.inverse[chosen, None].float()

    def products(self, factors: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Cosines of unit rows [B, D] with gallery rows start … stop, float32 [B, stop − start]."""
        lengths = self.inverse[None, self.num_query + start : self.num_query + stop].float()
        return self.multiplied(factors, self.parts[1][start:stop], lengths)

    def multiplied(
        self, factors: torch.Tensor, others: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Cosines to rounding [B, L] of unit rows [B, D] with rows [L, D] that are times 1/`lengths`."""
        first = factors.shape[1] - self.regions
        made = factors[:, :first] @ others[:, :first].T
        if lengths is not None:
            made *= lengths
        if self.regions:
            shared = factors[:, first:] @ others[:, first:].T
            if lengths is not None:
                shared *= lengths
            made /= shared.clamp_(min=exact.LEAST_SHARED)
        return made

    def rounding(self, lost: float | None = None) -> tuple[float, float]:
        """The bound (slack, share) of the error of `multiplied`; see the function.

        With regions a quotient v = a/c of two such products, |a| ≤ c: their errors over c, twice. No c is
        less than the sum over regions of the squares of their least masses.
        """
        slack, share = rounding(self.dimension, lost)
        if not self.regions:
            return slack, share
        assert lost is None, "quotients are taken of float32 rows"
        masses = torch.cat([part[:, -self.regions :] for part in self.parts]) * self.inverse[:, None]
        least = float(masses.amin(0).square().sum()) if len(self) else 0.0
        return 2 * slack / max(least * 0.999, exact.LEAST_SHARED) + 2.0**-21, share

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Pieces of the gallery to multiply in one go."""
        return [(at, min(at + _STEP, self.num_gallery)) for at in range(0, self.num_gallery, _STEP)]

    def measure(self, rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Canonical cosines of each of `rows` [B] with its `others` [B, L], float32 [B, L]."""
        if self.compiled:
            return torch.from_numpy(exact.cosines(self.union, rows.numpy(), others.numpy()))
        one = rows[:, None].expand_as(others).reshape(-1)
        other = others.reshape(-1)
        step = max(1, _PIECE // self.dimension)
        pieces = [
            self._cosines(one[at : at + step], other[at : at + step]) for at in range(0, len(one), step)
        ]
        return torch.cat([*pieces, torch.empty(0, device=self.device)]).reshape(others.shape)

    def measured_distances(self, queries: NDArray[np.int64], rows: NDArray[np.int64]) -> Floats:
        """Canonical 1 − cos of queries [N] and gallery rows [N], float32 [N]."""
        one, other = (torch.from_numpy(each).to(self.device) for each in (queries, rows))
        cosines = self.measure(one, self.num_query + other[:, None])[:, 0]
        found: Floats = (distance(cosines) / 2).cpu().numpy()
        return found

    def _cosines(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        made = self.rows(one).double() * self.rows(other).double()
        scale = self.inverse[one] * self.inverse[other]
        if not self.regions:
            return (_summed(made) * scale).float()
        shared = (_summed(made[:, -self.regions :]) * scale).clamp(min=exact.LEAST_SHARED)
        return (_summed(made[:, : -self.regions]) * scale / shared).float()


def _summed(made: torch.Tensor) -> torch.Tensor:
    """Sums of rows of float64 products [B, D], in the order of `exact.dot`."""
    whole = made.shape[1] // exact.LANES * exact.LANES
    sums = torch.zeros((len(made), exact.LANES), dtype=torch.float64, device=made.device)
    for start in range(0, whole, exact.LANES):
        sums += made[:, start : start + exact.LANES]
    sums = (sums[:, 0:8] + sums[:, 8:16]) + (sums[:, 16:24] + sums[:, 24:32])
    for half in (4, 2, 1):
        sums = sums[:, :half] + sums[:, half:]
    total = sums[:, 0]
    for column in range(whole, made.shape[1]):
        total = total + made[:, column]
    return total


def similarities(query: Floats, gallery: Floats, regions: int = 0) -> Floats:
    """Cosines float32 [Q, G] to rounding, of a few rows of any length; with `regions`, of what both show."""
    features = Vectors(query, gallery, regions=regions)
    made: Floats = features.products(features.unit(0, len(query)), 0, len(gallery)).numpy()
    return made


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions that make bfloat16 products faster than float32 ones."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def distance(cosines: torch.Tensor) -> torch.Tensor:
    """2 − 2·cos ≥ 0, as `exact.distance`."""
    return (2 - 2 * cosines).clamp(min=0)


def choose(device: str) -> str:
    """The device meant by "auto": a GPU where there is one."""
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def rounding(dimension: int, lost: float | None = None) -> tuple[float, float]:
    """The bound (slack, share) of a product v of unit rows: their cosine lies within slack + share·|v|.

    Summing in float32, in any order, adds D·2⁻²⁴ (Higham 2002, eq. 3.5), here twice for safety; bringing to
    unit length adds a little more. With g = b + e a row and its bfloat16 form, |g·g′ − b·b′| =
    |e·g′ + b·e′| ≤ δ + (1 + δ)·δ for |e| ≤ δ; a result is rounded once more, by 2⁻⁸ of itself at most.

    Args:
        dimension: of the rows.
        lost: the greatest length of an e, at most 2⁻⁸; None: float32 rows, which lose nothing.
    """
    summing = dimension * 2.0**-23 + 2.0**-21
    if lost is None:
        return summing, 0.0
    largest = lost * 1.001 + 2.0**-22
    return summing + largest + (1 + largest) * largest, 2.0**-8 * 1.01


def _tensor(values: Floats) -> torch.Tensor:
    """The same memory as a float32 tensor, to be read only and no longer than `values` lives."""
    if values.size == 0:
        return torch.empty(values.shape)
    # torch has no read-only tensors and warns of arrays that are (a mapped file); hence the address.
    memory = (ctypes.c_float * values.size).from_address(values.ctypes.data)
    return torch.frombuffer(memory, dtype=torch.float32).reshape(values.shape)
