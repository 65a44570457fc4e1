"""The whole reproduction with its sizes cut: every section of configs/naic2020.yaml is walked, on files in
the competition's folders."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from naic_reid import models
from naic_reid.architecture import Architecture
from naic_reid.config import Toy
from naic_reid.stages import toy
from tests.walk import Walk, cut


def cut_down(weights: Path) -> dict[str, object]:
    """One step an epoch, two epochs, few pixels; networks, losses and all the rest as published."""
    raw = cut(
        "naic2020.yaml",
        train={"epochs": 2, "steps_per_epoch": 1, "batch": 8},
        ensemble={"epochs": [2]},
        holdout={"share": 0.2},
    )
    raw["train"]["schedule"] |= {"warmup_epochs": 1, "milestones": [1]}
    del raw["models"]["r101_384"]  # its chain is that of the others
    for model, height in zip(raw["models"].values(), (64, 80), strict=True):
        model.update(height=height, width=height // 2, pretrained=str(weights))
    for rerank in raw["rerank"].values():
        rerank["k1"] = 10
    return raw


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Walk:
    folder = tmp_path_factory.mktemp("naic2020")
    drawn = Toy(train_identities=12, test_identities=6, images=6, height=64, width=32)
    toy.run(1234, drawn, folder=folder / "data" / "MyDataSet", truth=folder / "truth.csv", attributes=[])
    torch.manual_seed(0)
    backbone = models.build(Architecture(backbone="resnet101_ibn_b", height=64, width=32)).backbone
    weights = folder / "resnet101_ibn_b.pth"
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in backbone.state_dict().items()}}, weights
    )
    walk = Walk(folder, cut_down(Path("resnet101_ibn_b.pth")), warm)
    walk.run()
    return walk


def test_every_model_of_the_reproduction_is_trained_and_fused(finished: Walk) -> None:
    submission = json.loads(finished.submission)
    queries = list((finished.folder / "data/MyDataSet/image_B_v1_1/query").iterdir())
    assert sorted(submission) == sorted(path.name for path in queries)
    log = (finished.folder / "logs/fuse/green.log").read_text()
    assert "2 members" in log
    assert "R1" in (finished.folder / "results/card/card.txt").read_text()


def test_the_published_weights_are_loaded_whole(finished: Walk) -> None:
    log = (finished.folder / "logs/train/r101_256.log").read_text()
    assert re.search(r"resnet101_ibn_b\.pth: ([0-9]+) of \1 tensors", log), log


def test_a_data_folder_that_moved_reruns_nothing(finished: Walk) -> None:
    there = finished.folder / "data" / "MyDataSet"
    elsewhere = finished.folder / "elsewhere"
    shutil.copytree(there, elsewhere)  # new times, new place, equal content
    assert finished.would_run("--config", f"data={elsewhere}") == {}


def test_a_new_query_reruns_the_split_but_no_training(finished: Walk) -> None:
    added = finished.folder / "data/MyDataSet/image_B_v1_1/query/00000001.png"
    cv2.imwrite(str(added), np.full((64, 32, 3), 120, np.uint8))
    try:
        found = finished.would_run()
        assert found["split"] == 1
        assert not {"collect", "dedupe", "holdout", "train"} & found.keys()
    finally:
        added.unlink()
    assert finished.would_run() == {}


def test_a_changed_list_reruns_from_collect_on(finished: Walk) -> None:
    path = finished.folder / "data/MyDataSet/train_2020_fs/train_list.txt"
    before = path.read_bytes()
    path.write_bytes(b"".join(before.splitlines(keepends=True)[1:]))
    try:
        assert {"collect", "dedupe", "train"} <= finished.would_run().keys()
    finally:
        path.write_bytes(before)
    assert finished.would_run() == {}


def test_missing_weights_are_named_with_the_remedy(finished: Walk, tmp_path: Path) -> None:
    data = finished.folder / "data" / "MyDataSet"
    printed = Walk(tmp_path, cut_down(Path("nowhere.pth"))).run("--config", f"data={data}", status=1)
    assert "nowhere.pth is missing" in printed
    assert "pretrained: null" in printed
    assert not list(tmp_path.glob("results/train/*"))
