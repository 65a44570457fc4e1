"""Wall time and memory of scoring: from a matrix of distances, and from features beside their plain product.

    python benchmarks/score.py                       CMC, mAP, mINP of 3,368 × 15,913 beside sorting every row
    python benchmarks/score.py --features            features of MSMT17's size beside their product
    python benchmarks/score.py --features --scale 0.2

Nothing is timed before scores of a small set agree with the definitions in plain Python. Reference and
ours take turns; a ratio is within a turn, then the median. `used` is processor time, `extra` the peak of
resident memory above what stood before (features included), sampled.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.rerank import Meter
from naic_reid.artifacts import Floats
from naic_reid.retrieval import parallel
from naic_reid.retrieval.evaluation import of_distances
from naic_reid.retrieval.protocols import PROTOCOLS, Labels
from naic_reid.retrieval.scoring import score
from tests.oracles import metrics as oracle

MARKET = (3_368, 15_913, 750, 6)
MSMT17 = (11_659, 82_161, 3_060, 15)
"""Queries, gallery images, persons, cameras."""


def drawn(size: tuple[int, int, int, int], seed: int = 0) -> tuple[Labels, Labels]:
    """Labels of so many images; in the gallery some persons whom no query shows."""
    rng = np.random.default_rng(seed)
    num_query, num_gallery, persons, cameras = size
    return tuple(
        Labels(
            rng.integers(0, last, num), rng.integers(0, cameras, num), np.zeros(num, bool), np.full(num, -1)
        )
        for num, last in ((num_query, persons), (num_gallery, persons + persons // 5))
    )  # type: ignore[return-value]


def people(identities: NDArray[np.int64]) -> Floats:
    """Unit rows [N, 2048]: cosines within a person are about 0.6, those of others spread by 0.1 about 0."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(identities.max() + 1, 64)).astype(np.float32) / 8
    directions = rng.normal(size=(64, 2048)).astype(np.float32) / 2048**0.5
    rows = np.empty((len(identities), 2048), np.float32)
    for start in range(0, len(rows), 4096):
        part = rows[start : start + 4096]
        part[:] = centres[identities[start : start + 4096]] @ directions
        part += np.float32(0.8 / 2048**0.5) * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def sorted_rows(distances: Floats, query: Labels, gallery: Labels) -> float:
    """mAP as evaluations commonly compute it: every row sorted, then walked along with NumPy."""
    found = []
    for q, row in enumerate(distances):
        order = np.argsort(row, kind="stable")
        same = gallery.identities[order] == query.identities[q]
        kept = ~(same & (gallery.cameras[order] == query.cameras[q]))
        hit = same[kept]
        if hit.any():
            precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
            found.append(precision[hit].mean())
    return float(np.mean(found))


def check() -> None:
    """Stops the benchmark when scores are not those of the definitions."""
    query, gallery = drawn((30, 400, 20, 3))
    distances = np.random.default_rng(1).random((30, 400)).astype(np.float32)
    entries = [list(zip(one.identities, one.cameras, strict=True)) for one in (query, gallery)]
    _, expected = oracle.mean_scores(distances, *entries, cross_camera=True)
    found = of_distances(distances, query, gallery, PROTOCOLS["market"])
    assert all(abs(found[name] - expected[name]) < 1e-6 for name in ("R1", "mAP", "mINP")), (found, expected)


def turns(ours: Any, reference: Any, repeats: int) -> None:
    """Takes turns, and prints medians of seconds and of ratios."""
    meter, rows = Meter(), []
    for _ in range(repeats):
        _, first, used, _ = meter(reference)
        _, seconds, own, extra = meter(ours)
        rows.append((first, seconds, seconds / first, own, own / used, extra))
    medians = np.median(rows, axis=0)
    names = ("reference s", "ours s", "ratio", "ours used s", "ratio used", "extra MB")
    print(", ".join(f"{name} {value:.3g}" for name, value in zip(names, medians, strict=True)))


def from_distances(threads: int, repeats: int) -> None:
    query, gallery = drawn(MARKET)
    distances = np.random.default_rng(1).random(MARKET[:2]).astype(np.float32)
    rule = PROTOCOLS["market"]
    of_distances(distances[:9], query.at(np.arange(9)), gallery, rule)  # compiled
    print("3,368 × 15,913 float32 distances; reference: sorting every row, one thread")
    for rates in (False, True):
        print("with TPR at FPR: " if rates else "CMC, mAP, mINP: ", end="", flush=True)
        turns(
            lambda rates=rates: of_distances(distances, query, gallery, rule, rates=rates, threads=threads),
            lambda: sorted_rows(distances, query, gallery),
            repeats,
        )


def from_features(threads: int, repeats: int, scale: float) -> None:
    num_query, num_gallery = (int(num * scale) for num in MSMT17[:2])
    query, gallery = drawn((num_query, num_gallery, int(MSMT17[2] * scale), MSMT17[3]))
    rows = people(np.concatenate([query.identities, gallery.identities]))
    one, other = torch.from_numpy(rows[:num_query]), torch.from_numpy(rows[num_query:])
    labels = (query.identities, gallery.identities, query.cameras, gallery.cameras)
    score(rows[:64], rows[64:999], *(values[part] for values, part in zip(
        labels, (slice(64), slice(935), slice(64), slice(935)), strict=True)))  # fmt: skip

    def product() -> None:
        torch.set_num_threads(parallel.num_threads(threads))
        for start in range(0, num_query, 1024):
            for at in range(0, num_gallery, 8192):
                one[start : start + 1024] @ other[at : at + 8192].T

    print(f"{num_query} × {num_gallery} × 2,048 from features; reference: their float32 product")
    turns(lambda: score(one.numpy(), other.numpy(), *labels, threads=threads), product, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks MSMT17's size")
    options = parser.parse_args()
    print(f"{parallel.num_threads(options.threads)} threads, load {os.getloadavg()[0]:.1f}, "
          f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")  # fmt: skip
    check()
    if options.features:
        from_features(options.threads, options.repeats, options.scale)
    else:
        from_distances(options.threads, options.repeats)


if __name__ == "__main__":
    main()
