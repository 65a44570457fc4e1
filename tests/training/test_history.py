"""Lines of history."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from naic_reid.training.history import History
from naic_reid.training.step import Record


def _record(step: int, steps: int = 120, **other: Any) -> Record:
    record = Record(
        step // steps, step % steps, steps, float(step), {"arcface": step / 2}, 0.5, 4.0, 0.01, None, (), 8,
        2.0, 0.5,
    )  # fmt: skip
    return replace(record, **other)


def _lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_lines_are_means_over_the_steps_since_the_last(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for step in range(120):
            history.add(_record(step))
    lines = _lines(tmp_path)
    assert len(lines) == 40
    assert lines[1] == {
        "epoch": 1, "step": 6, "loss": 4.0, "arcface": 2.0, "accuracy": 0.5, "gradient": 4.0, "rate": 0.01
    }  # fmt: skip
    assert lines[-1]["step"] == 120
    assert list((tmp_path / "curves").iterdir())


def test_a_term_that_only_some_steps_have_is_the_mean_over_these(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for step in range(120):
            more = {"adversarial": float(step)} if step % 4 == 0 else {}
            history.add(_record(step, losses={"arcface": step / 2, **more}))
    found = [line.get("adversarial") for line in _lines(tmp_path)]
    assert found[:5] == [0.0, 4.0, 8.0, None, 12.0] and _lines(tmp_path)[1]["arcface"] == 2.0


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


def test_speeds_stand_beside_and_are_those_of_all_processes(tmp_path: Path) -> None:
    with History(tmp_path, processes=4) as history:
        for step in range(120):
            history.add(_record(step))
    speeds = [json.loads(line) for line in (tmp_path / "speeds.jsonl").read_text().splitlines()]
    assert len(speeds) == 40
    assert speeds[1] == {"epoch": 1, "step": 6, "images_per_second": 16.0, "share_waited": 0.25}


def test_skipped_steps_are_counted_and_their_gradient_is_left_out(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for step in range(6):
            bad = {"gradient": float("inf")} if step in (1, 3, 4, 5) else {}
            history.add(_record(step, scale=2.0**-step, **bad))
    first, second = _lines(tmp_path)
    assert (first["skipped"], first["scale"], first["gradient"]) == (1, 0.25, 4.0)
    assert (second["skipped"], second["scale"]) == (3, 2.0**-5)
    assert "gradient" not in second


def test_words_that_changed_stand_in_the_line_of_their_step(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for step in range(9):
            history.add(_record(step), {"learning_rate": 0.1} if step == 4 else {})
    assert [line.get("changed") for line in _lines(tmp_path)] == [None, {"learning_rate": 0.1}, None]
