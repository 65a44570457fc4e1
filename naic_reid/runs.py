"""Finished runs side by side: is one recipe better than another, or was it luck?

from naic_reid import compare

for line in compare(["before", "after"]).lines:
    print(line.domain, line.ranking, line.score, line.difference, line.difference.verdict())
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from naic_reid import lineage, preflight, scores
from naic_reid.artifacts import Heads, ImageList, canonical
from naic_reid.config import HOLDOUT
from naic_reid.errors import ReidError, listing
from naic_reid.retrieval import comparison
from naic_reid.retrieval.comparison import Difference
from naic_reid.retrieval.metrics import Doubles
from naic_reid.scores import Scored


@dataclass(frozen=True)
class Run:
    """A folder in which the workflow ended where answers were known."""

    folder: Path
    domains: dict[str, Scored]
    """By name; first, of the competition's domains together, `pooled`."""
    settings: dict[str, Any]
    """By section, all that its scores were made with but the seed."""
    seed: int | None

    def heads(self, domain: str) -> Heads | None:
        """The first images of the domain's rankings; none where they are not kept."""
        path = results_of(self.folder) / "evaluate" / f"{domain}.npz"
        return Heads.read(path) if path.is_file() else None

    def crops(self, domain: str, role: str) -> dict[str, str]:
        """Path → the part of it that a domain of cut bodies shows, see `Crop`; empty where none is cut.

        Args:
            domain: its name.
            role: `query` or `gallery`.
        """
        path = results_of(self.folder) / "cut" / f"{role}_{domain}.tsv"
        if not path.is_file():
            return {}
        listed = ImageList.read(path)
        return dict(zip(listed.paths, listed.crops, strict=True))


@dataclass(frozen=True)
class Recipe:
    """Runs that differ in nothing but their seed."""

    runs: list[Run]

    @property
    def name(self) -> str:
        """The folders' names."""
        return " + ".join(run.folder.name for run in self.runs)

    def queries(self, domain: str, ranking: str, score: str) -> Doubles:
        """Every query's own score [Q], the mean of the runs."""
        own = [row(run.domains[domain], ranking).each[score] for run in self.runs]
        found: Doubles = np.mean(own, axis=0)
        return found


class Line(NamedTuple):
    """One score of two recipes."""

    domain: str
    ranking: str
    """Such as `fusion, re-ranked`."""
    score: str
    first: float
    other: float
    difference: Difference
    """Of the other less the first."""


class Change(NamedTuple):
    """How a query, or a person's queries in the mean, came to be ranked: average precisions."""

    name: str
    person: str
    first: float
    other: float


@dataclass(frozen=True)
class Comparison:
    """A recipe held against another."""

    first: Recipe
    other: Recipe
    lines: list[Line]
    left_out: dict[str, str]
    """Domains that cannot be compared, and why."""

    @cached_property
    def settings(self) -> list[str]:
        """What differs between the two, as `section.key: this → that`."""
        found = preflight.differences(self.first.runs[0].settings, self.other.runs[0].settings)
        return [f"{'.'.join(place)}: {differs}" for place, differs in found]

    def unpaired(self, rankings: Sequence[str]) -> Iterator[str]:
        """What has no pair: domains that are left out, and these rankings where not all runs have them."""
        names = f"{self.first.name} and {self.other.name}"
        for domain, reason in self.left_out.items():
            yield f"{names}: {domain}: {reason}"
        for domain in dict.fromkeys(line.domain for line in self.lines):
            compared = {line.ranking for line in self.lines if line.domain == domain}
            for ranking in rankings:
                if ranking not in compared:
                    yield f"{names}: {domain}: not all of them rank by {ranking}"

    def size(self, domain: str) -> str:
        """How many persons and queries a domain has, in words."""
        scored = self.first.runs[0].domains[domain]
        return f"{len(set(scored.persons))} persons, {len(scored.names)} queries"

    def queries(self, domain: str, ranking: str) -> list[Change]:
        """A domain's queries by how much their average precision changed, most first."""
        scored = self.first.runs[0].domains[domain]
        both = [recipe.queries(domain, ranking, "mAP") for recipe in (self.first, self.other)]
        changes = [
            Change(name, person, float(one), float(other))
            for name, person, one, other in zip(scored.names, scored.persons, *both, strict=True)
        ]
        return sorted(changes, key=lambda change: -abs(change.other - change.first))

    def persons(self, domain: str, ranking: str) -> list[Change]:
        """The same by person, the mean of their queries."""
        of: dict[str, list[Change]] = {}
        for change in self.queries(domain, ranking):
            of.setdefault(change.person, []).append(change)
        changes = [
            Change(
                person, person, float(np.mean([c.first for c in own])), float(np.mean([c.other for c in own]))
            )
            for person, own in sorted(of.items())
        ]
        return sorted(changes, key=lambda change: -abs(change.other - change.first))


