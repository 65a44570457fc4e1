"""The command that only scores: what it prints and writes, and what it refuses with nothing written."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from naic_reid import Reranking, cli, score
from tests.retrieval.test_scoring import world


@pytest.fixture
def place(tmp_path: Path) -> Path:
    query, gallery, labels = world()
    np.save(tmp_path / "q.npy", query)
    np.save(tmp_path / "g.npy", gallery)
    for name, who, where in (("q", labels[0], labels[2]), ("g", labels[1], labels[3])):
        rows = [f"{person},{camera}" for person, camera in zip(who, where, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["identity,camera", *rows]) + "\n")
    return tmp_path


def call(place: Path, *rest: str) -> int:
    files = [str(place / name) for name in ("q.npy", "g.npy")]
    lists = ["--query-list", str(place / "q.csv"), "--gallery-list", str(place / "g.csv")]
    return cli.main(["score", *files, *lists, "--json", str(place / "out.json"), "--device", "cpu", *rest])


@pytest.mark.parametrize("rerank", [False, True])
def test_the_file_holds_what_the_function_returns(
    place: Path, rerank: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(place, *["--rerank", "--k1", "12"] * rerank) == 0
    query, gallery, labels = world()
    expected = score(query, gallery, *labels, rerank=Reranking(12, 6, 0.3) if rerank else None, device="cpu")
    read = json.loads((place / "out.json").read_text())
    assert {name: read[name] for name in expected} == expected
    assert read["protocol"] == "market" and "its camera" in read["rules"]["cameras"]
    printed = capsys.readouterr().out
    assert f"{100 * expected['mAP']:.2f}" in printed and "its camera" in printed


def test_a_list_without_cameras_knows_none(place: Path) -> None:
    for name in ("q.csv", "g.csv"):
        lines = [line.partition(",")[0] for line in (place / name).read_text().splitlines()]
        (place / name).write_text("\n".join(lines) + "\n")
    assert call(place) == 0
    query, gallery, labels = world()
    read = json.loads((place / "out.json").read_text())
    assert read["mAP"] == score(query, gallery, *labels[:2], device="cpu")["mAP"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("identity,camera\n1,1\n", "1 images, but .*q.npy has 40 rows of features"),
        ("person,camera\n1,1\n", "its first line is person,camera"),
        ("identity,camera\n1,1\n2\n", "q.csv:3: 1 cells, where the first line has 2"),
        ("identity,camera\n,1\n", "q.csv:2: no identity"),
        ("", "its first line is"),
    ],
)
def test_lists_that_do_not_fit_are_refused_with_nothing_written(
    place: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "q.csv").write_text(text)
    assert call(place) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert not (place / "out.json").exists()


def test_impossible_settings_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rest, sentence in (
        (["--protocol", "markt"], "there are: naic, market"),
        (["--protocol", "groups"], "names no groups"),
        (["--rerank", "--k1", "0"], "--k1 must be at least 1"),
        (["--rerank", "--lambda", "2"], "--lambda must lie in"),
        (["--memory", "6GB"], "--memory: of re-ranking, which only --rerank does"),
        (["--k1", "9", "--lambda", "0.5"], "--k1, --lambda: of re-ranking, which only --rerank does"),
    ):
        assert call(place, *rest) == 2
        assert sentence in capsys.readouterr().err
