"""The one engine of distances: members → their weighted sum, plain or re-ranked, in blocks, on any device.

final = Σ over members of weight · ((1 − λ)·J + λ·D̂), where J is 1 − the similarity of the sparse
Jaccard rows and D̂ = D over the query's farthest distance. Distances are made from the features, a block of
queries at a time: nothing of size Q × G is ever held, and memory does not depend on the number of members.
Search aside, whatever looks at distances (fusion, evaluation, pseudo-labels) looks at these blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from naic_reid.artifacts import Floats, Ints, JaccardRows
from naic_reid.precision import float32_products
from naic_reid.retrieval import multiplying, parallel, vectors
from naic_reid.retrieval.vectors import Vectors

BLOCK = 256  # queries in a block, where memory allows

_Result = TypeVar("_Result")


class Mix(NamedTuple):
    """How Jaccard distance J and squared distance D become one; names of dialects as in `k_reciprocal`."""

    lambda_: float = 0.8
    """Weight of the original distance; 1: J plays no part."""
    norm: str = "rowmax"
    """rowmax: D̂ = D / farthest of the query; none: D̂ = D / 2 = 1 − cos, as in fast-reid's evaluator."""
    power: int = 1
    """Exponent of D̂, 1 or 2."""

    @property
    def top(self) -> float:
        """The largest distance there can be."""
        return (1 - self.lambda_) + self.lambda_ * (1 if self.norm == "rowmax" else 2**self.power)


PLAIN = Mix(lambda_=1.0, norm="none")
"""1 − cos, without re-ranking."""


