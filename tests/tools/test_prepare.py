"""A folder for each identity: what is written, and that the layout `folders` reads the same from it."""

import argparse
from collections import Counter
from pathlib import Path

import pytest

from naic_reid.artifacts import DISTRACTOR, JUNK
from naic_reid.data import layouts
from naic_reid.data.layouts import LAYOUTS, Options, Row
from naic_reid.data.prepared import plan
from naic_reid.data.worlds import drawn
from naic_reid.errors import ReidError
from naic_reid.retrieval.evaluation import Evaluation
from naic_reid.retrieval.protocols import PROTOCOLS, Columns, numbered
from naic_reid.tools import prepare as tool

CASES = [(name, variant) for name, layout in LAYOUTS.items() for variant in layout.variants]


def _prepare(layout: str, source: Path, target: Path, **more: object) -> None:
    options = {"variant": "", "copy": False, "seed": 0} | more
    assert tool.run(argparse.Namespace(layout=layout, source=source, target=target, **options)) == 0


def _seen(folder: Path, layout: str, variant: str) -> Counter[tuple[str, ...]]:
    """What rows say about each picture, without the names; a camera by its rank, where it has a name."""
    rows = layouts.read(folder, layout, (), Options(variant)).rows
    ranks = {name: str(at) for at, name in enumerate(sorted({row.camera for row in rows} - {""}), start=1)}
    named = not all(camera.isdecimal() for camera in ranks)
    alike = {JUNK: "-1", DISTRACTOR: "0000"}
    return Counter(
        (
            row.role if row.role != "val" else "train",
            alike.get(row.mark, row.identity.replace("/", "-") or "unknown"),
            ranks.get(row.camera, "") if named else row.camera,
            row.group,
            row.mark,
            (folder / row.path).read_bytes().hex()[-600:],
        )
        for row in rows
    )


@pytest.mark.parametrize(("layout", "variant"), CASES)
def test_folders_reads_back_who_and_where_of_every_layout(layout: str, variant: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    drawn(layout, source)
    _prepare(layout, source, target, variant=variant)
    assert _seen(target, "folders", "") == _seen(source, layout, variant)


def test_partial_persons_keep_groups_that_folders_can_be_scored_by(tmp_path: Path) -> None:
    drawn("partial_reid", tmp_path / "source")
    _prepare("partial_reid", tmp_path / "source", tmp_path / "target")
    trials = []
    for folder, layout in (("source", "partial_reid"), ("target", "folders")):
        found = layouts.look(tmp_path / folder, layout)
        rows = [sorted(found.of(role), key=lambda r: (r.identity, r.group)) for role in ("query", "gallery")]
        told = [[(r.identity, r.camera, False, False, r.group) for r in role] for role in rows]
        labels = numbered(*(Columns(*zip(*role, strict=True)) for role in told))
        trials.append([(q.tolist(), g.tolist()) for q, g in Evaluation(PROTOCOLS["groups"], *labels).trials])
    assert trials[0] == trials[1]
    assert len(trials[0]) == 9  # three groups against three, an image of each of four persons
    assert {(len(q), len(g)) for q, g in trials[0]} == {(4, 4)}


def test_val_is_one_image_of_each_person_and_none_of_train(tmp_path: Path) -> None:
    drawn("market1501", tmp_path / "source")
    _prepare("market1501", tmp_path / "source", tmp_path / "target")
    found = layouts.look(tmp_path / "target", "folders")
    assert set(Counter(row.identity for row in found.of("val")).values()) == {1}
    assert (len(found.of("train")), len(found.of("val"))) == (30, 6)
    names = {role: {Path(row.path).name for row in found.of(role)} for role in ("train", "val")}
    assert not names["train"] & names["val"]
    every = {path.name for path in (tmp_path / "target" / "train_all").rglob("*.jpg")}
    assert every == names["train"] | names["val"]
    both = layouts.look(tmp_path / "target", "folders", Options("trainval"))
    assert layouts.counted(both.rows)["train"] == (6, 36, 3)


def test_who_is_drawn_for_val_follows_the_seed_and_not_the_order() -> None:
    rows = [Row(f"{who}/{n}.png", "train", who) for who in "abcdef" for n in range(9)]
    rows.append(Row("g/0.png", "train", "g"))  # alone: stays in train
    first = {one.path for one in plan(rows, 0) if one.path.startswith("val/")}
    assert len(first) == 6
    assert {one.path for one in plan(rows[::-1], 0) if one.path.startswith("val/")} == first
    assert {one.path for one in plan(rows, 1) if one.path.startswith("val/")} != first


def test_equal_names_from_two_folders_stay_two_files() -> None:
    rows = [Row("x/1.png", "query", "a"), Row("y/1.png", "query", "a")]
    placed = plan(rows, 0)
    assert [one.source for one in placed] == ["x/1.png", "y/1.png"]
    assert len({one.path for one in placed}) == 2


def test_links_share_the_files_and_copies_do_not(tmp_path: Path) -> None:
    drawn("partial_ilids", tmp_path / "source")
    photo = tmp_path / "source/Partial_iLIDS/Probe/001.jpg"
    _prepare("partial_ilids", tmp_path / "source", tmp_path / "linked")
    _prepare("partial_ilids", tmp_path / "source", tmp_path / "copied", copy=True)
    assert next((tmp_path / "linked/query/001").iterdir()).samefile(photo)
    assert not next((tmp_path / "copied/query/001").iterdir()).samefile(photo)


def test_what_cannot_be_prepared_leaves_nothing_behind(tmp_path: Path) -> None:
    drawn("dukemtmc", tmp_path / "source")
    with pytest.raises(ReidError, match="not a folder of the layout market1501"):
        _prepare("market1501", tmp_path / "source", tmp_path / "target")
    (tmp_path / "source/DukeMTMC-reID/query/me.jpg").touch()
    with pytest.raises(ReidError, match=r"query/me\.jpg: its name does not fit"):
        _prepare("dukemtmc", tmp_path / "source", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    (tmp_path / "source/DukeMTMC-reID/query/me.jpg").unlink()
    _prepare("dukemtmc", tmp_path / "source", tmp_path / "target")
    with pytest.raises(ReidError, match="target: exists: name a new folder"):
        _prepare("dukemtmc", tmp_path / "source", tmp_path / "target")
