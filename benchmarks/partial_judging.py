"""Tables of what became of queries on partial persons: scores, claims with intervals, published numbers."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from partial_asking import Asked, Taken
from partial_experiments import Experiment

from naic_reid.data.crops import SEED, STRESS
from naic_reid.models.ratio import Guard, guarded

DRAWS = 10_000


def difference(better: Sequence[Asked], worse: Sequence[Asked]) -> tuple[list[float], float, float]:
    """mAP points by seed, and the 95 % interval of their mean, by a bootstrap over persons."""
    gains = np.array([one.precision - other.precision for one, other in zip(better, worse, strict=True)])
    valid = ~np.isnan(gains[0])
    mean, who = gains.mean(0)[valid], np.unique(better[0].persons[valid], return_inverse=True)[1]
    sums, counts = np.bincount(who, mean), np.bincount(who)
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return (100 * gains[:, valid].mean(1)).tolist(), 100 * float(low), 100 * float(high)


def judged(text: str, better: Sequence[Asked], worse: Sequence[Asked], least: float = 0.0) -> str:
    """A claim's line: what is better should be so by more than `least` points."""
    gains, low, high = difference(better, worse)
    shown, many = "not shown", len(gains) > 1
    if low > least and all(gain > least for gain in gains):
        shown = "holds" if many else "seen, one seed"
    elif high < least and all(gain < least for gain in gains):
        shown = "the contrary holds" if many else "the contrary is seen, one seed"
    told = " ".join(f"{gain:+.1f}" for gain in gains)
    return f"| {text} | {told} | {low:+.1f} … {high:+.1f} | {shown} |"


def run(experiment: Experiment, lists: Sequence[str], taken: Taken, seeds: Sequence[int]) -> list[str]:
    """The lines of an experiment's tables in Markdown, of some of its lists; rows as far as trained."""
    able = {number: taken.seeds(row, seeds) for number, row in enumerate(experiment.rows)}
    found = {
        (number, test, seed): taken.scored(row, test, seed)
        for number, row in enumerate(experiment.rows)
        for test in lists
        for seed in able[number]
    }
    lines = [
        "| R1 / R3 / R5 / mAP | seeds | " + " | ".join(lists) + " |",
        "|---" * (len(lists) + 2) + "|",
    ]
    for number, row in enumerate(experiment.rows):
        cells = [_cell([found[number, test, seed] for seed in able[number]]) for test in lists]
        lines.append(f"| {row} | {' '.join(map(str, able[number])) or '–'} | " + " | ".join(cells) + " |")
    lines += ["", "| claim, mAP | by seed | 95 % of the mean | |", "|---|---|---|---|"]
    for claim in (claim for claim in experiment.claims if claim.asked in lists):
        both = [seed for seed in able[claim.better] if seed in able[claim.worse]]
        sides = [
            [found[number, claim.asked, seed] for seed in both] for number in (claim.better, claim.worse)
        ]
        lines.append(judged(claim.text, *sides, claim.least) if both else f"| {claim.text} | | | not run |")
    return [*lines, *_guards(experiment, lists, taken, able)]


def _guards(
    experiment: Experiment, lists: Sequence[str], taken: Taken, able: Mapping[int, Sequence[int]]
) -> Iterator[str]:
    """What predictors tell of whole pictures and of those with the legs cut, for rows that follow them."""
    cut = [test for test in lists if test.startswith("legs") and STRESS[test].keep[0] < 1]
    follow = [n for n, row in enumerate(experiment.rows) if row.words.get("scale") == "predicted"]
    if follow and len(cut) > 1:
        yield ""
        yield from GUARD_HEADER
    for number in follow if len(cut) > 1 else ():
        row = experiment.rows[number]
        for seed in able[number]:
            parts = [taken.ratios(row, test, seed) for test in cut]
            changes = [
                torch.full((len(own),), 1 / STRESS[test].keep[0])
                for own, test in zip(parts, cut, strict=True)
            ]
            yield guard_told(
                row.model,
                seed,
                guarded(taken.ratios(row, "whole", seed), torch.cat(parts), torch.cat(changes)),
            )


GUARD_HEADER = (
    "| predictor | seed | ρ on whole: mean, deviation | slope | correlation | RMSE of log ρ | error | |",
    "|---|---|---|---|---|---|---|---|",
)


def guard_told(name: str, seed: int, guard: Guard) -> str:
    cells = (f"{value:.3f}" for value in (guard.slope, guard.correlation, guard.rmse, guard.error))
    flag = "collapsed" if guard.collapsed else ""
    return f"| {name} | {seed} | {guard.mean:.3f} ± {guard.deviation:.3f} | {' | '.join(cells)} | {flag} |"


def published(families: Sequence[str]) -> list[str]:
    """The numbers that the notes give for these families, of networks trained on Market-1501."""
    lines = ["", "| published | on | R1 | R3 | R5 | mAP |", "|---" * 6 + "|"]
    told = [
        [f"{row['family']} {row['row']}", *(row[key] for key in ("set", "R1", "R3", "R5", "mAP"))]
        for row in reference()
        if row["family"] in families
    ]
    return [*lines, *(f"| {' | '.join(cells)} |" for cells in told)]


def reference() -> list[dict[str, str]]:
    """The published numbers, as they stand in the file."""
    with (Path(__file__).parent / "reference_partial.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def told_of(found: Sequence[Asked]) -> str:
    """R1, R3, R5 and mAP in percent, the mean over seeds."""
    valid = ~np.isnan(found[0].precision)
    ranks = [np.mean([np.mean(one.first[valid] <= k) for one in found]) for k in (1, 3, 5)]
    precision = np.mean([one.precision[valid].mean() for one in found])
    return " / ".join(f"{100 * value:.1f}" for value in (*ranks, precision))


def _cell(found: Sequence[Asked]) -> str:
    return told_of(found) if found else "–"
