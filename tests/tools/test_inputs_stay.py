"""No command writes over what it reads: every option of every tool that takes a path is looked at here."""

import argparse
import sqlite3
from importlib import import_module
from pathlib import Path

import pytest

from naic_reid import cli
from naic_reid.tools import TOOLS
from tests.walk import HOME

# tool → (its command, options that write, other options that take a path: they only read, or name folders
# in which nothing of another name is touched). In commands, photos/ and set/ are folders, the rest are files.
COMMANDS: dict[str, tuple[str, set[str], set[str]]] = {
    "embed": (
        "embed model.pt photos",
        {"--features", "--npy", "--names", "--attributes"},
        {"model", "images"},
    ),
    "find": ("find model.pt asked.png --in photos", {"--html"}, {"model", "photos", "--in", "--cache"}),
    "export": (
        "export model.pt --images photos",
        {"--onnx", "--torch-export", "--tensorrt"},
        {"model", "--images"},
    ),
    "benchmark": ("benchmark model.pt --folder photos", {"--json"}, {"model", "--folder"}),
    "heatmap": ("heatmap model.pt photos asked.png", {"--html"}, {"model", "photos", "--out"}),
    "compare": ("compare a.run b.run", {"--html"}, {"runs", "--data"}),
    "hard": ("hard a.run", {"--html"}, {"run", "--data"}),
    "inspect": (
        "inspect --config small.yaml --data set",
        {"--html", "--cache"},
        {"--config", "--data", "--lists"},
    ),
    "rank": ("rank q.npy g.npy --indices i.npy", {"--indices", "--distances"}, {"query", "gallery"}),
    "score": (
        "score q.npy g.npy --query-list q.csv --gallery-list g.csv",
        {"--json"},
        {"query", "gallery", "--query-list", "--gallery-list"},
    ),
    # A folder that is there is not touched; --into takes results/, logs/ and scratch/ alone.
    "prepare": ("", set(), {"source", "target"}),
    "run": ("", set(), {"--data", "--truth", "--into"}),
    "choose": ("", set(), {"--data", "--into"}),
    "zoo": ("", set(), {"--check"}),
    "check": ("", set(), {"files", "--query", "--gallery"}),
    "provenance": ("", set(), {"file", "--config", "--data"}),
    "plan": ("", set(), {"--config", "--data"}),
    "doctor": ("", set(), {"--profile", "--folder", "--data"}),
    "on_gpu": ("", set(), set()),
}
CASES = [
    (tool, option, read)
    for tool, (command, written, _) in COMMANDS.items()
    for option in sorted(written)
    for read in [
        *(word for word in command.split()[1:] if "." in word and word != "i.npy"),
        *(["photos/sub/a.png"] if "photos" in command else []),
        *(["set/train_2020_fs/images/a.png"] if "set" in command else []),
        *(["a.run/results/evaluate/x.json"] if "a.run" in command else []),
    ]
]


@pytest.mark.parametrize("tool", TOOLS)
def test_every_path_that_a_tool_takes_is_known_here(tool: str) -> None:
    parser = argparse.ArgumentParser()
    import_module(f"naic_reid.tools.{tool}").arguments(parser)
    taken = {
        action.option_strings[0] if action.option_strings else action.dest
        for action in parser._actions
        if action.type is Path
    }
    _, written, others = COMMANDS[tool]
    assert taken == written | others


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something under every name that a command reads; it is refused before any is opened."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.pt", "asked.png", "photos/sub/a.png", "set/train_2020_fs/images/a.png", "q.npy",
                 "g.npy", "q.csv", "g.csv", "a.run/results/evaluate/x.json",
                 "b.run/results/evaluate/x.json"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "small.yaml").write_text((HOME / "configs" / "small.yaml").read_text())
    return tmp_path


@pytest.mark.parametrize(("tool", "option", "read"), CASES, ids=lambda word: word)
def test_what_is_read_is_not_written_over(
    tool: str, option: str, read: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "link").symlink_to(read)
    command = COMMANDS[tool][0].replace("--indices i.npy", "" if option == "--indices" else "--indices i.npy")
    more = {"--distances": [], "--tensorrt": ["--onnx", "o.onnx"]}.get(option, [])
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for name in (read, f"./{read}") if read.endswith("a.png") else (read, "link"):
        assert cli.main([*command.split(), option, name, *more]) == 2
        error = capsys.readouterr().err
        assert "is read by this command" in error or "is an image that this command reads" in error
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_what_is_no_memory_of_images_is_not_started_afresh(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "mine.db").touch()
    with sqlite3.connect(place / "mine.db") as mine:
        mine.execute("CREATE TABLE thoughts (one TEXT)")
    mine.close()
    (place / "set/notes.txt").write_text("hours of work")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for name in ("mine.db", "set/notes.txt"):
        assert cli.main(["inspect", "--config", "small.yaml", "--data", "set", "--cache", name]) == 2
        assert f"{name}: is no memory of images, and would be overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_drawn_images_replace_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = ["toy", "--config", str(HOME / "configs/toy.yaml"), "--folder", "set", "--truth", "truth.csv"]
    assert cli.main(toy) == 2
    assert "set: is there, and not empty" in capsys.readouterr().err
    assert (place / "set/train_2020_fs/images/a.png").read_text() == "set/train_2020_fs/images/a.png"
