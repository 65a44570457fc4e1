"""FastReID's zoo: every row trains two steps and is scored on a drawn world of its layout."""

import copy
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from naic_reid import Extractor, config, score, zoo
from naic_reid.artifacts import ImageList
from naic_reid.data import layouts
from naic_reid.data.layouts import LAYOUTS, Options
from naic_reid.data.worlds import drawn
from naic_reid.stages import train

ROWS = [row for row in zoo.rows() if not row.zoo]
"""FastReID's; those of the friendly baseline are in `test_baseline_zoo`."""
DATA = ("collect", "dedupe", "holdout", "split", "tests", "rerank", "published")
"""Sections that only say which data set it is."""


def _but_for_data(row: zoo.Row) -> str:
    """The row's settings without which data set they are for; with it for a recipe of its own."""
    settings = {name: value for name, value in zoo.settings(row).items() if name not in DATA}
    return yaml.safe_dump(settings)


def _walked() -> Iterator[zoo.Row]:
    """A row of each network with each recipe, of the persons' data sets in turn; and every vehicles' row."""
    seen: set[str] = set()
    turns = count()
    for row in ROWS:
        if row.data not in ("market1501", "dukemtmc", "msmt17"):
            yield row
        elif (recipe := _but_for_data(row)) not in seen:
            seen.add(recipe)
            data = ("market1501", "dukemtmc", "msmt17")[next(turns) % 3]
            yield zoo.row(f"{data}/{row.method}/{row.backbone}")


TODAY = zoo.row("veri776/sbs/resnet50_ibn_a@head")
"""Whose recipe has most of the words that today's code alone has."""
WALKED = (*_walked(), TODAY)


def test_every_row_is_one_that_runs_but_for_its_data() -> None:
    recipes = {_but_for_data(row) for row in WALKED}
    assert all(_but_for_data(row) in recipes for row in ROWS)
    assert {row.data for row in WALKED} == {row.data for row in ROWS}


def cut(row: zoo.Row, height: int = 32, width: int = 16, **words: Any) -> config.Config:
    """The row in two epochs of one step on tiny images, the first of them frozen where the row begins so.

    Gradients are clipped: instance normalisation over the two pixels that are left is steep.
    """
    whole: dict[str, Any] = copy.deepcopy(zoo.settings(row))
    (model,) = whole["models"].values()
    model |= {"height": 80 if row.method == "mgn" else height, "width": width, "pretrained": None} | words
    recipe = whole["train"]
    recipe |= {"epochs": 2, "steps_per_epoch": 1, "batch": 8, "num_instances": 4}
    recipe |= {"clip": 1.0, "precision": "fp32"}  # float16 is slow on a processor
    recipe["augment"]["pad"] = 4
    schedule = recipe["schedule"]
    schedule |= {"flat_epochs": 0} if schedule["kind"] == "cosine" else {"milestones": [1]}
    schedule |= {"warmup_steps": 2} if "warmup_steps" in schedule else {"warmup_epochs": 2}
    for word in ("freeze_epochs", "freeze_steps"):
        if recipe.get(word):
            recipe[word] = 1
    whole["ensemble"] = {"epochs": [2]}
    return config.parse(yaml.safe_dump(whole), row.name)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds")
    for layout in ("naic", "market1501", "dukemtmc", "msmt17", "veri776", "vehicleid", "veriwild"):
        drawn(layout, folder / layout, height=32, width=16)
    return folder


@pytest.fixture(scope="module")
def checkpoints() -> Iterator[Path]:
    """Where they lie while this module runs: they are a gigabyte."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


def _trained(row: zoo.Row, data: Path, into: Path) -> Path:
    """The row's checkpoint, one for all sizes of a test set."""
    settings = cut(row)
    name = f"{data.name}_{row.method}_{row.backbone}{row.today}.pt"
    return into / name if (into / name).exists() else trained(settings, data, into / name)


