"""How re-ranked distances are made, from features or from their neighbours; and query expansion."""

from typing import NamedTuple

import numpy as np
import torch

from naic_reid.artifacts import Floats, JaccardRows, Neighbours
from naic_reid.errors import ReidError
from naic_reid.retrieval import graph, k_reciprocal, multiplying, parallel, search, vectors
from naic_reid.retrieval.distances import Mix

_WORDS = {"method": ("k_reciprocal", "graph"), "norm": ("rowmax", "none"), "power": (1, 2)}


class Reranking(NamedTuple):
    """Re-ranked distances: (1 − λ)·(1 − similarity) + λ·D̂ of query × gallery.

    The similarity is that of k-reciprocal encodings (Zhong et al., CVPR 2017; the module `k_reciprocal`
    states the definition, with D̂ the squared distance of unit rows over the query's farthest), or that of a
    graph of neighbours (module `graph`, D̂ = 1 − cos). Exact: within 1e-5 of a dense float64 computation, and
    bit-identical whatever threads, memory and device are. Two rows are tied where float32 cannot tell their
    cosines apart. Memory is linear in the number of rows.

    Customs: NAIC k1 30, k2 2, λ 0.8; Market-1501 k1 20, k2 6, λ 0.3; the graph on Market-1501 26, 7, 0.3.
    """

    k1: int = 30
    """Neighbours that must be mutual, all there are at most; of the graph, neighbours that are linked, the
    image among them."""
    k2: int = 2
    """Encodings averaged, 1: none; of the graph, neighbours that are gathered from, at least 2."""
    lambda_: float = 0.8
    """Weight of the original distance."""
    method: str = "k_reciprocal"
    """k_reciprocal, or graph: see the module of that name."""
    norm: str = "rowmax"
    """Dialects of k_reciprocal; so the two below."""
    power: int = 1
    count_self: bool = False

    @property
    def keep(self) -> int:
        """Neighbours of each row that it takes."""
        return max(self.k1 + 1, self.k2)

    @property
    def mix(self) -> Mix:
        """How similarity and distance become one."""
        if self.method == "graph":
            return Mix(self.lambda_, "none")
        return Mix(self.lambda_, self.norm, self.power)

    def check(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            ReidError: one is out of range.
        """
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.lambda_ <= 1:
            raise ReidError(
                f"k1 {self.k1}, k2 {self.k2}, lambda_ {self.lambda_}: at least 1, at least 1, and in 0 … 1"
            )
        for name, known in _WORDS.items():
            if (given := getattr(self, name)) not in known:
                raise ReidError(f"re-ranking: {name} {given!r} is unknown; there are: {known}")
        if self.method == "graph" and self.k2 < 2:
            raise ReidError(f"graph re-ranking: k2 = {self.k2}, and it gathers from 2 neighbours at least")

    def rows(
        self, neighbours: Neighbours, query: Floats, gallery: Floats, *, regions: int = 0,
        asking: tuple[int, int] | None = None, threads: int = 0,
    ) -> JaccardRows:  # fmt: skip
        """The similarity of query × gallery by the neighbours of all `once`: see `k_reciprocal` and `graph`.

        Raises:
            ReidError: the method takes other numbers.
        """
        self.check()
        if self.method == "graph":
            return graph.similar_rows(
                neighbours, self.k1, self.k2, num_gallery=len(gallery), asking=asking, threads=threads
            )
        how = k_reciprocal.Encoding(self.k1, self.k2, self.norm, self.power, self.count_self)
        return k_reciprocal.jaccard_rows(
            neighbours, query, gallery, how, regions=regions, asking=asking, threads=threads
        )

    def of_features(
        self, query: Floats, gallery: Floats, *, regions: int = 0, device: str = "cpu", threads: int = 0,
        memory: int,
    ) -> JaccardRows:  # fmt: skip
        """Search and `rows` in one."""
        self.check()  # before what takes long
        union = once(query, gallery)
        found = search.k_nearest(
            *union, self.keep, regions=regions, device=device, threads=threads, memory=memory
        )
        return self.rows(found, query, gallery, regions=regions, threads=threads)


def once(query: Floats, gallery: Floats) -> tuple[Floats, Floats]:
    """Query and gallery as they are searched: one list that is both is searched once.

    VehicleID's is: each of its draws parts the same images into queries and gallery, so the neighbours of all
    are the neighbours within each draw.
    """
    itself = query.shape == gallery.shape and np.array_equal(query, gallery)
    return query, gallery[:0] if itself else gallery


def expanded(
    query: Floats,
    gallery: Floats,
    k: int,
    alpha: float,
    *,
    regions: int = 0,
    device: str = "cpu",
    threads: int = 0,
    memory: int,
) -> tuple[Floats, Floats]:
    """One round of αQE on query ∪ gallery: each row becomes Σ cos^alpha · neighbour, at unit length.

    The sum runs over the row's k nearest, itself among them (fast-reid: k = 5, alpha = 3); negative
    cosines count as 0. Radenović et al., TPAMI 2018, section 3.4. With `regions` the masses are summed alike:
    distances to the sum are means of those to its rows, weighted by what each shares.
    """
    union = once(query, gallery)
    found = search.k_nearest(*union, k, regions=regions, device=device, threads=threads, memory=memory)
    features = vectors.Vectors(*union)
    out = np.empty((len(features), features.dimension), np.float32)
    cosines = np.clip(1 - found.distances.astype(np.float64) / 2, 0, 1)
    weights = torch.from_numpy(cosines**alpha * features.union.inverse[found.rows])

    def sum_up(span: tuple[int, int]) -> None:
        rows = torch.from_numpy(found.rows[slice(*span)]).long()
        near = features.rows(rows.flatten()).double().reshape(*rows.shape, -1)
        total = torch.einsum("nk,nkd->nd", weights[slice(*span)], near)
        out[slice(*span)] = (total / total.norm(dim=1, keepdim=True)).numpy()

    for _ in multiplying.each(sum_up, parallel.spans(len(features), 256), threads):
        pass
    return out[: len(query)], out[len(out) - len(gallery) :]
