"""Chooses a recipe by folds over the training persons: each is scored once, by networks that never saw it.

    naic-reid choose a.yaml b.yaml --folds 4 --data DATA --into chosen
    naic-reid choose a.yaml --folds 4 --data DATA            one recipe's score of every person, never seen
    naic-reid choose a.yaml b.yaml c.yaml --minutes 90       no fold begins that would end later

The persons of the training lists are cut into as many parts as there are folds. For each part every recipe is
trained on all others and scored on the part: test images and their answers play no role. What
is clearly worse than the best so far (paired bootstrap over persons, p < 5 %) is trained no further.
Every fold is a run in a folder of its own, INTO/RECIPE/fold_K: stop, repeat the command, and it goes on.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from naic_reid import config, runs, shipped
from naic_reid.config import HOLDOUT, strict_yaml
from naic_reid.errors import ReidError
from naic_reid.files import absolute, regular, whole
from naic_reid.retrieval import comparison
from naic_reid.runs import Line, Recipe

_BY = "mAP"


@dataclass
class Candidate:
    """A recipe, and the folds that it was scored on."""

    name: str
    config: Path
    folders: list[Path] = field(default_factory=list)
    worse: bool = False

    def recipe(self, folds: int) -> Recipe:
        """Its first so many folds as one run."""
        return Recipe([runs.of_folds(self.folders[:folds])])


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="a file, or a shipped one's name")
    parser.add_argument("--folds", type=int, default=4, metavar="K", help="parts of the persons; default 4")
    parser.add_argument("--minutes", type=float, metavar="N", help="of this call at most; default: no end")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="label lists and images")
    parser.add_argument("--into", type=Path, default=Path("chosen"), metavar="FOLDER",
                        help="where the folds' folders go; default %(default)s")  # fmt: skip
    parser.add_argument("--ranking", default="fusion, plain", metavar="NAME",
                        help="that is judged, as on the card with a comma; default %(default)r")  # fmt: skip
    parser.add_argument("--cores", default="all", metavar="N", help="processor cores to use; default all")


def run(options: argparse.Namespace) -> int:
    """Runs the folds, one after another, prints the table and names the best."""
    if options.folds < 2:
        raise ReidError("--folds must be at least 2: who is not in a part is what is trained on")
    candidates = _candidates(options.configs)
    started, longest = time.monotonic(), 0.0
    for fold in range(1, options.folds + 1):
        for candidate in candidates:
            if candidate.worse:
                continue
            began = time.monotonic()
            if options.minutes and began - started + longest > 60 * options.minutes:
                print(f"choose: fold {fold} of {candidate.name} would end beyond {options.minutes:g} minutes")
                return _end(candidates, options)
            print(f"choose: {candidate.name}, fold {fold} of {options.folds}", flush=True)
            candidate.folders.append(_run(candidate, fold, options))
            longest = max(longest, time.monotonic() - began)
        if fold < options.folds:
            _drop(candidates, options.ranking)
    return _end(candidates, options)


def _candidates(configs: Sequence[str]) -> list[Candidate]:
    paths = [shipped.named("configs", given) for given in configs]
    names = [path.stem for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ReidError(
            f"two configs are called {', '.join(twice)}: name them apart, their folders are named so"
        )
    seeds = {path.stem: config.load(path).seed for path in paths}
    if len({*seeds.values()}) > 1:
        told = ", ".join(f"{name} {seed}" for name, seed in seeds.items())
        raise ReidError(
            f"the configs' seeds differ ({told}), and folds are drawn by them: give one seed to all"
        )
    return [Candidate(path.stem, path) for path in paths]


def _run(candidate: Candidate, fold: int, options: argparse.Namespace) -> Path:
    """The folder of a fold, its workflow run to the end."""
    folder = absolute(options.into / candidate.name / f"fold_{fold}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    text = of_fold(config.text_of(candidate.config), str(candidate.config), fold, options.folds)
    if not path.is_file() or regular(path).read_text(encoding="utf-8") != text:
        with whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "naic_reid", "run", "--config", str(path), "--into", str(folder),
               "--cores", options.cores]  # fmt: skip
    command += ["--data", str(absolute(options.data))] if options.data else []
    if _waited(command):
        raise ReidError(
            f"{candidate.name}, fold {fold}: stopped before its end, the cause stands above; mend it, repeat "
            "the same command, and it goes on"
        )
    return folder


def _waited(command: Sequence[str]) -> int:
    """The run's exit status; it is told of an interrupt or an end, and left to no one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with subprocess.Popen(command) as process:
        for number in before:
            signal.signal(number, lambda *_: process.terminate())
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def of_fold(text: str, name: str, fold: int, folds: int) -> str:
    """A config's text with a part of the persons as the only domain; nothing of the tests is left.

    Args:
        text: of the config.
        name: of the config, for errors.
        fold: from 1.
        folds: parts.
    """
    settings = config.parse(text, name)
    raw: dict[str, Any] = strict_yaml.read(text)
    rerank = raw["rerank"].get(HOLDOUT) or next(iter(raw["rerank"].values()))
    raw |= {"split": None, "tests": {}, "pseudo_label": None, "report": None, "rerank": {HOLDOUT: rerank}}
    raw["holdout"] = {"query_images": settings.holdout.query_images, "folds": folds, "fold": fold}
    made = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
    config.parse(made, f"{name}, as fold {fold}")
    return made


