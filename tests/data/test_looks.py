"""Many images, each read once, and the memory of what was seen."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from naic_reid.data import looks as module
from naic_reid.data.images import Look, look
from naic_reid.data.looks import looks
from naic_reid.errors import ReidError

NUM = 150  # more than two chunks


def _looks(paths: list[Path], **speed: Any) -> Iterator[Look]:
    return looks(paths[0].parent, [path.name for path in paths], **speed)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(NUM):
        cv2.imwrite(str(folder / f"{i:03}.png"), rng.integers(0, 256, (16, 8, 3), np.uint8))
    (folder / "007.png").write_bytes(b"text")
    (folder / "099.png").unlink()
    return [folder / f"{i:03}.png" for i in range(NUM)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read, in any order."""
    found: list[Path] = []

    def counted(path: str, *, with_pixels: bool = True) -> Look:
        found.append(Path(path))
        return look(path, with_pixels=with_pixels)

    monkeypatch.setattr(module, "look", counted)
    return found


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("with_pixels", [True, False])
def test_looks_come_in_order_whatever_the_number_of_workers(
    paths: list[Path], workers: int, with_pixels: bool
) -> None:
    expected = [look(path, with_pixels=with_pixels) for path in paths]
    assert list(_looks(paths, with_pixels=with_pixels, workers=workers)) == expected


def test_a_second_run_reads_only_what_could_not_be_read(
    paths: list[Path], tmp_path: Path, read: list[Path]
) -> None:
    cache = tmp_path / "new" / "looks.sqlite"
    first = list(_looks(paths, cache=cache, workers=2))
    assert len(read) == NUM
    read.clear()
    assert list(_looks(paths, cache=cache, workers=2)) == first
    assert [path.name for path in read] == ["099.png"]


def test_looks_do_not_depend_on_the_memory(paths: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "looks.sqlite"
    for with_pixels in (True, False, True):
        expected = list(_looks(paths, with_pixels=with_pixels))
        assert list(_looks(paths, with_pixels=with_pixels, cache=cache)) == expected


def test_what_could_not_be_read_is_not_remembered(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as busy:
        busy.setattr(module, "look", lambda path, *, with_pixels: Look(fault="cannot be read: busy"))
        assert next(_looks(paths, cache=tmp_path / "looks.sqlite")).fault
        list(_looks(paths, cache=tmp_path / "looks.sqlite"))
    assert not next(_looks(paths, cache=tmp_path / "looks.sqlite")).fault


def test_a_changed_file_is_read_again(paths: list[Path], tmp_path: Path, read: list[Path]) -> None:
    cache = tmp_path / "looks.sqlite"
    list(_looks(paths[:3], cache=cache))
    read.clear()
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-1] + b"x")  # the same size
    os.utime(paths[1], ns=(1, 1))
    found = list(_looks(paths[:3], cache=cache))
    assert read == [paths[1]]
    assert "damaged" in found[1].fault


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_damaged_memory_is_started_afresh(
    paths: list[Path], tmp_path: Path, content: bytes, read: list[Path]
) -> None:
    cache = tmp_path / "looks.sqlite"
    cache.write_bytes(content)
    expected = list(_looks(paths, cache=cache))
    read.clear()
    assert list(_looks(paths, cache=cache)) == expected
    assert len(read) == 1


def test_a_memory_cut_short_or_overwritten_in_places_costs_time_and_nothing_else(
    paths: list[Path], tmp_path: Path
) -> None:
    cache = tmp_path / "looks.sqlite"
    expected = list(_looks(paths, cache=cache))
    content = cache.read_bytes()
    for place in range(0, len(content), 1501):
        cut, bent = content[:place], bytearray(content)
        bent[place : place + 40] = bytes(40)
        for damaged in (cut, bytes(bent)):
            cache.write_bytes(damaged)
            assert list(_looks(paths, cache=cache)) == expected


def test_the_memory_of_another_decoder_is_not_believed(
    paths: list[Path], tmp_path: Path, read: list[Path]
) -> None:
    cache = tmp_path / "looks.sqlite"
    list(_looks(paths[:5], cache=cache))
    memory = sqlite3.connect(cache)
    memory.execute("UPDATE made_by SET version = 'older'")
    memory.commit()
    memory.close()
    read.clear()
    list(_looks(paths[:5], cache=cache))
    assert len(read) == 5


def test_two_runs_may_share_a_memory(paths: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "looks.sqlite"
    expected = list(_looks(paths))
    first, second = _looks(paths, cache=cache), _looks(paths, cache=cache)
    found = [(next(first), next(second)) for _ in range(NUM)]
    assert [a for a, _ in found] == expected
    assert [b for _, b in found] == expected


def test_a_run_that_stops_early_keeps_what_it_saw(
    paths: list[Path], tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMMIT", 1)
    cache = tmp_path / "looks.sqlite"
    running = _looks(paths, cache=cache)
    for _ in range(80):
        next(running)
    running.close()
    read.clear()
    list(_looks(paths, cache=cache))
    rest = NUM - 128 + 1  # two chunks were made safe; one file is missing
    assert len(read) == rest


def test_a_memory_that_cannot_be_written_is_a_users_mistake(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReidError, match="name another --cache"):
        list(_looks(paths, cache=tmp_path / "file" / "looks.sqlite"))


def test_no_images_give_no_looks(tmp_path: Path) -> None:
    assert list(looks(tmp_path, [], cache=tmp_path / "looks.sqlite")) == []
