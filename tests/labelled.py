"""Drawn data sets in every layout in one data folder, and a config that trains and is scored on all."""

from pathlib import Path
from typing import Any

from naic_reid.config import LAYOUTS
from naic_reid.data.worlds import drawn

SOURCES = (
    "market1501",
    "dukemtmc",
    "msmt17",
    "cuhk03_np",
    "veri776",
    "vehicleid",
    "veriwild",
    "folders",
    "table",
)
"""Layouts with images to train on, beside NAIC's."""
TESTS = {
    **{layout: (layout, "") for layout in LAYOUTS if layout != "naic"},
    "market1501_500k": ("market1501", "500k"),
    "vehicleid_large": ("vehicleid", "large"),
}
"""Test's name → layout and variant; empty: the layout's first."""


def draw_all(data: Path) -> None:
    """Each world in a folder of its own, called as its layout; NAIC's directly in the data folder."""
    for layout in LAYOUTS:
        drawn(layout, data if layout == "naic" else data / layout)


def small(sources: list[dict[str, Any]], tests: dict[str, Any]) -> dict[str, Any]:
    """A config of the smallest network, two steps and no hold-out."""
    return {
        "seed": 3,
        "collect": {"sources": sources},
        "dedupe": {},
        "holdout": {"share": 0.0},
        "tests": tests,
        "models": {"tiny": {"backbone": "timm/test_resnet", "height": 32, "width": 16}},
        "train": {
            "epochs": 1,
            "steps_per_epoch": 2,
            "batch": 8,
            "optimizer": "adam",
            "learning_rate": 1.0e-3,
            "identity_loss": {"name": "linear"},
            "precision": "fp32",
            "schedule": {"warmup_epochs": 0, "milestones": []},
        },
        "ensemble": {"epochs": [1]},
        "search": {"keep": 4},
        "rerank": {test: {"k1": 3, "k2": 1, "lambda": 0.3} for test in tests},
    }


def everything() -> dict[str, Any]:
    """Trained on every layout at once, scored on each."""
    naic = {"name": "naic", "list": "train_2020_fs/train_list.txt", "images": "train_2020_fs/images"}
    sources = [naic, *({"name": name, "layout": name, "folder": name} for name in SOURCES)]
    tests = {
        name: {"layout": layout, "folder": layout} | ({"variant": variant} if variant else {})
        for name, (layout, variant) in TESTS.items()
    }
    tests["market1501"]["multi_query"] = True
    half = {"of": "market1501", "side": "legs", "keep": [0.5, 0.5]}
    config = small(sources, tests)
    config["rerank"]["half"] = dict(config["rerank"]["market1501"])
    return config | {"cut": {"half": half}}
