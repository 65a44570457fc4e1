"""Wall time and memory of re-ranking, from features to the fused best 200, beside one plain matrix product.

    python benchmarks/rerank.py                      the table: parts, ratio to the product, extra memory
    python benchmarks/rerank.py --curve              cost against N, with a plot in benchmarks/reports
    python benchmarks/rerank.py --twin               a dense twin in the style of the original, small N
    python benchmarks/rerank.py --graph              re-ranking by the graph of neighbours
    python benchmarks/rerank.py --large              Q = 30,000, G = 130,000, D = 256: many minutes

Nothing is timed before the results of a small run agree with the dense float64 oracle of the tests.
`floor` is the blocked float32 product of all N × N pairs by torch and nothing else, measured in the same
run, before and after. Compilation is done before timing, from the cache or not; its seconds are
printed. `extra` is the peak of resident memory above what stood before (features included), sampled.
"""

import argparse
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from naic_reid.artifacts import Floats, Neighbours
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import parallel, search
from naic_reid.retrieval.distances import Member, Mix
from naic_reid.retrieval.graph import similar_rows
from naic_reid.retrieval.k_reciprocal import Encoding, jaccard_rows
from naic_reid.retrieval.memory import budget
from tests.oracles import rerank as oracle

K1, K2, LAMBDA, BEST = 30, 2, 0.8, 200
REPORTS = Path(__file__).parent / "reports"


