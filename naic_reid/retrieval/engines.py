"""Nearest neighbours by faiss: `faiss-flat`, or approximate for galleries beyond exact search.

Whatever an engine finds is measured in the canonical order of `exact`, so lists are in order and
distances are true; what an approximate engine does not find is missing, and `recall` says how much.
The farthest distance is that among a sample of rows here, a little too small; for `faiss-flat` it is
found by the opposite query. A graph (`faiss-hnsw`) built by several threads differs from run to run.
"""

from math import isqrt
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.artifacts import Floats, Ints, Neighbours
from naic_reid.retrieval import parallel, vectors
from naic_reid.retrieval.vectors import Vectors

ENGINES = ("faiss-flat", "faiss-ivf", "faiss-hnsw")
_BLOCK = 8192  # rows handed to faiss in one go
_SAMPLE = 4096  # rows among which approximate engines look for the farthest


def k_nearest(
    query: Floats, gallery: Floats, keep: int, engine: str, *, nprobe: int = 64, ef_search: int = 64,
    threads: int = 0,
) -> Neighbours:  # fmt: skip
    """The min(keep, N) nearest rows of every row that the engine finds, itself first.

    Args:
        query: float32 [Q, D], normalised inside.
        gallery: float32 [G, D].
        keep: neighbours of each row, itself counted.
        engine: one of `ENGINES`.
        nprobe: cells looked into (faiss-ivf).
        ef_search: length of the candidate list (faiss-hnsw).
        threads: 0 means all processors.
    """
    features = Vectors(query, gallery)
    num = len(features)
    keep = min(keep, num)
    rows = np.empty((num, keep), np.int32)
    distances = np.empty((num, keep), np.float32)
    farthest = np.zeros(num, np.float32)
    if num:
        faiss.omp_set_num_threads(parallel.num_threads(threads))
        index = _index(features, engine, nprobe, ef_search)
        asked = min(keep + 16, num)  # more than kept: faiss orders by rounded products
        sample = np.linspace(0, num - 1, min(num, _SAMPLE)).astype(np.int64)
        for start, stop in parallel.spans(num, _BLOCK):
            block = features.unit(start, stop).numpy()
            found = index.search(block, asked)[1]
            lost = np.flatnonzero((found < 0).any(axis=1))
            if len(lost):
                found[lost] = _whole_search(features, block[lost], asked)
            if engine == "faiss-flat":
                far = index.search(-block, min(8, num))[1]
            else:
                far = sample[np.argmin(block @ _unit_rows(features, sample).T, axis=1)][:, None]
            rows[start:stop], distances[start:stop] = _measured(features, start, found, keep)
            cosines = features.measure(torch.arange(start, stop), torch.from_numpy(far))
            outermost = vectors.distance(cosines).amax(1).numpy()
            farthest[start:stop] = np.maximum(distances[start:stop, -1], outermost)
    return Neighbours(rows, distances, farthest, len(query))


def recall(query: Floats, gallery: Floats, found: Neighbours, sample: int = 200) -> float:
    """The share of true neighbours that were found, over evenly spaced rows."""
    num, keep = found.rows.shape
    if num == 0:
        return 1.0
    features = Vectors(query, gallery)
    chosen = np.unique(np.linspace(0, num - 1, min(num, sample)).astype(np.int64))
    unit = _unit_rows(features, chosen)
    true = _whole_search(features, unit, keep)
    last = np.array(
        [(_unit_rows(features, near) @ row).min(initial=1) for near, row in zip(true, unit, strict=True)]
    )
    # Of equal neighbours at the end of a list any will do, so what is counted is what lies near enough.
    return float((found.distances[chosen] <= 2 - 2 * last[:, None] + 1e-5).mean())


def _index(features: Vectors, engine: str, nprobe: int, ef_search: int) -> Any:
    num, dimension = len(features), features.dimension
    cells = max(1, min(4 * isqrt(num), num // 40))
    kind = {"faiss-flat": "Flat", "faiss-ivf": f"IVF{cells},Flat", "faiss-hnsw": "HNSW32,Flat"}[engine]
    index: Any = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
    if engine == "faiss-ivf":
        chosen = np.linspace(0, num - 1, min(num, 64 * cells)).astype(np.int64)
        index.train(_unit_rows(features, chosen))
        index.nprobe = min(nprobe, cells)
    elif engine == "faiss-hnsw":
        index.hnsw.efConstruction = 2 * ef_search
        index.hnsw.efSearch = ef_search
    if engine != "faiss-hnsw" and getattr(faiss, "get_num_gpus", int)() > 0:  # faiss-gpu, when installed
        index = faiss.index_cpu_to_all_gpus(index)
    for start, stop in parallel.spans(num, _BLOCK):
        index.add(features.unit(start, stop).numpy())
    return index


def _unit_rows(features: Vectors, chosen: NDArray[np.int64]) -> Floats:
    """Chosen rows at unit length [len(chosen), D]."""
    unit: Floats = features.unit_of(torch.from_numpy(chosen)).numpy()
    return unit


def _whole_search(features: Vectors, unit: Floats, keep: int) -> NDArray[np.int64]:
    """The `keep` nearest of a few unit rows by looking at all, in no order [B, keep]."""
    near = np.empty((len(unit), 0), np.int64)
    values = np.empty((len(unit), 0), np.float32)
    for start, stop in parallel.spans(len(features), _BLOCK):
        columns = np.broadcast_to(np.arange(start, stop), (len(unit), stop - start))
        near = np.concatenate([near, columns], axis=1)
        values = np.concatenate([values, unit @ features.unit(start, stop).numpy().T], axis=1)
        best = np.argpartition(-values, min(keep, values.shape[1]) - 1, axis=1)[:, :keep]
        near, values = np.take_along_axis(near, best, 1), np.take_along_axis(values, best, 1)
    return near


def _measured(features: Vectors, first: int, found: NDArray[np.int64], keep: int) -> tuple[Ints, Floats]:
    """Of what was found for rows first …, [B, keep] in order, the row itself at the head; distances."""
    near = torch.from_numpy(found).sort(1).values
    own = torch.arange(first, first + len(near))[:, None]
    cosines = features.measure(own[:, 0], near)
    cosines[near == own] = -torch.inf
    cosines, order = cosines.sort(stable=True, dim=1, descending=True)
    near, cosines = near.gather(1, order)[:, : keep - 1], cosines[:, : keep - 1]
    measured = torch.cat([torch.zeros(len(own), 1), vectors.distance(cosines)], 1)
    return torch.cat([own, near], 1).int().numpy(), measured.numpy()
