"""What a finished folder says: `bash run.sh` taken once on given data, and then whatever may become of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from naic_reid.tools import run
from tests.faults.__main__ import TABLE, line_of
from tests.faults.finished import NOTHING, STORIES, Story
from tests.finished import NAMED, Folder, unfinished
from tests.walk import HOME


@pytest.fixture
def copied(finished: Folder, tmp_path: Path) -> Folder:
    """The finished folder elsewhere, to be spoilt."""
    return finished.copied(tmp_path / "walk")


def test_run_again_it_finds_nothing_to_do_and_names_the_submission(finished: Folder) -> None:
    before = finished.state()
    printed = finished.run()
    assert NOTHING in printed
    assert printed.splitlines()[-1].startswith(NAMED)
    assert finished.state() == before


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_finished_folder_promises_only_what_is_true(
    story: Story, finished: Folder, given: Path, tmp_path: Path
) -> None:
    place = tmp_path / "walk"
    outcome = story.tried(unfinished(place, given) if story.fresh else finished.copied(place), finished)
    row = line_of(story.name, outcome)
    assert row in TABLE.read_text(encoding="utf-8"), "run python -m tests.faults --rows 'Finished folders: '"


def test_files_that_no_step_of_the_graph_makes_are_not_taken_on_trust(copied: Folder, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("naic_reid", "workflow", "profiles", "configs", "data_lists"):
        shutil.copytree(HOME / name, home / name)
    rules = (HOME / "workflow/rules/train.smk").read_text()
    assert "        checkpoint=CHECKPOINT,\n" in rules
    (home / "workflow/rules/train.smk").write_text(
        rules.replace(
            "checkpoint=CHECKPOINT,", "checkpoint=CHECKPOINT,\n        more='nowhere.txt',"
        ).replace("rule extract:", "rule extraction:")
    )
    (home / "Snakefile").write_text((HOME / "Snakefile").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(home / "Snakefile"), "--cores", "1",
         "--configfile", str(copied.config), "--directory", str(copied.place), "--config",
         f"data={copied.given}/MyDataSet", f"truth={copied.given}/truth.csv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"results/\S+: is there, but with this config no step makes it.*", done.stderr)
    assert "Execute" not in done.stderr


def test_the_last_submission_stays_until_the_new_one_stands(copied: Folder, tmp_path: Path) -> None:
    """The step before it finished with another answer, and the last one fails."""
    failing = tmp_path / "bin" / "naic-reid"
    failing.parent.mkdir()
    real = shutil.which("naic-reid", path=str(Path(sys.executable).parent))
    failing.write_text(f'#!/bin/sh\n[ "$1" != submit ] || exit 2\nexec {real} "$@"\n')
    failing.chmod(0o755)
    before = copied.submission
    copied.raw["rerank"]["green"].update({"k1": 3, "lambda": 0.0})
    copied.write(copied.raw)
    # The steps are commands of this very installation: only Snakemake called by itself takes another.
    environment = os.environ | {
        "PATH": f"{failing.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"), "--cores", "2"]
    command += ["--configfile", str(copied.config), "--directory", str(copied.place)]
    command += ["--config", f"data={copied.given}/MyDataSet", f"truth={copied.given}/truth.csv"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "rerank.green.k1: " in done.stderr
    assert copied.submission == before
    printed = copied.run()
    assert "submission.json: was made from another results/fuse/green.npz: it is made again" in printed
    record = json.loads((copied.results / "submission.record.json").read_text())
    assert json.loads(before).keys() == json.loads(copied.submission).keys()
    assert record["submission"]
    assert NOTHING in copied.run()


def test_what_this_config_does_not_make_is_not_told_as_its_result(
    copied: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier run had the truth, or made a submission, and its files are still there."""

    def told(truth: Path | None) -> str:
        run._tell(copied.place, run._makes(copied.config, truth))
        return capsys.readouterr().out

    assert "pooled (12 queries)" in told(copied.truth)
    assert NAMED in told(copied.truth)
    assert "pooled" not in told(None)
    assert NAMED in told(None)
    fused = copied.results / "fuse/green.npz"
    content = fused.read_bytes()
    shutil.copy(copied.results / "fuse/normal.npz", fused)
    printed = told(copied.truth)
    assert "submission.json is not told: it was made from another results/fuse/green.npz" in printed
    assert NAMED not in printed
    fused.write_bytes(content)
    raw = copied.raw | {"tests": {"other": {"layout": "folders", "folder": "x"}}}
    del raw["split"], raw["rerank"]
    copied.write(raw | {"rerank": {"other": {}}})
    assert NAMED not in told(None)


def test_a_dry_run_in_a_folder_that_is_not_there_makes_none(finished: Folder, tmp_path: Path) -> None:
    elsewhere = Folder(tmp_path / "new", finished.given, finished.raw)
    elsewhere.place = tmp_path / "not made"
    assert re.search(r"^train +1$", elsewhere.run("--dry-run"), re.M)
    assert not elsewhere.place.exists()


def test_provenance_says_what_a_config_no_longer_fits(copied: Folder) -> None:
    """On the files as they are: nothing runs."""

    def asked(status: int) -> str:
        verify = [sys.executable, "-m", "naic_reid", "provenance", "results/submission.json", "--verify"]
        verify += ["--config", str(copied.config)]
        done = subprocess.run(verify, cwd=copied.place, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    assert asked(0).endswith("no problems\n")
    k1 = copied.raw["rerank"]["green"]["k1"]
    copied.raw["rerank"]["green"]["k1"] = k1 - 3
    copied.raw["train"]["epochs"] += 1
    next(iter(copied.raw["models"].values()))["weight"] = 0.5
    copied.raw["dedupe"]["wrong_labels"] = "nowhere.txt"
    copied.write(copied.raw)
    printed = asked(1)
    for line in (
        rf"rerank.green.k1: {k1} → {k1 - 3}: results/",
        "train .models.large..epochs: 1 → 2: results/train",
        "models.large.weight: 1.0 → 0.5: results/fuse",
        "nowhere.txt is missing",
    ):
        assert re.search(line, printed), printed


def test_a_message_names_a_file_that_is_there(copied: Folder) -> None:
    copied.raw["dedupe"]["min_images"] = 1000
    copied.write(copied.raw)
    printed = copied.run(status=2)
    found = re.search(r"no image is left to train on: .* too few images; (\S+) names each", printed)
    assert found, printed
    assert "too few images" in (copied.place / found[1]).read_text()
