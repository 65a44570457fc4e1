"""Recipes chosen by folds: which runs are made, who is dropped, what is told; scores are drawn."""

import fcntl
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from naic_reid import cli, config
from naic_reid.artifacts import MadeBy, write_json
from naic_reid.tools import choose
from tests.walk import cut, tiny_world

PERSONS = 40


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The runs that were started; each writes the scores of a recipe as good as its batch is large."""
    monkeypatch.chdir(tmp_path)
    made: list[list[str]] = []

    def waited(command: list[str]) -> int:
        told = dict(zip(command[4::2], command[5::2], strict=True))
        settings = config.load(Path(told["--config"]))
        made.append([Path(told["--into"]).parent.name, Path(told["--into"]).name])
        _score(Path(told["--into"]), settings)
        return 0

    monkeypatch.setattr(choose, "_waited", waited)
    for name, batch in (("small_batch", 8), ("large_batch", 32), ("same", 34)):
        raw = cut("toy.yaml", train={"batch": batch, "num_instances": 2})
        Path(f"{name}.yaml").write_text(yaml.safe_dump(raw))
    return made


def _score(folder: Path, settings: config.Config) -> None:
    fold = settings.holdout.fold
    rng = np.random.default_rng([fold, settings.train.batch])
    ranks = np.maximum(1, np.round(8 * rng.random(PERSONS) + max(0, 32 - settings.train.batch) / 4)).astype(
        int
    )
    hits: dict[str, Any] = {"positives": [1] * PERSONS, "first": ranks.tolist(), "last": ranks.tolist()}
    hits |= {name: (1 / ranks).tolist() for name in ("precisions", "precisions_cut", "trapezoids")}
    entry = {"member": "fusion", "reranked": False, "scores": {}, "hits": hits}
    told = {
        "names": [f"{fold}-{n}.png" for n in range(PERSONS)],
        "persons": [f"{fold}-{n}" for n in range(PERSONS)],
    }
    told |= {"protocol": "market", "rules": {}, "elsewhere": [0] * PERSONS, "entries": [entry]}
    (folder / "results/evaluate").mkdir(parents=True, exist_ok=True)
    made_by = MadeBy.of(
        "train", 1, {"batch": settings.train.batch, "holdout": settings.holdout, "seed": 1}, []
    )
    write_json(folder / "results/evaluate/holdout.json", "Scores", made_by, told)


def test_the_better_recipe_wins_and_the_worse_is_trained_no_further(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["choose", "small_batch.yaml", "large_batch.yaml", "--folds", "3", "--into", "out"]) == 0
    assert calls == [["small_batch", "fold_1"], *([name, fold] for name, fold in [
        ("large_batch", "fold_1"), ("large_batch", "fold_2"), ("large_batch", "fold_3")])]  # fmt: skip
    printed = capsys.readouterr().out
    assert "small_batch is clearly worse than large_batch" in printed
    assert printed.splitlines()[-1] == "choose: large_batch"
    assert "120" in printed and "worse" in printed


def test_recipes_that_do_not_differ_are_not_told_apart(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["choose", "large_batch.yaml", "same.yaml", "--folds", "2", "--into", "out"]) == 0
    assert len(calls) == 4
    assert "is better than" in (last := capsys.readouterr().out.splitlines()[-1]) and "is not shown" in last


def test_no_fold_begins_that_would_end_beyond_the_time(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 300))  # five minutes from each look to the next
    monkeypatch.setattr(choose.time, "monotonic", lambda: float(next(clock)))
    assert (
        cli.main(
            ["choose", "large_batch.yaml", "same.yaml", "--folds", "4", "--minutes", "25", "--into", "o"]
        )
        == 0
    )
    assert len(calls) == 2  # the third would begin in time and end after it
    assert "would end beyond 25 minutes" in capsys.readouterr().out


def test_a_call_that_was_stopped_goes_on_to_the_same_end(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["choose", "large_batch.yaml", "same.yaml", "--folds", "2", "--into"]
    assert cli.main([*command, "unstopped"]) == 0
    table = capsys.readouterr().out.partition("Folds over")[2]
    assert re.search(r"large_batch +2 +80 +[0-9.]+ +[0-9]+–[0-9]+ +[0-9.]+ +[0-9]+–[0-9]+ ", table)
    whole = choose._waited
    with monkeypatch.context() as stopped:
        stopped.setattr(choose, "_waited", lambda command: 2 if len(calls) == 6 else whole(command))
        assert cli.main([*command, "out"]) == 2
    assert "large_batch, fold 2: stopped before its end" in capsys.readouterr().err
    assert cli.main([*command, "out"]) == 0
    assert capsys.readouterr().out.partition("Folds over")[2] == table


def test_an_end_stops_the_run_that_is_at_work(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_world()))
    fold = tmp_path / "chosen/tiny/fold_1"
    command = [sys.executable, "-m", "naic_reid", "choose", "tiny.yaml", "--cores", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not (fold / "logs/toy.log").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        told = process.communicate(timeout=120)[1]
    assert process.returncode == 2 and "repeat the same command, and it goes on" in told
    with (fold / ".run.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody is at work there


def test_a_changed_recipe_is_what_a_repeated_call_runs(calls: list[list[str]]) -> None:
    raw = yaml.safe_load(Path("same.yaml").read_text())
    for batch in (34, 36):
        raw["train"]["batch"] = batch
        Path("same.yaml").write_text(yaml.safe_dump(raw))
        assert cli.main(["choose", "same.yaml", "--folds", "2", "--into", "out"]) == 0
        assert config.load(Path("out/same/fold_1/config.yaml")).train.batch == batch


def test_a_fold_is_the_only_domain_and_nothing_of_the_tests_is_left() -> None:
    raw = cut("toy.yaml")
    raw["tests"] = {"m": {"layout": "market1501", "folder": "m"}}
    raw["rerank"]["m"] = {}
    text = yaml.safe_dump(raw)
    parts = [config.parse(choose.of_fold(text, "toy", fold, 3), "part") for fold in (1, 2, 3)]
    for fold, settings in enumerate(parts, start=1):
        assert settings.domains == ("holdout",) and settings.split is None and not settings.tests
        assert (settings.holdout.folds, settings.holdout.fold) == (3, fold)
        assert settings.train == config.parse(text, "toy").train


def test_what_cannot_be_chosen_among_is_refused(
    calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    raw = yaml.safe_load(Path("same.yaml").read_text()) | {"seed": 5}
    Path("other_seed.yaml").write_text(yaml.safe_dump(raw))
    Path("sub").mkdir()
    Path("sub/same.yaml").write_text(Path("same.yaml").read_text())
    for given, sentence in [
        (["same.yaml", "other_seed.yaml"], "the configs' seeds differ"),
        (["same.yaml", "sub/same.yaml"], "two configs are called same"),
        (["same.yaml", "--folds", "1"], "--folds must be at least 2"),
    ]:
        assert cli.main(["choose", *given]) == 2
        assert sentence in capsys.readouterr().err
    assert calls == []
