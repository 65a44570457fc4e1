"""The tool `check`: valid files get a line, others a list of what is wrong and status 2."""

import json
from pathlib import Path

import pytest

from naic_reid import cli
from naic_reid.artifacts import ImageList


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for role, names in (("query", ["q1.png", "q2.png"]), ("gallery", ["a.png", "b.png"])):
        (tmp_path / role).mkdir()
        for name in names:
            (tmp_path / role / name).write_bytes(b"")
        (tmp_path / f"{role}.txt").write_text("".join(f"some/{name}\n" for name in names))
        ImageList(tuple(f"{role}/{name}" for name in names), ("",) * 2).write(tmp_path / f"{role}.tsv")
    good = {"q1.png": ["a.png", "b.png"], "q2.png": ["b.png", "a.png"]}
    (tmp_path / "good.json").write_text(json.dumps(good))
    (tmp_path / "bad.json").write_text(json.dumps(good | {"q2.png": ["b.png", "c.png"]}))
    return tmp_path


def check(place: Path, file: str, *rest: str) -> int:
    return cli.main(["check", str(place / file), *rest])


def test_a_good_file_is_valid_by_its_shape_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(place, "good.json") == 0
    assert "good.json: valid: 2 queries, 4 names (shape only" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["", ".txt", ".tsv"])
def test_names_are_checked_against_folders_and_lists(
    place: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = ["--query", str(place / f"query{ending}"), "--gallery", str(place / f"gallery{ending}")]
    assert check(place, "good.json", *lists) == 0
    assert check(place, "bad.json", *lists) == 2
    assert "query q2.png: c.png is not in the gallery it is searched in" in capsys.readouterr().err


def test_a_query_list_without_a_gallery_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(place, "good.json", "--query", str(place / "query")) == 2
    assert "belong together" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(place / "nowhere")
    assert check(place, "good.json", "--query", nowhere, "--gallery", nowhere) == 2
    assert "nowhere: cannot be read" in capsys.readouterr().err
