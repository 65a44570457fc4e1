"""The chain behind a result, as printed and as verified."""

from pathlib import Path

import numpy as np
import pytest

from naic_reid import cli
from naic_reid.artifacts import Features, ImageList, MadeBy, write_json, write_table
from naic_reid.files import digest


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short chain: lists and weights → features → a submission with its record."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "list.txt").write_text("a.png:1\n")
    results = Path("results")
    rows = [f"list.txt\t8\t{digest(data / 'list.txt')}"]
    survey = MadeBy.of("survey", 1, {"lists": ["list.txt"]}, [])
    write_table(results / "train.tsv", "TrainSurvey", survey, ["path", "size", "digest"], rows)
    made_by = MadeBy.of("holdout", 1, {"seed": 1}, [results / "train.tsv"])
    ImageList(("a.png",), ("s/1",), made_by).write(results / "list.tsv")
    Path("weights.pth").write_bytes(b"numbers")
    inputs = [results / "list.tsv", Path("weights.pth")]
    for name in ("query", "gallery"):
        made_by = MadeBy.of("extract", 2, {"extract": {"flip": True}}, inputs)
        Features(("a.png",), np.ones((1, 1), np.float32), made_by).write(results / f"{name}.npz")
    submission = results / "submission.json"
    submission.write_text('{"a.png": []}\n')
    made_by = MadeBy.of("submit", 1, {}, [results / "query.npz", results / "gallery.npz"])
    told = {"submission": digest(submission)}
    write_json(results / "submission.record.json", "Record", made_by, told)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert cli.main(["provenance", *arguments]) == status
    return capsys.readouterr().out


def test_the_tree_names_each_file_once_with_its_maker_and_settings(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "results/submission.json")
    starts = [line.strip("│├└─ ").split("  ")[0] for line in text.splitlines()]
    files = [start for start in starts if not start.startswith(("settings", "and "))]
    assert files == [
        "results/submission.json", "results/query.npz", "results/list.tsv", "results/train.tsv",
        "weights.pth", "results/gallery.npz",
    ]  # fmt: skip
    assert "extract, revision 2, naic-reid" in text
    assert 'settings {"extract":{"flip":true}}' in text
    assert "settings of results/query.npz" in text
    assert "and results/list.tsv, weights.pth, as above" in text
    assert "weights.pth" in text
    assert "given" in text


def test_an_unchanged_chain_verifies_from_any_folder(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = ("--verify", "--data", str(world / "data"))
    assert "6 files looked at, no problems" in printed(capsys, "results/submission.json", *verify)
    monkeypatch.chdir("/")
    assert "no problems" in printed(capsys, str(world / "results/submission.json"), *verify)


def test_each_changed_file_is_named_with_status_1(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "weights.pth").write_bytes(b"others")
    (world / "results" / "submission.json").write_text("{}\n")
    (world / "data" / "list.txt").write_text("a.png:2\n")
    text = printed(capsys, "results/submission.json", "--verify", "--data", "data", status=1)
    assert "weights.pth: is not what results/query.npz was made from" in text
    assert "results/submission.json: is not what results/submission.record.json was written for" in text
    assert "data/list.txt: is not what results/train.tsv was made from" in text
    assert "3 problems" in text


def test_a_missing_and_a_damaged_file_are_named(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "weights.pth").unlink()
    content = bytearray((world / "results" / "gallery.npz").read_bytes())
    content[content.index("extract".encode("utf-32-le"))] ^= 1
    (world / "results" / "gallery.npz").write_bytes(content)
    text = printed(capsys, "results/submission.json", "--verify", status=1)
    assert "weights.pth: is missing; results/query.npz was made from it" in text
    assert "results/gallery.npz: is not what results/submission.json was made from" in text
    assert "results/gallery.npz: not a whole artefact" in text


def test_another_runs_files_are_not_taken_for_its_own(
    world: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = tmp_path_factory.mktemp("elsewhere")
    (here / "results").mkdir()
    (here / "results" / "list.tsv").write_text("another run's")
    monkeypatch.chdir(here)
    assert "no problems" in printed(capsys, str(world / "results" / "submission.json"), "--verify")


def test_a_file_without_a_record_is_said_to_have_none(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "carries no record" in printed(capsys, "weights.pth")
    assert cli.main(["provenance", "nowhere.json"]) == 2
    assert "no such file" in capsys.readouterr().err
