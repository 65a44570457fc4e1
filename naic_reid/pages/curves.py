"""The drawings of a run: how each model learned, how soon a query is answered, how far apart pairs are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from naic_reid import files, scores
from naic_reid.errors import ReidError
from naic_reid.pages import charts
from naic_reid.scores import Scored

RANKS = 20  # of the CMC
BINS = 80
_MOST = 6  # lines of a CMC that can be told apart


class Drawing(NamedTuple):
    """What stands above a drawing, and its SVG."""

    title: str
    svg: str


def training(histories: Sequence[Path]) -> list[Drawing]:
    """Losses and accuracies by epoch of models, each with its `history.jsonl` in a folder named like it.

    Raises:
        ReidError: a file is no history; the message names it.
    """
    losses: dict[str, charts.Line] = {}
    accuracies: dict[str, charts.Line] = {}
    for path in histories:
        try:
            lines = [
                json.loads(line) for line in files.regular(path).read_text(encoding="utf-8").splitlines()
            ]
            steps = np.array([line["epoch"] for line in lines], float)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReidError(f"{path}: is no history of a training: {error!r}; train again") from error
        epochs = np.unique(steps)
        for name, series, scale in (("loss", losses, 1), ("accuracy", accuracies, 100)):
            values = np.array([line.get(name, np.nan) for line in lines], float)
            means = [float(np.mean(values[steps == epoch])) for epoch in epochs]
            if np.isfinite(means).any():
                series[path.parent.name] = (epochs.tolist(), [scale * mean for mean in means])
    found = []
    if losses:
        drawn = charts.lines("loss", "Loss of each model by epoch", ("epoch", "loss"), losses)
        found.append(Drawing("Loss", drawn))
    if accuracies:
        drawn = charts.lines(
            "accuracy", "Accuracy of each model by epoch", ("epoch", "accuracy, %"), accuracies
        )
        found.append(Drawing("Accuracy on the batches", drawn))
    return found


def ranks(read: Mapping[str, Scored]) -> list[Drawing]:
    """Of each domain the CMC of its rankings, and how far apart pairs are in those that tell it."""
    found = []
    for number, (name, domain) in enumerate(read.items()):
        firsts = {}
        for row, hits in zip(domain.rows, domain.found, strict=False):
            valid = row.each["counted"] > 0
            if valid.any() and "multiple" not in row.kind:
                firsts[row.name] = hits.first[valid]
        if firsts:
            found.append(cmc(f"cmc-{number}", name, firsts))
        for row in domain.rows:
            if sum(row.histogram.get("same", [])):
                label, how = f"distances-{number}-{len(found)}", scores.distance(row.kind)
                found.append(distances(label, name, how, row.histogram, row.limits))
    return found


def cmc(name: str, domain: str, firsts: Mapping[str, NDArray[np.int64]]) -> Drawing:
    """The share of queries with a hit among the first k.

    Args:
        name: of the drawing, different for each on a page.
        domain: whose queries they are.
        firsts: ranking → rank of the first hit of each query that counts [Q], 0 where there is none; of many
            rankings the last two are drawn, which are the fusion's.
    """
    series = {
        ranking: (list(range(1, RANKS + 1)),
                  [100 * float(((first > 0) & (first <= k)).mean()) for k in range(1, RANKS + 1)])
        for ranking, first in list(firsts.items())[-2 if len(firsts) > _MOST else 0 :]
    }  # fmt: skip
    lowest = min(99.0, *(values[0] for _, values in series.values()))
    axes, bottom = ("rank k", "queries with a hit, %"), lowest - 1
    top = 100 + 0.03 * (100 - bottom)  # room for the line at 100, and none for a number above
    drawn = charts.lines(name, f"CMC of {domain}", axes, series, ylim=(bottom, top))
    return Drawing(f"{domain}: CMC", drawn)


def distances(
    name: str, domain: str, how: str, told: Mapping[str, Any], limits: Mapping[str, float]
) -> Drawing:
    """Histograms of the pairs, and the thresholds at small false-positive rates.

    Args:
        name: of the drawing, different for each on a page.
        domain: whose pairs they are.
        how: `plain` or `re-ranked`.
        told: the largest distance there can be, and the bins' counts of pairs of the same and of different
            persons: `top`, `same`, `different`; some are of the same.
        limits: false-positive rate → distance.
    """
    both = np.array(told["same"]) + np.array(told["different"])
    first, last = np.flatnonzero(both)[[0, -1]]
    width = told["top"] / len(both)
    bins = int(np.clip(3 * sum(told["same"]) ** 0.4, 10, BINS))  # few pairs show little in many bins
    step = max(1, -(-int(last - first + 1) // bins))
    heights = {
        kind: charts.shares(charts.merged(told[key][first : last + 1], bins))
        for kind, key in (("one person", "same"), ("two persons", "different"))
    }
    edges = [width * (first + step * place) for place in range(len(heights["one person"]) + 1)]
    marks = {f"FPR {100 * float(rate):g} %": limit for rate, limit in limits.items()}
    title, axes = f"Distances of pairs in {domain}, {how}", (f"distance, {how}", "pairs, %")
    return Drawing(f"{domain}: distances, {how}", charts.histograms(name, title, axes, edges, heights, marks))
