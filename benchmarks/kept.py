"""Trainings of a benchmark's rows, whose scores are kept in a file each: what was stopped goes on.

A table of what is there costs nothing. All train the model `lite_small` of experiments.yaml with other words;
scores are X223's of `x223.py`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation import changed
from peer import CONFIG, ours
from x223 import Truth

from naic_reid import config, files
from naic_reid.retrieval import comparison
from naic_reid.retrieval.comparison import Difference, Shares

SCORES = ("R1", "mAP")
Scored = Callable[[Path, Path], dict[str, Any]]
"""A checkpoint, and a folder for what is needed on the way → what is kept of it."""


def parser(description: str, rows: Sequence[str]) -> argparse.ArgumentParser:
    """What all these benchmarks are asked with."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("rows", metavar="ROW", nargs="*", default=list(rows), help=f"of: {'; '.join(rows)}")
    found.add_argument("--data", type=Path, required=True)
    found.add_argument("--truth", type=Path, required=True, help="CSV: subset,name,pid,camid")
    found.add_argument("--results", type=Path, default=Path("results"), help="of a run of quick.yaml")
    found.add_argument("--out", type=Path, required=True, help="where each training's scores are kept")
    found.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return found


def fill(options: argparse.Namespace, trained: Callable[[str, int], dict[str, Any]]) -> None:
    """Trains what is missing, seed by seed: stopped anywhere, what is there compares all rows."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for row in options.rows:
            path = _file(options.out, row, seed)
            if not path.exists():
                told = trained(row, seed)
                with files.whole(path) as unfinished:
                    unfinished.write_text(json.dumps(told))
                print(f"{row}, seed {seed}: {told['seconds']:.0f} core-seconds", flush=True)


def trained(
    words: Mapping[str, Any], seed: int, options: argparse.Namespace, scored: Scored
) -> dict[str, Any]:
    """What is kept of a training of the model with these words, and its core-seconds."""
    settings = config.load(CONFIG)
    model = changed(settings.models["lite_small"], dict(words))
    listed = options.results / "holdout" / "train.tsv"
    with tempfile.TemporaryDirectory() as place:
        begun = time.process_time()
        checkpoint = ours(seed, settings.train, model, options.data, listed, Path(place))
        took = time.process_time() - begun
        return {"seconds": took} | scored(checkpoint, Path(place))


def read(folder: Path, row: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """What is kept of a row's trainings."""
    return [json.loads(_file(folder, row, seed).read_text()) for seed in seeds]


def shares(told: Mapping[str, Sequence[float]], truth: Truth) -> Shares:
    """Each query's scores, summed by person."""
    each = {name: np.array(told[name]) for name in ("counted", *SCORES)}
    return comparison.by_person([str(person) for person in truth.persons], each)


def cells(found: Sequence[Shares], apart: Sequence[Difference]) -> str:
    """Of a table's line: mean R1 and mAP, mAP seed by seed, and both scores' differences."""
    rank1, precision = 100 * np.array([one.scores for one in found]).T
    return (
        f"{rank1.mean():.1f} | {precision.mean():.1f} | {', '.join(f'{value:.1f}' for value in precision)} "
        f"| {' | '.join(map(_told, apart)) or ' | '}"
    )


def _file(folder: Path, row: str, seed: int) -> Path:
    return folder / f"{row.replace(', ', '_').replace(' ', '')}_{seed}.json"


def _told(apart: Difference) -> str:
    value, low, high = (100 * number for number in apart[:3])
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}], {apart.verdict()}"
