"""Labelled data sets that do not fit their layout, and scores that cannot be: lists, cameras, roles."""

import re
from collections.abc import Callable

import numpy as np
import yaml

from naic_reid.data.worlds import drawn
from tests.faults.case import Case
from tests.faults.world import Command, World
from tests.labelled import small


def _drawn(layout: str, change: Callable[[World], None]) -> Callable[[World], None]:
    """A data set of the layout in `set/`, damaged, and a config that trains on it and is scored on it."""

    def plant(world: World) -> None:
        drawn(layout, world.path("set"))
        change(world)
        raw = small([{"name": "one", "layout": layout}], {"two": {"layout": layout}})
        world.replace("labelled.yaml", yaml.safe_dump(raw).encode())

    return plant


def _survey(world: World) -> list[Command]:
    places = [
        "--train",
        "results/l/train.tsv",
        "--sources",
        "results/l/one.tsv",
        "--sets",
        "results/l/two.tsv",
    ]
    return [["survey", "--config", "labelled.yaml", "--data", "set", *places]]


def _layout(name: str, layout: str, change: Callable[[World], None], says: str) -> Case:
    return Case("Labelled", name, _drawn(layout, change), _survey, says=says)


def _added(path: str, content: bytes = b"") -> Callable[[World], None]:
    """Another file, or lines at the end of one that is there."""

    def change(world: World) -> None:
        there = world.path(path)
        world.replace(path, (there.read_bytes() if there.exists() else b"") + content)

    return change


def _emptied(world: World) -> None:
    for path in world.path("set/VeRi/image_query").iterdir():
        path.unlink()


def _one_camera(world: World) -> None:
    """One camera took all images."""
    for path in [*world.path("set/VeRi").rglob("*.jpg")]:
        path.rename(path.with_name(re.sub("_c[0-9]+_", "_c001_", path.name)))


def _features(query: str, gallery: str) -> Callable[[World], None]:
    """Three features of queries, four of a gallery, and the lines of their lists."""

    def plant(world: World) -> None:
        for name, num in (("q", 3), ("g", 4)):
            np.save(world.path(f"{name}.npy"), np.eye(4, dtype=np.float32)[:num])
        for name, lines in (("q", query), ("g", gallery)):
            world.replace(f"{name}.csv", f"identity,camera\n{lines}".encode())

    return plant


def _score(world: World) -> list[Command]:
    lists = ["--query-list", "q.csv", "--gallery-list", "g.csv", "--json", "results/scores.json"]
    return [["score", "q.npy", "g.npy", *lists, "--device", "cpu"]]


def _scored(name: str, plant: Callable[[World], None], says: str) -> Case:
    return Case("Labelled", name, plant, _score, says=says)


OWN_CAMERA = "none of 3 queries has a positive: those of 3 only images of the query's own camera"
NOBODY = "none of 3 queries has a positive: the persons of 3 have no image in the gallery but junk"
ANNS = "a,1\nb,1\nb,1\n"

CASES = [
    _layout("a name that does not fit", "market1501", _added("set/Market-1501-v15.09.15/query/me.jpg"),
            r"query/me\.jpg: its name does not fit the layout"),
    _layout("a camera that is no number", "msmt17",
            _added("set/MSMT17_V1/list_query.txt", b"0000/0000_000_xx_0303morning_0001_0.jpg 0\n"),
            r"list_query\.txt:\d+: the camera 'xx' is no number"),
    _layout("a missing role", "veri776", _emptied, "no images for query; expected the folders image_train"),
    _layout("a test by one camera alone", "veri776", _one_camera,
            "under the protocol market none of 12 queries has a positive: those of 12 only images"),
    _layout("a row without a role", "table", _added("set/persons.csv", b"images/0037.webp,1,2,\n"),
            r"\.csv:\d+: its role is missing or unknown"),
    _layout("two files for one row", "vehicleid", _added("set/VehicleID/image/0000174.png"),
            r"names 2 files, .*0000174\.jpg and .*0000174\.png"),
    _scored("positives of the query's camera alone", _features(ANNS, f"{ANNS}c,2\n"), f"market {OWN_CAMERA}"),
    _scored("queries of persons who are not there", _features(ANNS, "-1,1\n-1,1\nd,1\nc,2\n"), NOBODY),
    _scored("features and lists of different length", _features("a,1\nb,1\n", f"{ANNS}c,2\n"),
            r"q\.csv: 2 images, but q\.npy has 3 rows of features"),
    _scored("a line without an identity", _features("a,1\n,1\nb,1\n", f"{ANNS}c,2\n"),
            r"q\.csv:3: no identity"),
]  # fmt: skip