def compare(
    runs: Sequence[str | Path],
    *,
    rankings: Sequence[str] = ("fusion, plain", "fusion, re-ranked"),
    paired: bool = False,
    level: float = comparison.LEVEL,
    draws: int = comparison.DRAWS,
    seed: int = 0,
) -> list[Comparison]:
    """Every other recipe held against the first, by a paired bootstrap over identities.

    Runs that differ in nothing but their seed are one recipe.

    Args:
        runs: folders in which the workflow ended; their order is that of the recipes.
        rankings: those compared, as the card calls them with a comma: `large/epoch_10, plain`.
        paired: leave nothing out: every domain of every run must have met the same queries, and be ranked so.
        level: of the intervals.
        draws: of persons and trainings.
        seed: of the draws.

    Raises:
        ReidError: a folder holds no scores, there are fewer than two recipes, or nothing in common; or
            something is left out that `paired` asks for.
    """
    recipes = grouped([read(Path(folder)) for folder in runs])
    if len(recipes) < 2:
        raise ReidError(
            f"{', '.join(map(str, runs))}: differ in nothing but the seed, one recipe: name another, too"
        )
    how = {"level": level, "draws": draws, "seed": seed}
    found = [_compared(recipes[0], other, rankings, how) for other in recipes[1:]]
    if paired and (problems := [problem for one in found for problem in one.unpaired(rankings)]):
        raise listing(
            problems, "not every query has its pair (--paired); leave the word out to compare the rest"
        )
    return found


def grouped(runs: Sequence[Run]) -> list[Recipe]:
    """Recipes in the order of their first run."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(canonical(run.settings), []).append(run)
    return [Recipe(own) for own in found.values()]


def read(folder: Path) -> Run:
    """What the run in a folder scored, and with what settings.

    Raises:
        ReidError: it holds no scores, or damaged ones.
    """
    results = results_of(folder)
    files = sorted((results / "evaluate").glob("*.json"))
    if not files:
        raise ReidError(
            f"{folder}: holds no results/evaluate/*.json; name the folder of a run whose answers are known"
        )
    domains = {path.stem: scores.read(path) for path in files}
    competition = [scored for scored in domains.values() if scored.protocol == "naic"]
    if len(competition) > 1:
        domains = {scores.POOLED: scores.pooled(competition)} | domains
    settings: dict[str, Any] = {}
    for path in files:
        _gather(path, settings, set())
    return Run(folder, domains, settings, settings.pop("seed", None))


def of_folds(folders: Sequence[Path]) -> Run:
    """The runs of a recipe's folds as one, every person of theirs scored once.

    Raises:
        ReidError: a folder holds no scores of a hold-out, or other members than the first.
    """
    each = [read(folder) for folder in folders]
    scored = scores.pooled([run.domains[HOLDOUT] for run in each])
    settings = each[0].settings
    settings = settings | {HOLDOUT: {**settings.get(HOLDOUT, {}), "fold": 0}}
    return Run(folders[0].parent, {HOLDOUT: scored}, settings, each[0].seed)


def held(first: Recipe, other: Recipe, rankings: Sequence[str]) -> Comparison:
    """The other recipe against the first, with the usual draws."""
    return _compared(first, other, rankings, {})


def results_of(folder: Path) -> Path:
    """Where a run's results lie: in the folder, or they are the folder."""
    return folder / "results" if (folder / "results").is_dir() else folder


def data_of(folder: Path) -> Path:
    """Where a run's pictures lie when nobody says it."""
    toy = folder / "results/toy/MyDataSet"
    return toy if toy.is_dir() else Path("data/MyDataSet")