def trained(settings: config.Config, data: Path, checkpoint: Path) -> Path:
    """The checkpoint after both steps."""
    (model,) = settings.models.values()
    with tempfile.TemporaryDirectory() as scratch:
        _train(settings, model, data, Path(scratch), checkpoint)
    return checkpoint


def _train(settings: config.Config, model: config.Model, data: Path, folder: Path, checkpoint: Path) -> None:
    rows = layouts.read(data, data.name, ["train"]).of("train")
    paths, persons, cameras = zip(*((one.path, one.identity, one.camera) for one in rows), strict=True)
    ImageList(paths, persons, cameras=cameras).write(folder / "train.tsv")
    train.run(
        settings.seed, settings.train, model, settings.ensemble, data=data, scratch=folder,
        images=folder / "train.tsv", unlabelled=[], pretrained=[], attributes=[], checkpoints=[checkpoint],
        history=folder / "history.jsonl", workers=1, device="cpu", threads=1, save_seconds=1e9,
    )  # fmt: skip
    steps = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [(one["epoch"], one["step"]) for one in steps] == [(1, 1), (2, 1)]
    assert all(math.isfinite(one["loss"]) for one in steps)


BOT_COSINE = """\
# BoT with a cosine head: CosFace in the place of the linear classifier.
model: {height: 256, width: 128, pooling: average}
train:
  epochs: 120
  bias_rate: 2.0
  schedule: {kind: multistep, milestones: [40, 90], gamma: 0.1}
  identity_loss: {name: cosface, weight: 1.0, scale: 30.0, margin: 0.35}
  metric_loss: {name: hard_triplet, weight: 1.0, margin: 0.3}
ensemble: {epochs: [120]}
"""


def test_a_method_is_a_fragment_and_its_rows(
    tmp_path: Path, worlds: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/log/models.md shows as a diff."""
    home = tmp_path / "zoo"
    shutil.copytree(zoo._HOME, home)
    (home / "methods/bot_cosine.yaml").write_text(BOT_COSINE)
    with (home / "rows.csv").open("a") as handle:
        handle.write("market1501,bot_cosine,resnet50,,,,,23512128,4.053\n")
    monkeypatch.setattr(zoo, "_HOME", home)
    row = zoo.row("market1501/bot_cosine/resnet50")
    whole, bot = (zoo.settings(one) for one in (row, zoo.row("market1501/bot/resnet50")))
    assert whole["train"].pop("identity_loss")["name"] == "cosface"
    del bot["train"]["identity_loss"]
    assert whole["train"] == bot["train"] and whole["models"]["bot_cosine"] == bot["models"]["bot"]
    assert _trained(row, worlds / "market1501", checkpoints).exists()


@pytest.mark.parametrize("row", WALKED, ids=[row.name for row in WALKED])
def test_a_row_trains_and_is_scored(row: zoo.Row, worlds: Path, checkpoints: Path) -> None:
    settings = cut(row)
    (layout, variant) = next(((test.layout, test.variant) for test in settings.tests.values()), ("naic", ""))
    data = worlds / layout
    found = layouts.read(data, layout, ["query", "gallery"], Options(variant=variant))
    # NAIC's test images have no labels: persons that it was trained on are asked for among themselves.
    roles = ("query", "gallery") if settings.tests else ("train", "train")
    extractor = Extractor.load(_trained(row, data, checkpoints), device="cpu", flip=False)
    sides = []
    for role in roles:
        rows = found.of(role)
        values = extractor.files([data / one.path for one in rows], workers=1).values
        persons = ["-1" if one.mark == "junk" else one.identity for one in rows]
        sides.append((values, persons, [one.camera for one in rows]))
    (query, asked, seen_by), (gallery, persons, cameras) = sides
    scores = score(
        query, gallery, asked, persons, seen_by, cameras, protocol=LAYOUTS[layout].protocol, threads=1
    )
    assert 0 <= scores["R1"] <= 1 and 0 < scores["mAP"] <= 1
    assert extractor.dimension == (512 if "34" in row.backbone else 2048)
