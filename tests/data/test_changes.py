"""Changed images are found by size and time first, and by content where these differ."""

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import pytest

from naic_reid.artifacts import ImageList
from naic_reid.data.changes import Reading
from naic_reid.errors import ReidError

NAMES = ("a/1.png", "a/2.png", "b/1.png")


class Folder:
    """Three files, the list that a step wrote of them, and which of them were read since."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.read: list[str] = []
        for name in NAMES:
            self.put(name, name.encode(), 10)
        self.reading = Reading((place / "list.tsv",), place / "scratch" / "seen.npz")
        self.write_list()

    def put(self, name: str, content: bytes, second: int) -> None:
        path = self.place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (second, second))

    def write_list(self) -> None:
        digests = tuple(self._digest(name) for name in NAMES)
        ImageList(NAMES, ("s/1",) * 3, digests=digests).write(self.place / "list.tsv")

    def changed(self, *, remember: bool = True) -> list[str]:
        self.read = []
        return self.reading.changed(self.place, self._digests, remember=remember)

    def _digests(self, names: Sequence[str]) -> list[str]:
        self.read += names
        return [self._digest(name) for name in names]

    def _digest(self, name: str) -> str:
        path = self.place / name
        return blake2b(path.read_bytes(), digest_size=16).hexdigest() if path.exists() else ""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_all_are_read_once_and_then_none(folder: Folder) -> None:
    assert folder.changed() == []
    assert folder.read == list(NAMES)
    assert folder.changed() == []
    assert folder.read == []


def test_what_has_another_time_is_read_and_what_has_another_content_is_named(folder: Folder) -> None:
    folder.changed()
    folder.put("a/1.png", b"a/1.png", 11)  # touched
    folder.put("a/2.png", b"A/2.png", 11)  # of the same size
    assert folder.changed() == ["a/2.png"]
    assert folder.read == ["a/1.png", "a/2.png"]
    assert folder.changed() == ["a/2.png"]  # until the step has run again
    folder.write_list()
    assert folder.changed() == []
    assert folder.read == list(NAMES)
    folder.changed()
    assert folder.read == []


def test_a_missing_file_is_named(folder: Folder) -> None:
    folder.changed()
    (folder.place / "b/1.png").unlink()
    assert folder.changed() == ["b/1.png"]


def test_a_change_between_the_step_and_the_first_look_is_found(folder: Folder) -> None:
    folder.put("b/1.png", b"another", 10)
    assert folder.changed() == ["b/1.png"]


def test_nothing_is_written_unless_it_shall_be_remembered(folder: Folder) -> None:
    assert folder.changed(remember=False) == []
    assert not folder.reading.memory.exists()


def test_a_damaged_memory_costs_time_only(folder: Folder) -> None:
    folder.changed()
    content = bytearray(folder.reading.memory.read_bytes())
    for at in range(0, len(content), 97):
        spoilt = content.copy()
        spoilt[at] ^= 1
        folder.reading.memory.write_bytes(spoilt)
        assert folder.changed() == []
    folder.reading.memory.write_bytes(content[:100])
    assert folder.changed() == []
    assert folder.read == list(NAMES)


def test_a_step_that_has_not_run_has_read_nothing(folder: Folder) -> None:
    (folder.place / "list.tsv").unlink()
    assert folder.changed() == []


def test_a_damaged_table_is_refused(folder: Folder) -> None:
    (folder.place / "list.tsv").write_text("nothing\n")
    with pytest.raises(ReidError, match=r"list.tsv: not a whole"):
        folder.changed()
