"""Lines of history."""

import json
from pathlib import Path

from naic_reid.training.history import History
from naic_reid.training.loop import Record


def _record(step: int, steps: int = 120) -> Record:
    return Record(
        step // steps, step % steps, steps, float(step), {"arcface": step / 2}, 0.5, 0.01, 8, 2.0, 0.5
    )


def _lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_lines_are_means_over_the_steps_since_the_last(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for step in range(120):
            history.add(_record(step))
    lines = _lines(tmp_path)
    assert len(lines) == 40
    assert lines[1] == {
        "epoch": 1, "step": 6, "loss": 4.0, "arcface": 2.0, "accuracy": 0.5, "rate": 0.01,
        "images_per_second": 4.0, "share_waited": 0.25,
    }  # fmt: skip
    assert lines[-1]["step"] == 120
    assert list((tmp_path / "curves").iterdir())


def test_a_run_that_goes_on_leaves_the_lines_of_one_that_was_not_cut(tmp_path: Path) -> None:
    with History(tmp_path / "whole") as history:
        for step in range(130):
            history.add(_record(step))
    with History(tmp_path / "cut") as history:
        for step in range(50):
            history.add(_record(step))
        position = history.position()
        for step in range(50, 60):  # lost: they came after the state
            history.add(_record(step))
    with History(tmp_path / "cut", position) as history:
        for step in range(50, 130):
            history.add(_record(step))
    assert _lines(tmp_path / "cut") == _lines(tmp_path / "whole")