def _drop(candidates: Sequence[Candidate], ranking: str) -> None:
    """Mark who is clearly worse than the best so far."""
    best = _best(candidates, ranking)
    for candidate in candidates:
        line = None if candidate is best or candidate.worse else _against(best, candidate, ranking)
        if line and line.difference.verdict() == "worse":
            candidate.worse = True
            print(f"choose: {candidate.name} is clearly worse than {best.name}: trained no further")


def _scores(candidate: Candidate, ranking: str) -> comparison.Shares:
    run = candidate.recipe(len(candidate.folders)).runs[0]
    scored = run.domains[HOLDOUT]
    return scored.shares(runs.row(scored, ranking))


def _best(candidates: Sequence[Candidate], ranking: str) -> Candidate:
    """Of those with the most folds the one with the largest mean average precision; the first of equals."""
    most = max(len(candidate.folders) for candidate in candidates)

    def value(candidate: Candidate) -> float:
        shares = _scores(candidate, ranking)
        return float(shares.scores[list(shares.names).index(_BY)])

    return max((one for one in candidates if len(one.folders) == most), key=value)


def _against(best: Candidate, other: Candidate, ranking: str) -> Line:
    """The other's mean average precision less the best's, on the folds that both were scored on."""
    folds = min(len(best.folders), len(other.folders))
    found = runs.held(best.recipe(folds), other.recipe(folds), [ranking])
    return next(line for line in found.lines if line.score == _BY)


def _end(candidates: Sequence[Candidate], options: argparse.Namespace) -> int:
    """Print the table, and who is best as far as it can be told."""
    scored = [candidate for candidate in candidates if candidate.folders]
    if not scored:
        print("choose: no fold ended in the time allowed")
        return 1
    best = _best(scored, options.ranking)
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    table = Table(
        title=f"Folds over the training persons ({options.ranking})", box=SIMPLE_HEAD, title_justify="left"
    )
    scores = ("R1", "95 %", "mAP", "95 %", "mINP", "95 %")
    for column in ("recipe", "folds", "persons", *scores, "mAP − best", "p", "is"):
        table.add_column(column, justify="left" if column in ("recipe", "is") else "right", no_wrap=True)
    unsure = []
    for candidate in scored:
        shares = _scores(candidate, options.ranking)
        ends = comparison.intervals(shares)
        cells = [cell for value, (low, high) in zip(shares.scores, ends, strict=True)
                 for cell in (f"{100 * value:.1f}", f"{100 * low:.0f}–{100 * high:.0f}")]  # fmt: skip
        last = ["", "", "best"]
        if candidate is not best:
            difference = _against(best, candidate, options.ranking).difference
            last = [f"{100 * difference.value:+.1f}", f"{difference.p:.3f}", difference.verdict()]
            unsure += [candidate.name] if difference.verdict() == "not shown" else []
        table.add_row(candidate.name, str(len(candidate.folders)), str(len(shares.persons)), *cells, *last)
    console.print(table)
    doubt = f"; that it is better than {', '.join(unsure)} is not shown" if unsure else ""
    print(f"choose: {best.name}{doubt}")
    return 0