def apart(page: Path, folders: Sequence[Path]) -> None:
    """Refuse to write a page over a run, or among what it made.

    Raises:
        ReidError: the page would lie there.
    """
    place = Path(os.path.realpath(page))
    for folder in folders:
        results = os.path.realpath(results_of(folder))
        if place == Path(os.path.realpath(folder)) or place.is_relative_to(results):
            raise ReidError(f"{page}: is read by this command, and would be overwritten: name another file")


def _gather(path: Path, settings: dict[str, Any], seen: set[Path]) -> None:
    """Add the settings of what made a file, and of what made what it was made from."""
    if path in seen:
        return
    seen.add(path)
    made_by = lineage.record(path)
    if made_by is None:
        return
    for section, value in json.loads(made_by.settings).items():
        name = _called(made_by.stage, section, path)
        if name:
            settings[name] = value
    for given, _ in made_by.inputs:
        place = lineage.place(path, given)
        if place is not None:
            _gather(place.absolute(), settings, seen)


def _called(stage: str, section: str, path: Path) -> str:
    """What a recorded section is of; empty: it stands in another record as well."""
    if stage == "train" and section in ("model", "train"):
        return f"models.{path.parent.name}" if section == "model" else f"train of {path.parent.name}"
    if section in ("model", "models", "epoch"):
        return ""
    return f"{section}.{path.stem}" if section in ("rerank", "protocol") else section


def row(scored: Scored, ranking: str) -> scores.Row:
    """That of the ranking's name."""
    found = [one for one in scored.rows if one.name == ranking]
    if not found:
        raise ReidError(
            f"no ranking is called {ranking!r}; there are: {'; '.join(one.name for one in scored.rows)}"
        )
    return found[0]


def _compared(first: Recipe, other: Recipe, rankings: Sequence[str], how: Mapping[str, Any]) -> Comparison:
    runs = [*first.runs, *other.runs]
    lines: list[Line] = []
    left_out: dict[str, str] = {}
    for domain in dict.fromkeys(name for run in runs for name in run.domains):
        if reason := _apart(domain, runs):
            left_out[domain] = reason
            continue
        common = [name for name in rankings if all(_has(run.domains[domain], name) for run in runs)]
        for ranking in common:
            lines += _lines(domain, ranking, first, other, how)
    if not lines:
        told = "".join(f"; {domain}: {reason}" for domain, reason in left_out.items())
        raise ReidError(
            f"{first.name} and {other.name}: have no ranking of the same queries in common{told}; the first "
            f"ranks by {'; '.join(row.name for row in next(iter(first.runs[0].domains.values())).rows)}"
        )
    return Comparison(first, other, lines, left_out)


def _apart(domain: str, runs: Sequence[Run]) -> str:
    """Why a domain cannot be compared between runs; empty: it can."""
    if any(domain not in run.domains for run in runs):
        return "not in all of them"
    first = runs[0].domains[domain]
    for run in runs[1:]:
        own = run.domains[domain]
        if own.protocol != first.protocol:
            return f"scored by {first.protocol} and by {own.protocol}"
        if (list(own.names), list(own.persons)) != (list(first.names), list(first.persons)):
            return "other queries, or other persons on them"
    return ""


def _has(scored: Scored, ranking: str) -> bool:
    return any(row.name == ranking for row in scored.rows)


def _lines(domain: str, ranking: str, first: Recipe, other: Recipe, how: Mapping[str, Any]) -> Iterator[Line]:
    sides = [
        [run.domains[domain].shares(row(run.domains[domain], ranking)) for run in recipe.runs]
        for recipe in (first, other)
    ]
    if any((shares.counted != sides[0][0].counted).any() for side in sides for shares in side):
        raise ReidError(
            f"{domain}: the runs count other queries: other galleries were searched; compare none"
        )
    means = [np.mean([shares.scores for shares in side], axis=0) for side in sides]
    found = comparison.differences(sides[1], sides[0], **how)
    for at, score in enumerate(sides[0][0].names):
        yield Line(domain, ranking, score, float(means[0][at]), float(means[1][at]), found[at])
