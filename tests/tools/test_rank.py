"""The tool `rank`: .npy files in, .npy files out."""

from pathlib import Path

import numpy as np
import pytest

from naic_reid import cli
from naic_reid.retrieval.ranking import rank
from naic_reid.retrieval.rerank import Reranking, expanded
from tests.retrieval.features import clustered


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rows = clustered(0, 200, 24)
    np.save(tmp_path / "q.npy", rows[:30])
    np.save(tmp_path / "g.npy", rows[30:])
    return tmp_path


def call(place: Path, *rest: str, query: str = "q.npy", name: str = "rank") -> int:
    out = ["--indices", str(place / "i.npy"), "--distances", str(place / "d.npy"), "--device", "cpu"]
    return cli.main([name, str(place / query), str(place / "g.npy"), *out, *rest])


def test_files_hold_what_the_function_returns(place: Path) -> None:
    assert (
        call(place, "--k1", "12", "--k2", "3", "--lambda", "0.3", "--best", "20", "--query-expansion", "2")
        == 0
    )
    rows = expanded(np.load(place / "q.npy"), np.load(place / "g.npy"), 2, 3.0, memory=10**9)
    indices, distances = rank(*rows, 20, rerank=Reranking(12, 3, 0.3), device="cpu")
    np.testing.assert_array_equal(np.load(place / "i.npy"), indices)
    np.testing.assert_array_equal(np.load(place / "d.npy"), distances)


@pytest.mark.parametrize(
    ("rest", "sentence"),
    [
        (["--k1", "0"], "--k1 must be at least 1"),
        (["--lambda", "1.5"], "--lambda must lie in"),
        (["--memory", "lots"], "is no amount"),
    ],
)
def test_impossible_settings_are_refused(
    place: Path, rest: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(place, *rest) == 2
    assert sentence in capsys.readouterr().err


def test_other_files_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(place / "double.npy", np.zeros((3, 24)))
    (place / "text.npy").write_text("no array")
    for name, sentence in [
        ("double.npy", "one float32 array"),
        ("text.npy", "cannot be read as .npy"),
        ("none.npy", "cannot be read as .npy"),
    ]:
        assert call(place, query=name) == 2
        assert sentence in capsys.readouterr().err


def test_the_stages_name_does_the_same_with_npy_files(place: Path) -> None:
    assert call(place) == 0
    ranking = (place / "i.npy").read_bytes()
    (place / "i.npy").unlink()
    assert call(place, name="rerank") == 0
    assert (place / "i.npy").read_bytes() == ranking


@pytest.mark.parametrize("written", [["--indices", "q.npy"], ["--indices", "i.npy", "--distances", "./g.npy"],
                                     ["--indices", "i.npy", "--distances", "i.npy"]])  # fmt: skip
def test_no_input_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], written: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("q.npy", "g.npy"):
        np.save(name, np.eye(4, dtype=np.float32))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.main(["rank", "q.npy", "g.npy", *written]) == 2
    sentence = capsys.readouterr().err
    assert "is read by this command, and would be overwritten" in sentence or "is written twice" in sentence
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
