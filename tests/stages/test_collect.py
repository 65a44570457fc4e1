"""Collect: every line and every image is looked at before anything is trained."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from naic_reid.config import Collect, Source, Split
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.stages import collect as stage
from tests.data.listed import draw, settings, surveyed, world

LISTS = {"fs": [("a.png", 1, 1), ("b.png", 1, 2)], "cs": [("a.png", 1, 1), ("sub/c.png", 3, 4)]}


def _collect(collect: Collect, data: Path, **speed: object) -> Records:
    folder = data.parent
    surveyed(collect, Split(), data)
    lists, images = folder / "train.tsv", folder / "images.tsv"
    stage.run(collect, data=data, lists=lists, sources=[], images=images, **speed)  # type: ignore[arg-type]
    return Records.read(images)


def _again(collect: Collect, data: Path) -> None:
    """With the survey as it stands."""
    lists, images = data.parent / "train.tsv", data.parent / "images.tsv"
    stage.run(collect, data=data, lists=lists, sources=[], images=images)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_every_line_is_a_row_by_source_and_line(data: Path) -> None:
    records = _collect(world(data, LISTS), data)
    assert records.paths == (
        "fs/images/a.png", "fs/images/b.png", "cs/images/a.png", "cs/images/sub/c.png",
    )  # fmt: skip
    assert records.identities == ("fs/1", "fs/1", "cs/1", "cs/3")
    assert records.lines == (1, 2, 1, 2)
    assert records.digests[0] == records.digests[2] != records.digests[1]
    assert records.pixels[0] == records.pixels[2] != ""
    assert set(records.faults) == {""}


def test_sources_share_no_identities_even_with_equal_labels(data: Path) -> None:
    assert len(set(_collect(world(data, LISTS), data).identities)) == 3


def test_the_listed_folder_may_be_the_data_folder_itself(data: Path) -> None:
    world(data, LISTS)
    (data / "all.txt").write_text("fs/images/a.png 1\n")
    collect = Collect(sources=(Source(name="all", list="all.txt", images="."),))
    assert _collect(collect, data).paths == ("fs/images/a.png",)


def test_workers_and_memory_never_change_the_result(data: Path, tmp_path: Path) -> None:
    collect = world(data, LISTS)
    _collect(collect, data)
    expected = (tmp_path / "images.tsv").read_bytes()
    for _ in range(2):
        _collect(collect, data, workers=3, cache=tmp_path / "looks.sqlite")
        assert (tmp_path / "images.tsv").read_bytes() == expected


def test_bad_lines_of_all_lists_are_one_error_with_the_first_twenty_and_the_count(data: Path) -> None:
    collect = world(data, LISTS)
    (data / "fs" / "list.txt").write_text("a.png:1\n../../etc/passwd:1\nb.png:x\n")
    (data / "cs" / "list.txt").write_text("".join(f"none{i}.png 1\n" for i in range(30)))
    with pytest.raises(ReidError) as caught:
        _collect(collect, data)
    message = str(caught.value)
    assert "(32 in all)" in message
    assert message.count("\n  ") == 21
    assert "and 12 more" in message
    assert f"{data}/fs/list.txt:2: the path leaves the source's folder: ../../etc/passwd:1" in message
    assert f"{data}/fs/list.txt:3: the label 'x' is no whole number: b.png:x" in message
    assert f"{data}/cs/list.txt:1: no such image in {data}/cs/images: none0.png" in message


def test_an_image_that_is_a_link_out_of_its_folder_is_refused(data: Path) -> None:
    collect = world(data, LISTS)
    (data / "fs" / "images" / "b.png").unlink()
    (data / "fs" / "images" / "b.png").symlink_to(data / "cs" / "images" / "a.png")
    with pytest.raises(ReidError, match=r"leaves the source's folder: b\.png"):
        _collect(collect, data)


def _spoil(images: Path) -> dict[str, str]:
    """Ten ways in which an image is unusable: name → what is said of it."""
    draw(images / "whole.png", 50)
    content = (images / "whole.png").read_bytes()
    jpeg = cv2.imencode(".jpg", np.zeros((32, 16, 3), np.uint8))[1].tobytes()
    spoiled = {
        "cut.png": (content[:-20], "truncated PNG"),
        "cut.jpg": (jpeg[:-2], "truncated JPEG"),
        "empty.png": (b"", "is empty"),
        "text.png": (b"not an image", "neither PNG nor JPEG"),
        "flipped.png": (content[:60] + bytes([content[60] ^ 1]) + content[61:], "wrong checksum"),
        "bomb.png": (content[:16] + (20_000).to_bytes(4, "big") * 2 + content[24:], "20000 × 20000"),
        "tiny.png": (cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes(), "only 1 × 1"),
        "a b ü.png": (b"\0", "neither PNG nor JPEG"),
    }
    for name, (bad, _) in spoiled.items():
        (images / name).write_bytes(bad)
    return {name: reason for name, (_, reason) in spoiled.items()}


def test_all_unusable_images_are_named_in_one_error(data: Path) -> None:
    collect = world(data, LISTS)
    spoiled = _spoil(data / "fs" / "images")
    text = "a.png:1\n" + "".join(f"{name}:1\n" for name in spoiled)
    (data / "fs" / "list.txt").write_text(text)
    with pytest.raises(ReidError) as caught:
        _collect(collect, data)
    message = str(caught.value)
    assert f"({len(spoiled)} in all)" in message
    for name, reason in spoiled.items():
        assert any(f"{name}: " in line and reason in line for line in message.splitlines()), name
    assert not (data.parent / "images.tsv").exists()


def test_unusable_images_may_be_dropped_and_then_stand_in_the_table(data: Path) -> None:
    world(data, LISTS)
    spoiled = _spoil(data / "fs" / "images")
    (data / "fs" / "list.txt").write_text("a.png:1\n" + "".join(f"{name}:1\n" for name in spoiled))
    records = _collect(settings("fs", "cs", unreadable="drop"), data)
    faults = dict(zip(records.paths, records.faults, strict=True))
    assert not faults["fs/images/a.png"]
    for name, reason in spoiled.items():
        assert reason in faults[f"fs/images/{name}"]


def test_an_image_without_permission_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collect = world(data, LISTS)
    really = os.open

    def refusing(path: str | os.PathLike[str], *rest: int) -> int:
        if Path(path).name == "b.png":  # as for everybody but the superuser, who may run the tests
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *rest)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(ReidError, match=r"b\.png: cannot be read: Permission denied"):
        _collect(collect, data)


def test_without_decoding_pixels_stay_empty(data: Path) -> None:
    world(data, LISTS)
    records = _collect(settings("fs", "cs", decode=False), data)
    assert set(records.pixels) == {""}
    assert all(records.digests)


def test_a_list_that_changed_since_the_survey_is_refused(data: Path) -> None:
    collect = world(data, LISTS)
    _collect(collect, data)
    (data / "cs" / "list.txt").write_text("a.png:9\n")
    with pytest.raises(ReidError, match=r"cs/list\.txt: changed since the survey"):
        _again(collect, data)


def test_a_source_that_the_survey_does_not_know_is_refused(data: Path) -> None:
    _collect(world(data, LISTS), data)
    collect = settings("fs", "other")
    with pytest.raises(ReidError, match="run survey again"):
        _again(collect, data)
