"""Scores a finished run with every test image as a query, and compares several runs.

    python benchmarks/x223.py --truth TRUTH.csv --config configs/small.yaml [--results results other/results]

The competition's own protocol has few queries on small data: 28 on the 223 photographs of
`../shared/naic_real`, so that one person more or less moves the score by points. Three protocols, by the
features of a finished run:

    split    the query folder against the gallery folder, each domain by itself, as the submission is made
    pooled   the same over all domains together
    X223     each image in turn is the one query and all others the gallery; images of its person from
             its own camera are left out (Market's junk rule). Named after the 223 photographs.

mAP in percent, AP without trapezoids, and for X223 R1; where not said otherwise images of the query's own
camera are kept. Members' distances are summed with their weights. Re-ranking takes k1, k2 and λ of the
config's first domain. Of a config that expands queries a row `fusion, expanded` follows, each member's
features expanded over all images at once; the other rows are without.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from naic_reid import config
from naic_reid.artifacts import Features, ImageList
from naic_reid.config import QueryExpansion, Rerank
from naic_reid.members import reranking
from naic_reid.retrieval import distances as engine
from naic_reid.retrieval import metrics
from naic_reid.retrieval.distances import PLAIN, Member
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.protocols import PROTOCOLS, Labels, meetings
from naic_reid.retrieval.rerank import expanded


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


class Scores(NamedTuple):
    """In percent."""

    split: float
    pooled: float
    rank1: float
    x223: float

    def __str__(self) -> str:
        return "".join(f"{value:8.1f}" for value in self)


def scores(
    features: Sequence[np.ndarray],
    weights: Sequence[float],
    truth: Truth,
    rerank: Rerank | None,
    domains: np.ndarray | None = None,
) -> Scores:
    """Of the members' sum, [N, D] each; `domains` [N] names the domain of each image, none: all in one."""
    everyone = np.arange(len(truth.names))

    def hits(some: np.ndarray) -> metrics.Hits:
        asked, shown = everyone[some & truth.is_query], everyone[some & ~truth.is_query]
        return _hits(features, weights, truth, rerank, asked, shown)

    inside = [np.full(len(everyone), True)] if domains is None else [domains == d for d in np.unique(domains)]
    split, pooled = metrics.Hits.joined([hits(some) for some in inside]), hits(np.full(len(everyone), True))
    each = across_cameras(features, weights, truth, rerank)
    of_split, of_pooled, of_each = (metrics.score(found) for found in (split, pooled, each))
    return Scores(100 * of_split["mAP"], 100 * of_pooled["mAP"], 100 * of_each["R1"], 100 * of_each["mAP"])


def across_cameras(
    features: Sequence[np.ndarray], weights: Sequence[float], truth: Truth, rerank: Rerank | None
) -> metrics.Hits:
    """X223: each image asks all others, by the members' sum; one entry an image, in the truth's order."""
    everyone = np.arange(len(truth.names))
    return metrics.Hits.joined(
        [
            _hits(features, weights, truth, rerank, everyone[i : i + 1], np.delete(everyone, i), "market")
            for i in everyone
        ]
    )


def _hits(
    features: Sequence[np.ndarray],
    weights: Sequence[float],
    truth: Truth,
    rerank: Rerank | None,
    queries: np.ndarray,
    gallery: np.ndarray,
    protocol: str = "naic",
) -> metrics.Hits:
    distances = np.zeros((len(queries), len(gallery)), np.float32)
    for rows, weight in zip(features, weights, strict=True):
        distances += weight * _distances(rows[queries], rows[gallery], rerank)
    who, where = truth.persons.astype(np.int64), truth.cameras.astype(np.int64)
    labels = Labels(who, where, np.zeros(len(who), bool), np.full(len(who), -1))
    met = meetings(PROTOCOLS[protocol], labels.at(queries), labels.at(gallery))
    same = metrics.positives_of(distances, met)
    return metrics.hits(metrics.count(distances, 0, same, met), met)


def _distances(query: np.ndarray, gallery: np.ndarray, rerank: Rerank | None) -> np.ndarray:
    if rerank is None:
        member, mix = Member(query, gallery), PLAIN
    else:
        how = reranking(rerank)
        rows = how.of_features(query, gallery, threads=1, memory=budget(""))
        member, mix = Member(query, gallery, rows), how.mix
    return engine.summed([member], mix, 0, len(query)).numpy()


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


def domains_of(results: Path, truth: Truth, domains: Sequence[str]) -> np.ndarray:
    """The domain of each image, [N], in the order of the truth."""
    found = {
        (role, Path(path).name): domain
        for role in ("query", "gallery")
        for domain in domains
        for path in ImageList.read(results / f"split/{role}_{domain}.tsv").paths
    }
    roles = ("query" if is_query else "gallery" for is_query in truth.is_query)
    return np.array([found[role, name] for role, name in zip(roles, truth.names, strict=True)])


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
    head = "".join(f"{name:>8}" for name in ("split", "pooled", "X223 R1", "X223"))
    print(f"{'run':<20}{'member':<22}{head}    re-ranked:{head}")
    table: dict[str, list[list[Scores]]] = {}
    for results in options.results:
        features = [
            features_of(results / f"extract/{name}/epoch_{epoch}", truth, domains) for name, epoch in members
        ]
        lie_in = domains_of(results, truth, domains)
        told = [
            (f"{name}, epoch {epoch}", [rows], [1.0])
            for (name, epoch), rows in zip(members, features, strict=True)
        ]
        told.append(("fusion", features, weights))
        if settings.query_expansion:
            moved = [_expanded(rows, settings.query_expansion) for rows in features]
            told.append(("fusion, expanded", moved, weights))
        for member, rows, weight in told:
            found = [scores(rows, weight, truth, given, lie_in) for given in (None, rerank)]
            print(_row(str(results)[-19:], member, found), flush=True)
            table.setdefault(member, []).append(found)
    if len(options.results) > 1:
        for member, each in table.items():
            mean = [Scores(*row) for row in np.mean(each, axis=0)]
            print(_row(f"mean of {len(each)}", member, mean))


def _expanded(rows: np.ndarray, how: QueryExpansion) -> np.ndarray:
    """Features [N, D] after query expansion among themselves."""
    first, rest = expanded(rows[:1], rows[1:], how.k, how.alpha, threads=1, memory=budget(""))
    return np.concatenate((first, rest))


def _row(results: str, member: str, found: Sequence[Scores]) -> str:
    return f"{results:<20}{member:<22}{found[0]}{'':14}{found[1]}"


if __name__ == "__main__":
    main()
