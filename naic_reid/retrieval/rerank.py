"""Re-ranking from two arrays of features to a ranking, for people who want only this part."""

from typing import NamedTuple

import numpy as np
import torch

from naic_reid.artifacts import Floats, Ints, JaccardRows, Neighbours
from naic_reid.errors import ReidError
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import graph, k_reciprocal, multiplying, parallel, search, vectors
from naic_reid.retrieval.distances import Member, Mix
from naic_reid.retrieval.memory import budget


class Reranking(NamedTuple):
    """How re-ranked distances are made."""

    k1: int = 30
    """Neighbours that must be mutual; of the graph, neighbours that are linked, the image among them."""
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
        return (
            Mix(self.lambda_, "none") if self.method == "graph" else Mix(self.lambda_, self.norm, self.power)
        )

    def rows(
        self, neighbours: Neighbours, query: Floats, gallery: Floats, *,
        asking: tuple[int, int] | None = None, threads: int = 0,
    ) -> JaccardRows:  # fmt: skip
        """The similarity of query × gallery by their neighbours: see `k_reciprocal` and `graph`.

        Raises:
            ReidError: the method takes other numbers.
        """
        if self.method == "graph":
            if self.k2 < 2:
                raise ReidError(
                    f"graph re-ranking: k2 = {self.k2}, and it gathers from 2 neighbours at least"
                )
            return graph.similar_rows(neighbours, self.k1, self.k2, asking=asking, threads=threads)
        return k_reciprocal.jaccard_rows(
            neighbours, query, gallery, self.k1, self.k2, norm=self.norm, power=self.power,
            count_self=self.count_self, asking=asking, threads=threads,
        )  # fmt: skip

    def of_features(
        self, query: Floats, gallery: Floats, *, device: str = "cpu", threads: int = 0, memory: int
    ) -> JaccardRows:
        """Search and `rows` in one."""
        found = search.k_nearest(query, gallery, self.keep, device=device, threads=threads, memory=memory)
        return self.rows(found, query, gallery, threads=threads)


def rank(
    query: Floats,
    gallery: Floats,
    k1: int = 30,
    k2: int = 2,
    lambda_: float = 0.8,
    *,
    best: int = 200,
    query_expansion: int = 0,
    alpha: float = 3.0,
    method: str = "k_reciprocal",
    norm: str = "rowmax",
    power: int = 1,
    count_self: bool = False,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> tuple[Ints, Floats]:
    """The best of the gallery for each query by k-reciprocal re-ranking, nearest first, and their distances.

    With D = 2 − 2·cos on query ∪ gallery (N rows), D̂_ij = D_ij / max_k D_ik, N(i,k) the first k + 1 rows of
    i's list (itself first, then by distance, equal ones by index), R(i,k) = {j ∈ N(i,k) : i ∈ N(j,k)}, and
    R*(i) = R(i,k1) with every R(c, k1/2), c ∈ R(i,k1), more than two thirds of which lie in R(i,k1):

        V_ij  = exp(−D̂_ij) / Σ_{l ∈ R*(i)} exp(−D̂_il) for j ∈ R*(i), else 0
        V_i   ← mean of V_j over the first k2 rows of i's list
        J_ij  = 1 − m / (2 − m),  m = Σ_l min(V_il, V_jl)
        final = (1 − λ)·J + λ·D̂, query × gallery

    Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017. Exact: within
    1e-5 of a dense float64 computation, and bit-identical whatever threads, memory and device are. Two rows
    are tied where float32 cannot tell their cosines apart. Memory is linear in N.

    Args:
        query: float32 [Q, D], any length of rows; may be mapped from a file (`numpy.load(mmap_mode="r")`).
        gallery: float32 [G, D].
        k1: neighbours that must be mutual.
        k2: rows averaged in query expansion of the encodings; 1: none.
        lambda_: weight of the original distance.
        best: how many of the gallery are returned.
        query_expansion: before all else, replace each feature by the sum of its so many nearest, itself
            counted, weighted by cos^alpha (αQE, Radenović et al. 2018); 0: no. fast-reid uses 5.
        alpha: see `query_expansion`; 0 gives the plain average (AQE).
        method: "k_reciprocal", or "graph": propagation on the graph of neighbours, see `graph`.
        norm: "rowmax" or "none": a dialect, see `k_reciprocal`.
        power: 1 or 2: a dialect.
        count_self: a dialect.
        device: "cpu", "cuda" or "auto", for all products.
        threads: 0 means all processors.
        memory: such as "6GB"; by default half of what is free.

    Returns:
        int32 [Q, R] into the gallery and float32 [Q, R], R = min(best, G).

    Raises:
        ReidError: a row is zero or not finite; too little memory; arrays that do not fit each other.
    """
    device = vectors.choose(device)
    allowed = budget(memory, device)
    if query_expansion:
        query, gallery = expanded(
            query, gallery, query_expansion, alpha, device=device, threads=threads, memory=allowed
        )
    how = Reranking(k1, k2, lambda_, method, norm, power, count_self)
    rows = how.of_features(query, gallery, device=device, threads=threads, memory=allowed)
    block = nearest_of.block_length(len(gallery), allowed, threads=threads)
    member = Member(query, gallery, rows, device=device)
    return nearest_of.best([member], how.mix, best, threads=threads, block=block)


def expanded(
    query: Floats,
    gallery: Floats,
    k: int,
    alpha: float,
    *,
    device: str = "cpu",
    threads: int = 0,
    memory: int,
) -> tuple[Floats, Floats]:
    """One round of αQE on query ∪ gallery: each row becomes Σ cos^alpha · neighbour, at unit length.

    The sum runs over the row's k nearest, itself among them (fast-reid: k = 5, alpha = 3); negative
    cosines count as 0. Radenović et al., TPAMI 2018, section 3.4.
    """
    found = search.k_nearest(query, gallery, k, device=device, threads=threads, memory=memory)
    features = vectors.Vectors(query, gallery)
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
    return out[: len(query)], out[len(query) :]
