"""The table of listed lines."""

from pathlib import Path

import pytest

from naic_reid.artifacts import MadeBy
from naic_reid.data.records import Records
from naic_reid.errors import ReidError

ROWS = [
    ("b/2.png", "b/7", 1, "aa", "cc", "", "a/1", "128 64"),
    ("a/1.png", "a/7", 2, "aa", "cc", "", "a/1", ""),
    ("a/1.png", "a/7", 3, "bb", "", "is empty", "", ""),
]


def test_what_is_written_is_read_in_its_order(tmp_path: Path) -> None:
    records = Records.of(ROWS, MadeBy("collect"))
    records.write(tmp_path / "records.tsv")
    found = Records.read(tmp_path / "records.tsv")
    assert found == records
    assert len(found) == 3
    assert list(found.sources) == ["b", "a", "a"]


def test_columns_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    sized = [(*row[:6], "", row[7]) for row in ROWS]
    cameras = [(*row[:7], "") for row in ROWS]
    for rows, last in ((sized, "fault\tsize"), (cameras, "fault\tcamera"), ([], "pixels\tfault")):
        records = Records.of(rows, MadeBy())
        records.write(tmp_path / "some.tsv")
        assert (tmp_path / "some.tsv").read_text().splitlines()[1].endswith(last)
        assert Records.read(tmp_path / "some.tsv") == records


def test_a_damaged_table_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "records.tsv"
    Records.of(ROWS, MadeBy("collect")).write(path)
    path.write_bytes(path.read_bytes().replace(b"a/1.png", b"a/9.png", 1))
    with pytest.raises(ReidError, match=r"records\.tsv"):
        Records.read(path)


def test_columns_have_one_length() -> None:
    with pytest.raises(ValueError, match="one length"):
        Records(("a.png",), (), (), (), (), (), (), ())
