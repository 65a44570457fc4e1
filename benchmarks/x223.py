"""Scores a finished run with every test image as a query, and compares several runs.

    python benchmarks/x223.py --truth TRUTH.csv --config configs/small.yaml [--results results other/results]

The competition's own protocol has few queries on small data: 28 on the 223 photographs of
`../shared/naic_real`, so that one person more or less moves the score by points. Two protocols, both
over query ∪ gallery of all domains together, by the features of a finished run:

    pooled   the query folder against the gallery folder, images of the query's own camera kept
    X223     each image in turn is the one query and all others the gallery; images of its person from
             its own camera are left out (Market's junk rule). Named after the 223 photographs.

mAP in percent, AP without trapezoids; members' distances are summed with their weights. Re-ranking
takes k1, k2 and λ of the config's first domain.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from naic_reid import config
from naic_reid.artifacts import Features
from naic_reid.config import Rerank
from naic_reid.retrieval import fusion, metrics
from naic_reid.retrieval.k_reciprocal import jaccard_rows
from naic_reid.retrieval.nearest import k_nearest


@dataclass(frozen=True)
class Truth:
    """Who and where: one row for each test image, N in all."""

    names: tuple[str, ...]
    is_query: np.ndarray
    persons: np.ndarray
    cameras: np.ndarray

    @classmethod
    def read(cls, path: Path) -> "Truth":
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(csv.DictReader(handle))
        numbers = [np.unique([row[key] for row in rows], return_inverse=True)[1] for key in ("pid", "camid")]
        is_query = np.array([row["subset"] == "query" for row in rows])
        return cls(tuple(row["name"] for row in rows), is_query, *numbers)


def scores(features: Sequence[np.ndarray], weights: Sequence[float], truth: Truth, rerank: Rerank | None):
    """mAP in percent of the members' sum, [N, D] each: pooled, X223."""

    def hits(queries: np.ndarray, gallery: np.ndarray, cross_camera: bool) -> metrics.Hits:
        distances = np.zeros((len(queries), len(gallery)), np.float32)
        for rows, weight in zip(features, weights, strict=True):
            distances += weight * _distances(rows[queries], rows[gallery], rerank)
        who, where = truth.persons.astype(np.int64), truth.cameras.astype(np.int64)
        return metrics.hits(
            distances, who[queries], who[gallery], where[queries], where[gallery], cross_camera=cross_camera
        )

    everyone = np.arange(len(truth.names))
    pooled = hits(everyone[truth.is_query], everyone[~truth.is_query], False)
    each = [hits(everyone[i : i + 1], np.delete(everyone, i), True) for i in everyone]
    return [100 * metrics.score(found)["mAP"] for found in (pooled, metrics.Hits.joined(each))]


def _distances(query: np.ndarray, gallery: np.ndarray, rerank: Rerank | None) -> np.ndarray:
    distances = np.zeros((len(query), len(gallery)), np.float32)
    if rerank is None:
        member, mix = fusion.Member(query, gallery), fusion.PLAIN
    else:
        near = k_nearest(query, gallery, max(rerank.k1 + 1, rerank.k2), threads=1)
        overlap = jaccard_rows(near, query, gallery, rerank.k1, rerank.k2, threads=1)
        member, mix = fusion.Member(query, gallery, overlap), fusion.Mix(rerank.lambda_)
    member.add(distances, member.cosines(0, len(query)), mix, 0)
    return distances


def features_of(folder: Path, truth: Truth, domains: Sequence[str]) -> np.ndarray:
    """A member's features of all domains, in the order of the truth, float32 [N, D]."""
    rows = {}
    for role in ("query", "gallery"):
        for domain in domains:
            part = Features.read(folder / f"{role}_{domain}.npz")
            named = zip(part.names, part.values, strict=True)
            rows |= {(role, Path(name).name): values for name, values in named}
    roles = ("query" if is_query else "gallery" for is_query in truth.is_query)
    return np.stack([rows[role, name] for role, name in zip(roles, truth.names, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, required=True, help="CSV: subset,name,pid,camid")
    parser.add_argument("--config", type=Path, required=True, help="of the runs: members, weights, k1, k2, λ")
    parser.add_argument("--results", type=Path, nargs="+", default=[Path("results")], help="finished runs")
    options = parser.parse_args()
    settings = config.load(options.config)
    truth = Truth.read(options.truth)
    domains = settings.split.domains
    members = [(name, epoch) for name in settings.models for epoch in settings.ensemble.epochs]
    weights = [settings.models[name].weight for name, _ in members]
    rerank = settings.rerank[domains[0]]

    print(f"{len(truth.names)} images, {truth.is_query.sum()} in the query folder; mAP in percent")
    print(f"re-ranking k1 = {rerank.k1}, k2 = {rerank.k2}, λ = {rerank.lambda_}\n")
    print(f"{'run':<28}{'member':<24}{'pooled':>8}{'X223':>8}{'re-ranked':>12}{'X223':>8}")
    fused = []
    for results in options.results:
        features = [
            features_of(results / f"extract/{name}/epoch_{epoch}", truth, domains) for name, epoch in members
        ]
        for (name, epoch), rows in zip(members, features, strict=True):
            _row(results, f"{name}, epoch {epoch}", [rows], [1.0], truth, rerank)
        fused.append(_row(results, "fusion", features, weights, truth, rerank))
    if len(fused) > 1:
        print(f"{'mean of ' + str(len(fused)):<28}{'fusion':<24}{_numbers(np.mean(fused, axis=0))}")


def _row(results: Path, member: str, features, weights, truth: Truth, rerank: Rerank) -> list[float]:
    found = [*scores(features, weights, truth, None), *scores(features, weights, truth, rerank)]
    print(f"{str(results)[-27:]:<28}{member:<24}{_numbers(found)}", flush=True)
    return found


def _numbers(found: Sequence[float]) -> str:
    return f"{found[0]:8.1f}{found[1]:8.1f}{found[2]:12.1f}{found[3]:8.1f}"


if __name__ == "__main__":
    main()
