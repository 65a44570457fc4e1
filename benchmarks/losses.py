"""What each loss of the friendly baseline adds to cross-entropy: trained alike, seed by seed, with intervals.

    python benchmarks/losses.py [ROW ...] --data MyDataSet --truth TRUTH.csv --results results --out FOLDER

`--results` is a run of configs/quick.yaml on the data: its training list is read. `--out` keeps each
training's scores, so that what was stopped goes on, and a table of what is there costs nothing.

One recipe for all rows (`MODEL`): EfficientNet-Lite0 of 96 × 48 from ImageNet's weights with the baseline's
head, 512 numbers and dropout, and 4 images of each of 8 persons to a batch. Terms, their weights and scales
are the baseline's: those it divides by the batch have 1/32, and all judge the feature after dropout. Unlike
there, class rows of sphere, ArcFace and CosFace are trained. Published: ResNet-50 on Market-1501, batch 32,
100 epochs, one run each.

Scores are X223's of `x223.py`, in percent, without re-ranking; means over seeds. Differences from the first
row are paired by query, their intervals a bootstrap over persons and trainings (`naic_reid.compare`'s).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kept
import numpy as np
import yaml
from peer import features_of_ours
from x223 import Truth, across_cameras

from naic_reid.retrieval import comparison, metrics
from naic_reid.retrieval.comparison import Shares

BATCH = 32
TERMS: dict[str, dict[str, Any]] = {
    "circle": {"name": "batch_circle", "weight": 1 / BATCH, "scale": 32.0, "margin": 0.25},
    "triplet": {"name": "mined_triplet", "margin": 0.3},
    "contrast": {"name": "contrastive", "margin": 1.0},
    "lifted": {"name": "lifted", "margin": 1.0},
    "sphere": {"name": "sphere", "weight": 1 / BATCH},
    "instance": {"name": "instance", "weight": 1 / BATCH, "scale": 64.0},
    "arcface": {"name": "arcface", "weight": 1 / BATCH, "scale": 64.0, "margin": 0.49916},
    "cosface": {"name": "cosface", "weight": 1 / BATCH, "scale": 64.0, "margin": 0.35},
}
"""By the baseline's flag: the loss, and what it has there."""
CROSS_ENTROPY = "CE"
PUBLISHED: dict[str, tuple[float, float] | None] = {
    CROSS_ENTROPY: (92.01, 79.31),
    "circle": (92.46, 81.70),
    "triplet": (92.40, 79.71),
    "contrast": (92.28, 81.42),
    "lifted": (91.78, 79.77),
    "sphere": (92.01, 79.39),
    "instance": (92.73, 81.11),
    "arcface": None,
    "cosface": None,
    "contrast + sphere": (92.79, 82.02),
    "contrast + triplet": (92.61, 82.01),
    "contrast + circle": (92.19, 82.07),
}
"""The rows, terms beside cross-entropy; R1 and mAP, of the last two with batches of 24 and 133 epochs."""
MODEL: dict[str, Any] = {
    "height": 96,
    "width": 48,
    "pooling": "average",
    "reduction": 512,
    "dropout": 0.5,
    "recipe": {
        "epochs": 4,
        "batch": BATCH,
        "num_instances": 4,
        "learning_rate": 2.0e-3,
        "identity_loss": {"name": "linear", "smoothing": 0.0},
        "metric_loss": None,
        "metric_on": "feature",
    },
}
"""What differs from `lite_small` of experiments.yaml."""


def main() -> None:
    parser = kept.parser(__doc__, list(PUBLISHED))
    parser.add_argument("--recipe", default="{}", metavar="YAML", help="words of the recipe that differ")
    options = parser.parse_args()
    truth = Truth.read(options.truth)
    kept.fill(options, lambda row, seed: trained(row, seed, truth, options))
    print(table(options.rows, options.seeds, truth, options.out))


def trained(row: str, seed: int, truth: Truth, options: argparse.Namespace) -> dict[str, Any]:
    """Every query's scores after a training of that row, and the core-seconds of the training."""
    terms = [] if row == CROSS_ENTROPY else [TERMS[name] for name in row.split(" + ")]
    recipe = MODEL["recipe"] | {"more_losses": terms} | yaml.safe_load(options.recipe)

    def scored(checkpoint: Path, place: Path) -> dict[str, list[float]]:
        rows = features_of_ours(checkpoint, options.data, truth, place)
        each = metrics.each(across_cameras([rows], [1.0], truth, None))
        return {name: each[name].tolist() for name in ("counted", *kept.SCORES)}

    return kept.trained({**MODEL, "recipe": recipe}, seed, options, scored)


def table(rows: Sequence[str], seeds: Sequence[int], truth: Truth, folder: Path) -> str:
    """Of the trainings that are kept: means, seed by seed, and differences from the first row."""
    lines = ["| cross-entropy and … | X223 R1 | X223 mAP | mAP, seed by seed | less the first: R1 | mAP "
             "| core-seconds | published R1/mAP |", "|" + "---|" * 8]  # fmt: skip
    first: list[Shares] = []
    for row in rows:
        told = kept.read(folder, row, seeds)
        shares = [kept.shares(one, truth) for one in told]
        first = first or shares
        apart = comparison.differences(shares, first) if shares is not first else []
        seconds = np.mean([one["seconds"] for one in told])
        stated = PUBLISHED[row]
        lines.append(
            f"| {row} | {kept.cells(shares, apart)} | {seconds:.0f} "
            f"| {'' if stated is None else '{:.2f}/{:.2f}'.format(*stated)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
