"""What the friendly baseline's tricks are worth, in training and testing; and what attacks on queries cost.

    python benchmarks/tricks.py [ROW ...] --data MyDataSet --truth TRUTH.csv --results results --out FOLDER

`--results` is a run of configs/quick.yaml on the data: its training list is read. `--out` keeps each
training's scores, so that what was stopped goes on, and a table of what is there costs nothing. `unlabelled`
learns from the images in the data folder's `more`.

Trained: the model `lite_small` of experiments.yaml at 96 × 48 for 4 epochs, with a word of the recipe more
(`TRAINED`). Tested (`TESTED`): each image as it is; at two scales; as multiple query, the mean of a person's
images of one camera; and attacked by opposite-direction features (ODFA) of at most so many grey levels, made
against the very network that is asked, rounded to a photograph's 256 levels and shown as any other. The
gallery is never attacked.

Scores are X223's of `x223.py`, in percent, without re-ranking; means over seeds. Differences are paired by
query, their intervals a bootstrap over persons and trainings (`naic_reid.compare`'s): of a training from the
plain one tested alike; of the plain training's tests from its clean one, training by training.
"""

import argparse
from pathlib import Path
from typing import Any

import kept
import numpy as np
import torch
from x223 import Truth

from naic_reid import Extractor, recipe
from naic_reid.artifacts import Floats
from naic_reid.data import augment, images
from naic_reid.models.weights import Checkpoint
from naic_reid.retrieval import comparison, metrics, protocols
from naic_reid.retrieval.comparison import Difference
from naic_reid.retrieval.protocols import PROTOCOLS, Labels
from naic_reid.training import attack

MODEL: dict[str, Any] = {"height": 96, "width": 48, "recipe": {"epochs": 4}}
"""What differs from `lite_small` of experiments.yaml."""
PLAIN, CLEAN = "plain", "clean"
TRAINED: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "EMA": {"ema": 0.98},
    "SWA": {"swa_epochs": 2},
    "ODFA": {"adversarial": {"weight": 0.1, "every": 10, "levels": 16}},
    "ODFA, more": {"adversarial": {"weight": 0.5, "every": 4, "levels": 8}},
    "unlabelled": {"unlabelled": {"images": "more", "weight": 0.1, "after": 0.25, "form": "teacher"}},
}
"""Row → what its recipe has more."""
ATTACKED = {"2 levels": 2, "4 levels": 4}
"""Test → how far its queries are attacked; asked of `PLAIN` and of rows that are trained against attacks."""
TESTED = (CLEAN, "two scales", "multiple query", *ATTACKED)
SCALES = (1.0, 1.1)


def main() -> None:
    options = kept.parser(__doc__, list(TRAINED)).parse_args()
    truth = Truth.read(options.truth)
    kept.fill(options, lambda row, seed: trained(row, seed, truth, options))
    print(table(options.rows, options.seeds, truth, options.out))


def trained(row: str, seed: int, truth: Truth, options: argparse.Namespace) -> dict[str, Any]:
    """Every query's scores in every test after a training of that row, and the training's core-seconds."""
    asked = TESTED if row == PLAIN or "adversarial" in TRAINED[row] else TESTED[: -len(ATTACKED)]
    words = {**MODEL, "recipe": MODEL["recipe"] | TRAINED[row]}
    return kept.trained(
        words, seed, options,
        lambda checkpoint, _: tested(Checkpoint.read(checkpoint), asked, truth, options.data),
    )  # fmt: skip