def features(num: int, dimension: int, seed: int = 0) -> Floats:
    """Unit float32 rows [num, dimension]: persons of about ten images in a space of 64 directions, and noise.

    Neighbours of trained features lie closer than those of pure noise, yet are far from equal: cosines
    within a person are about 0.75 here, and those of others spread by about 0.1.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(64, dimension)).astype(np.float32) / dimension**0.5
    persons = rng.normal(size=(max(num // 10, 1), 64)).astype(np.float32) / 8
    rows = np.empty((num, dimension), np.float32)
    for start in range(0, num, 4096):
        part = rows[start : start + 4096]
        part[:] = persons[rng.integers(0, len(persons), len(part))] @ directions
        part += np.float32(0.55 / dimension**0.5) * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def k_nearest(query: Floats, gallery: Floats, keep: int, threads: int = 0) -> Neighbours:
    """The search as the workflow does it, within half of the memory that is free."""
    return search.k_nearest(query, gallery, keep, threads=threads, memory=budget(""))


def floor(query: Floats, gallery: Floats, threads: int, share: int = 1) -> None:
    """The blocked float32 product of all pairs, or of one in `share` of the rows with all.

    The union is copied before, as anyone would.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(parallel.num_threads(threads))
    union = torch.cat([torch.from_numpy(query), torch.from_numpy(gallery)])
    for start in range(0, len(union) // share, 2048):
        union[start : start + 2048] @ union.T
    torch.set_num_threads(before)


class Meter:
    """Wall and processor seconds of calls, and the peak of resident memory above the start, in MB."""

    def __init__(self) -> None:
        self.process = psutil.Process()

    def __call__(self, call: Callable[[], Any]) -> tuple[Any, float, float, float]:
        base = peak = self.process.memory_info().rss
        running = True

        def sample() -> None:
            nonlocal peak
            while running:
                peak = max(peak, self.process.memory_info().rss)
                time.sleep(0.01)

        watcher = threading.Thread(target=sample)
        watcher.start()
        started, used = time.perf_counter(), time.process_time()
        try:
            result = call()
        finally:
            seconds, used = time.perf_counter() - started, time.process_time() - used
            running = False
            watcher.join()
        return result, seconds, used, (peak - base) / 1e6


def check_against_the_oracle(threads: int) -> float:
    """The largest difference of a final distance on a small set; stops the benchmark if it is not small."""
    rows = features(900, 96)
    query, gallery = rows[:150], rows[150:]
    neighbours = k_nearest(query, gallery, K1 + 1, threads=threads)
    jaccard = jaccard_rows(neighbours, query, gallery, Encoding(K1, K2), threads=threads)
    member = Member(query, gallery, jaccard)
    indices, distances = nearest_of.best([member], Mix(LAMBDA), len(gallery), threads=threads)
    full = np.empty((150, 750), np.float32)
    np.put_along_axis(full, indices, distances, 1)
    difference = float(np.abs(full - oracle.re_ranking(query, gallery, K1, K2, LAMBDA)).max())
    assert difference < 1e-5, difference
    return difference


def one_size(
    num_query: int, num_gallery: int, dimension: int, threads: int, repeats: int, share: int = 1
) -> dict[str, Any]:
    """Best seconds of `repeats` turns of floor and parts; ratios are within a turn, then the median."""
    rows = features(num_query + num_gallery, dimension)
    query, gallery = rows[:num_query].copy(), rows[num_query:].copy()
    del rows
    meter, turns = Meter(), []
    for _ in range(repeats):
        _, first, used_floor, _ = meter(lambda: floor(query, gallery, threads, share))
        turn: dict[str, Any] = {"used_floor": used_floor * share}
        neighbours: Neighbours
        neighbours, turn["search"], turn["used_search"], turn["extra_search"] = meter(
            lambda: k_nearest(query, gallery, K1 + 1, threads=threads)
        )
        jaccard, turn["rerank"], turn["used_rerank"], turn["extra_rerank"] = meter(
            lambda n=neighbours: jaccard_rows(n, query, gallery, Encoding(K1, K2), threads=threads)
        )
        _, turn["fuse"], turn["used_fuse"], turn["extra_fuse"] = meter(
            lambda j=jaccard: nearest_of.best([Member(query, gallery, j)], Mix(LAMBDA), BEST, threads=threads)
        )
        _, last, _, _ = meter(lambda: floor(query, gallery, threads, share))
        turn["floor"] = (first + last) / 2 * share
        turn["total"] = turn["search"] + turn["rerank"] + turn["fuse"]
        turn["used_total"] = turn["used_search"] + turn["used_rerank"] + turn["used_fuse"]
        turns.append(turn)
    result: dict[str, Any] = {"Q": num_query, "G": num_gallery, "D": dimension, "repeats": repeats}
    for part in ("floor", "search", "rerank", "fuse", "total"):
        result[part] = min(turn[part] for turn in turns)
        result[f"{part}_ratio"] = float(np.median([turn[part] / turn["floor"] for turn in turns]))
        result[f"{part}_used"] = float(
            np.median([turn[f"used_{part}"] / turn["used_floor"] for turn in turns])
        )
    for part in ("search", "rerank", "fuse"):
        result[f"{part}_extra"] = max(turn[f"extra_{part}"] for turn in turns)
    result["total_extra"] = max(result[f"{part}_extra"] for part in ("search", "rerank", "fuse"))
    result["floor_extra"] = 0.0
    return result


def several_members(num_query: int, num_gallery: int, dimension: int, threads: int) -> list[dict[str, float]]:
    """Fusing 1, 3 and 6 members: seconds for each, and extra memory."""
    rows = features(num_query + num_gallery, dimension)
    query, gallery = rows[:num_query], rows[num_query:]
    jaccard = jaccard_rows(
        k_nearest(query, gallery, K1 + 1, threads=threads), query, gallery, Encoding(K1, K2), threads=threads
    )
    found = []
    for num in (1, 3, 6):
        members = [Member(query, gallery, jaccard) for _ in range(num)]
        _, seconds, used, extra = Meter()(
            lambda m=members: nearest_of.best(m, Mix(LAMBDA), BEST, threads=threads)
        )
        found.append(
            {
                "members": num,
                "seconds": seconds,
                "used_each": used / num,
                "each": seconds / num,
                "extra": extra,
            }
        )
    return found


def graph_of_neighbours(num_query: int, num_gallery: int, dimension: int, threads: int) -> dict[str, float]:
    """Graph re-ranking after the search, beside the product of all pairs: ratios and extra memory."""
    rows = features(num_query + num_gallery, dimension)
    query, gallery = rows[:num_query], rows[num_query:]
    similar_rows(k_nearest(query[:20], gallery[:200], 27), 26, 7, num_gallery=200)
    meter = Meter()
    _, seconds, floor_used, _ = meter(lambda: floor(query, gallery, threads))
    found, _, search_used, _ = meter(lambda: k_nearest(query, gallery, 27, threads=threads))
    similar, own, used, extra = meter(
        lambda: similar_rows(found, 26, 7, num_gallery=num_gallery, threads=threads)
    )
    return {
        "seconds / floor": own / seconds,
        "used / floor": used / floor_used,
        "search used / floor": search_used / floor_used,
        "extra MB": extra,
        "similar of each query": similar.similarity.nnz / num_query,
    }


def dense_twin(query: Floats, gallery: Floats) -> Floats:
    """Re-ranking in the style of the original: dense N × N arrays and loops over rows in Python."""
    union = np.concatenate([query, gallery])
    num, num_query = len(union), len(query)
    distance = 2 - 2 * union @ union.T
    distance /= distance.max(axis=0)
    rank = np.argsort(distance, axis=1)[:, : K1 + 1]
    half = int(np.around(K1 / 2))

    def reciprocal(i: int, k: int) -> Any:
        forward = rank[i, : k + 1]
        return forward[(rank[forward, : k + 1] == i).any(axis=1)]

    encoding = np.zeros((num, num), np.float32)
    for i in range(num):
        expanded = start = reciprocal(i, K1)
        for candidate in start:
            theirs = reciprocal(candidate, half)
            if len(np.intersect1d(theirs, start)) > 2 / 3 * len(theirs):
                expanded = np.append(expanded, theirs)
        expanded = np.unique(expanded)
        weight = np.exp(-distance[i, expanded])
        encoding[i, expanded] = weight / weight.sum()
    encoding = np.stack([encoding[rank[i, :K2]].mean(axis=0) for i in range(num)])
    holders = [np.flatnonzero(encoding[:, column]) for column in range(num)]
    jaccard = np.zeros((num_query, num), np.float32)
    for i in range(num_query):
        overlap = np.zeros(num, np.float32)
        for column in np.flatnonzero(encoding[i]):
            overlap[holders[column]] += np.minimum(encoding[i, column], encoding[holders[column], column])
        jaccard[i] = 1 - overlap / (2 - overlap)
    return ((1 - LAMBDA) * jaccard + LAMBDA * distance[:num_query])[:, num_query:]


def table(results: list[dict[str, Any]], title: str) -> Table:
    shown = Table(title=title)
    for name in ("Q", "G", "D", "part", "seconds", "/ floor", "cpu / floor", "extra MB"):
        shown.add_column(name, justify="left" if name == "part" else "right")
    for one in results:
        for part in ("floor", "search", "rerank", "fuse", "total"):
            head = [f"{one[key]:,}" for key in "QGD"] if part == "floor" else ["", "", ""]
            shown.add_row(
                *head, part, f"{one[part]:.2f}", f"{one[part + '_ratio']:.3f}",
                f"{one[part + '_used']:.3f}", f"{one[part + '_extra']:.0f}",
            )  # fmt: skip
        shown.add_section()
    return shown


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds, ratio to the floor and extra memory against N."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = [one["Q"] + one["G"] for one in results]
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for part in ("floor", "search", "rerank", "fuse", "total"):
        axes[0].loglog(sizes, [one[part] for one in results], marker="o", label=part)
        axes[1].semilogx(sizes, [one[f"{part}_ratio"] for one in results], marker="o", label=part)
    axes[2].loglog(sizes, [one["total_extra"] for one in results], marker="o", color="black")
    for axis, name in zip(axes, ("seconds", "seconds / floor", "extra memory, MB"), strict=True):
        axis.set_xlabel("N = Q + G")
        axis.set_ylabel(name)
        axis.set_xticks(sizes, [f"{size // 1000}k" for size in sizes])
        axis.minorticks_off()
    axes[0].legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("curve", "twin", "large", "members", "graph"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks the main table's Q and G")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    console = Console(width=110)
    console.print(
        f"{platform.processor() or platform.machine()}, {parallel.num_threads(options.threads)} threads, "
        f"load {os.getloadavg()[0]:.1f} | python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {np.__version__} | {time.strftime('%Y-%m-%d')} | {' '.join(sys.argv)}"
    )
    started = time.perf_counter()
    difference = check_against_the_oracle(options.threads)
    console.print(
        f"oracle: largest difference {difference:.1e}; first use, compiling where nothing is cached: "
        f"{time.perf_counter() - started:.1f} s"
    )
    results: dict[str, Any] = {}
    if options.twin:
        rows = features(3000, 2048)
        query, gallery = rows[:300], rows[300:]
        _, seconds, _, extra = Meter()(lambda: dense_twin(query, gallery))
        ours = one_size(300, 2700, 2048, options.threads, options.repeats)
        console.print(table([ours], "beside a dense twin in the original's style"))
        console.print(
            f"dense twin: {seconds:.1f} s, {seconds / ours['floor']:.1f} × floor, {extra:.0f} MB extra; "
            f"ours: {ours['total']:.2f} s"
        )
        results["twin"] = {"seconds": seconds, "extra": extra, "ours": ours}
    elif options.curve:
        sizes = (5_000, 10_000, 20_000, 40_000)
        curve = [one_size(n // 10, n - n // 10, 512, options.threads, options.repeats) for n in sizes]
        console.print(table(curve, "cost against N"))
        plot(curve, REPORTS / "rerank_curve.png")
        results["curve"] = curve
    elif options.large:
        results["large"] = [one_size(30_000, 130_000, 256, options.threads, 1, share=16)]
        console.print(table(results["large"], "competition scale; floor: of one row in 16, times 16"))
    elif options.graph:
        results["graph"] = graph_of_neighbours(2000, 18000, 2048, options.threads)
        console.print({key: round(value, 3) for key, value in results["graph"].items()})
    elif options.members:
        results["members"] = several_members(2000, 18000, 512, options.threads)
        for one in results["members"]:
            console.print({key: round(value, 2) for key, value in one.items()})
    else:
        num_query, num_gallery = int(2000 * options.scale), int(18000 * options.scale)
        results["main"] = [one_size(num_query, num_gallery, 2048, options.threads, options.repeats)]
        console.print(table(results["main"], "features → fused best 200, one member"))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
