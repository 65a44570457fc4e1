"""Files are there whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from naic_reid.errors import ReidError
from naic_reid.files import digest, whole


def test_a_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result.txt"
    with whole(target) as part:
        part.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert os.listdir(target.parent) == ["result.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(target) as part:
        part.write_text("new")
        _ = 1 / 0
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_a_folder_replaces_an_older_one_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with whole(target, folder=True) as part:
            (part / content).write_text(content)
    assert os.listdir(target) == ["two"]
    assert os.listdir(tmp_path) == ["folder"]


def test_what_a_killed_writer_left_is_swept_up_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "result [1].txt"
    script = (
        "import os, sys; from pathlib import Path; from naic_reid.files import whole\n"
        "with whole(Path(sys.argv[1])) as part:\n    part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    assert not target.exists()
    with whole(target) as part:
        part.write_text("all")
    assert os.listdir(tmp_path) == [target.name]


def test_a_parent_that_is_a_file_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with (
        pytest.raises(ReidError, match=r"blocked.*cannot be written.*nothing was changed"),
        whole(tmp_path / "blocked" / "result") as part,
    ):
        part.write_text("")


def test_an_error_about_another_file_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole(tmp_path / "out") as part:
        part.write_bytes(Path("/nonexistent/input").read_bytes())


def test_equal_bytes_have_equal_digests(tmp_path: Path) -> None:
    for name, content in {"a": b"x" * 3_000_000, "b": b"x" * 3_000_000, "c": b"x" * 2_999_999}.items():
        (tmp_path / name).write_bytes(content)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