class Member:
    """One (model, epoch) of the ensemble, ready to give distances.

    Args:
        query: float32 [Q, D], normalised inside.
        gallery: float32 [G, D].
        jaccard: its Jaccard rows; None where only `PLAIN` is asked for.
        weight: factor of this member's distances in the sum.
        device: where to compute.
        regions: masses of visible regions at the end of each row, see `exact`.

    Raises:
        ReidError: a row is zero or not finite.
    """

    def __init__(
        self,
        query: Floats,
        gallery: Floats,
        jaccard: JaccardRows | None = None,
        weight: float = 1.0,
        device: str = "cpu",
        *,
        regions: int = 0,
    ):
        self.vectors = Vectors(query, gallery, device, regions=regions)
        self.weight = weight
        shape = (len(query), len(gallery))
        self.similarity = jaccard.similarity if jaccard else sp.csr_array(shape, dtype=np.float32)
        self.farthest = jaccard.farthest if jaccard else np.full(shape[0], 4, np.float32)
        assert self.similarity.shape == shape, (self.similarity.shape, shape)

    def add(self, totals: Sequence[torch.Tensor], mixes: Sequence[Mix], start: int) -> None:
        """Add weight · ((1 − λ)·J + λ·D̂) of queries start … to a total [B, G] for each mix; one product."""
        stop = start + len(totals[0])
        unit = self.vectors.unit(start, stop)
        scales = [self._scales(mix, start, stop)[:, None] for mix in mixes]
        for total, mix, scale in zip(totals, mixes, scales, strict=True):
            total += self.weight * (1 - mix.lambda_)
            if mix.power == 1:  # D̂ = 2/scale − 2/scale · cos: the first term for the whole row
                total += self.weight * mix.lambda_ * 2 / scale
        for first, last in self.vectors.spans:
            cosines = self.vectors.products(unit, first, last)
            for total, mix, scale in zip(totals, mixes, scales, strict=True):
                piece = total[:, first:last]
                if mix.power == 1:
                    piece.addcmul_(cosines, self.weight * mix.lambda_ * 2 / scale, value=-1)
                else:
                    scaled = vectors.distance(cosines) / scale
                    piece.addcmul_(scaled, scaled, value=self.weight * mix.lambda_)
        for total, mix in zip(totals, mixes, strict=True):
            if mix.lambda_ < 1:
                columns, values = self._similar(start, stop)
                total.view(-1).index_add_(0, columns, values, alpha=-self.weight * (1 - mix.lambda_))

    def measured(self, near: torch.Tensor, mix: Mix, start: int) -> torch.Tensor:
        """The same for gallery rows `near` [B, L] of queries start …, canonical, float64 [B, L]."""
        stop = start + len(near)
        queries = torch.arange(start, stop, device=near.device)
        cosines = self.vectors.measure(queries, self.vectors.num_query + near)
        scaled = vectors.distance(cosines).double() / self._scales(mix, start, stop)[:, None]
        if mix.power == 2:
            scaled *= scaled
        known, values = self._similar(start, stop)
        asked = (torch.arange(len(near), device=near.device) * self.vectors.num_gallery)[:, None] + near
        similar = torch.zeros(near.shape, device=near.device)
        if len(known):
            place = torch.searchsorted(known, asked).clamp(max=len(known) - 1)
            similar = torch.where(known[place] == asked, values[place], similar)
        return self.weight * ((1 - mix.lambda_) * (1 - similar.double()) + mix.lambda_ * scaled)

    def _similar(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Places in a flattened block [B, G] where encodings overlap, ascending, and how similar they are."""
        of = self.similarity.indptr[start : stop + 1]
        rows = np.repeat(np.arange(stop - start, dtype=np.int64), np.diff(of))
        places = rows * self.vectors.num_gallery + self.similarity.indices[of[0] : of[-1]]
        device = self.vectors.device
        values = self.similarity.data[of[0] : of[-1]]
        return torch.from_numpy(places).to(device), torch.from_numpy(values).to(device)

    def _scales(self, mix: Mix, start: int, stop: int) -> torch.Tensor:
        """What the D of queries start … stop is divided by, float32."""
        farthest = torch.from_numpy(self.farthest[start:stop]).to(self.vectors.device)
        if mix.norm == "none":
            return torch.full_like(farthest, 2)
        # A farthest distance of 0 means that all rows are equal, and every D is 0.
        return torch.where(farthest > 0, farthest, 1)

    @cached_property
    def _rounding(self) -> tuple[float, float]:
        return self.vectors.rounding()

    def error(self, mix: Mix, start: int, stop: int) -> torch.Tensor:
        """A bound on the error that `add` makes in each query's distances, float64 [B]."""
        largest = 1.0 if mix.norm == "rowmax" else 2.0
        slope = mix.lambda_ * 2 / self._scales(mix, start, stop).double()
        of_cosine, _ = self._rounding
        error = slope * mix.power * largest ** (mix.power - 1) * of_cosine
        return self.weight * (error + (1 + slope + largest**mix.power) * 2.0**-21)


def each_block(
    function: Callable[[int, int], _Result],
    num_query: int,
    *,
    threads: int = 0,
    block: int = BLOCK,
    watch: parallel.Watch = parallel.unwatched,
) -> Iterator[_Result]:
    """`function` of the first query and the end of every block of queries, in order, several at once."""
    spans = parallel.spans(num_query, block)
    with float32_products("fp32"):  # the bound of a product's error holds for all bits of its factors
        yield from watch(multiplying.each(lambda span: function(*span), spans, threads), len(spans))


def measured_pairs(
    members: Sequence[Member], mix: Mix, rows: Ints, begin: NDArray[np.int64], *, threads: int = 0
) -> Floats:
    """Canonical distances of pairs: of each query the gallery rows that `rows` holds from its `begin`."""

    def of_block(start: int, stop: int) -> Floats:
        counts = np.diff(begin[start : stop + 1])
        held = np.arange(counts.max(initial=0)) < counts[:, None]
        near = np.zeros(held.shape, np.int64)
        near[held] = rows[begin[start] : begin[stop]]
        asked = torch.from_numpy(near).to(members[0].vectors.device)
        sums = torch.zeros(held.shape, dtype=torch.float64, device=asked.device)
        for member in members:
            sums += member.measured(asked, mix, start)
        found: Floats = sums.float().cpu().numpy()[held]
        return found

    parts = each_block(of_block, len(begin) - 1, threads=threads)
    return np.concatenate([np.zeros(0, np.float32), *parts])


def summed(members: Sequence[Member], mix: Mix, start: int, stop: int) -> torch.Tensor:
    """The members' sum for queries start … stop, float32 [B, G], to rounding."""
    total = torch.zeros(stop - start, members[0].vectors.num_gallery, device=members[0].vectors.device)
    for member in members:
        member.add([total], [mix], start)
    return total
