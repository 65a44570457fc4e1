"""Twenty steps of training give the losses that they gave when this was written: drift between two versions
of the project, or of what it stands on, shows here.

To store them anew, after a change that is meant to change them:

    python -m tests.stages.test_golden_curve
"""

import json
import tempfile
from pathlib import Path

import cv2
import pytest

from naic_reid.artifacts import ImageList
from naic_reid.config import Ensemble, Loss, Model, Schedule, Train
from naic_reid.data import toy
from naic_reid.stages import train

GOLDEN = Path(__file__).parents[1] / "golden" / "training_curve.json"
TOLERANCE = 0.01
"""Relative. Two threads instead of one round sums otherwise: that moved no number by more than 0.002."""
TERMS = ("loss", "arcface", "weighted_triplet", "rate")


def curve(folder: Path, threads: int = 1) -> list[dict[str, float]]:
    """One line of history for each step."""
    paths, identities = [], []
    for number in range(48):
        person, camera = (
            toy.person(toy.generator(0, 0, number // 4)),
            toy.camera(toy.generator(0, 1, number % 4)),
        )
        image = toy.draw(person, camera, "normal", 64, 32, toy.generator(0, 2, number))
        paths.append(f"{number:02}.png")
        identities.append(f"drawn/{number // 4}")
        cv2.imwrite(str(folder / paths[-1]), image)
    ImageList(tuple(paths), tuple(identities)).write(folder / "images.tsv")
    recipe = Train(
        epochs=4, steps_per_epoch=5, batch=8, learning_rate=0.0005, precision="fp32",
        schedule=Schedule(warmup_epochs=1, milestones=(3,)),
        identity_loss=Loss(name="arcface", scale=16, margin=0.2),
    )  # fmt: skip
    train.run(
        11, recipe, Model(backbone="resnet18_ibn_a", height=64, width=32), Ensemble(epochs=(4,)), data=folder,
        scratch=folder / "scratch", images=folder / "images.tsv", unlabelled=[], pretrained=[], attributes=[],
        checkpoints=[folder / "epoch_4.pt"], history=folder / "history.jsonl", threads=threads, device="cpu",
    )  # fmt: skip
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{term: line[term] for term in TERMS} for line in lines]


def test_the_losses_are_those_that_were_stored(tmp_path: Path) -> None:
    stored = json.loads(GOLDEN.read_text())
    found = curve(tmp_path)
    assert len(found) == len(stored) == 20
    for number, (line, was) in enumerate(zip(found, stored, strict=True)):
        assert line == pytest.approx(was, rel=TOLERANCE), f"step {number + 1}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        lines = [json.dumps(line) for line in curve(Path(place))]
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n")