def tested(
    checkpoint: Checkpoint, asked: tuple[str, ...], truth: Truth, data: Path
) -> dict[str, dict[str, list[float]]]:
    """Test → each query's scores, in the truth's order."""
    folders = ("query" if is_query else "gallery" for is_query in truth.is_query)
    paths = [data / "image_B_v1_1" / folder / name for folder, name in zip(folders, truth.names, strict=True)]
    plain = Extractor(checkpoint, device="cpu")
    pixels = np.stack([plain.geometry.fitted(images.read(path)) for path in paths])
    rows = plain.images(pixels)
    labels = _labels(truth)
    found = {}
    for test in asked:
        query, gallery = rows, rows
        if test in ATTACKED:
            query = plain.images(attacked(checkpoint, pixels, ATTACKED[test]))
        elif test == "two scales":
            query = gallery = Extractor(checkpoint, device="cpu", scales=SCALES).images(pixels)
        elif test == "multiple query":
            query, _ = protocols.averaged(rows, labels, rows, labels)
        found[test] = each(query, gallery, labels)
    return found


def attacked(checkpoint: Checkpoint, pixels: augment.Pixels, levels: int) -> augment.Pixels:
    """Pictures uint8 [N, H, W, 3] changed by so many grey levels at most, against this network."""
    embedder, attacks = checkpoint.embedder(), recipe.attack(levels)
    mean, deviation = (torch.tensor(values) for values in (augment.MEAN, augment.STD))
    made = []
    for some in torch.from_numpy(pixels).split(16):
        inputs = augment.normalised(some)
        found = attacks(embedder, inputs, attack.drawn(inputs.shape, len(made), levels))
        made.append((255 * (found.permute(0, 2, 3, 1) * deviation + mean)).round().clamp(0, 255).byte())
    return torch.cat(made).numpy()


def _labels(truth: Truth) -> Labels:
    who, where = truth.persons.astype(np.int64), truth.cameras.astype(np.int64)
    return Labels(who, where, np.zeros(len(who), bool), np.full(len(who), -1))


def each(query: Floats, gallery: Floats, labels: Labels) -> dict[str, list[float]]:
    """Each image asks all others; those of its person from its own camera, itself too, are left out."""
    met = protocols.meetings(PROTOCOLS["market"], labels, labels)
    distances = np.ascontiguousarray(1 - query @ gallery.T, np.float32)
    same = metrics.positives_of(distances, met)
    found = metrics.each(metrics.hits(metrics.count(distances, 0, same, met), met))
    return {name: found[name].tolist() for name in ("counted", *kept.SCORES)}


def table(rows: list[str], seeds: list[int], truth: Truth, folder: Path) -> str:
    """Of the trainings that are kept: a line for each row and test, plain ones first."""
    lines = [
        "| trained | tested | R1 | mAP | mAP, seed by seed | less plain: R1 | mAP | core-seconds |",
        "|" + "---|" * 8,
    ]
    told = {row: kept.read(folder, row, seeds) for row in rows}
    for row in rows:
        for test in (test for test in TESTED if test in told[row][0]):
            shares = [kept.shares(one[test], truth) for one in told[row]]
            seconds = np.mean([one["seconds"] for one in told[row]]) if test == CLEAN else 0
            apart = _apart(row, test, told, truth)
            lines.append(f"| {row} | {test} | {kept.cells(shares, apart)} | {seconds:.0f} |")
    return "\n".join(lines)


def _apart(row: str, test: str, told: dict[str, list[dict[str, Any]]], truth: Truth) -> list[Difference]:
    """From the plain training tested alike; of the plain training's own tests, from its clean one."""
    if (row, test) == (PLAIN, CLEAN) or PLAIN not in told:
        return []
    by = CLEAN if row == PLAIN else test
    shares, others = (
        [kept.shares(one[name], truth) for one in told[at]] for at, name in ((row, test), (PLAIN, by))
    )
    if row != PLAIN:
        return comparison.differences(shares, others)
    # Of the same trainings: what each of them gains is what varies.
    gains = [
        one._replace(totals=one.totals - other.totals) for one, other in zip(shares, others, strict=True)
    ]
    return comparison.differences(gains, [gains[0]._replace(totals=0 * gains[0].totals)])


if __name__ == "__main__":
    main()
