"""What a finished folder says: `bash run.sh` taken once on given data, and then whatever may become of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.finished import NAMED, Folder
from tests.walk import HOME

NOTHING = "Nothing to be done"


@pytest.fixture
def copied(finished: Folder, tmp_path: Path) -> Folder:
    """The finished folder elsewhere, to be spoilt."""
    shutil.copytree(finished.place, tmp_path / "walk", symlinks=True)
    return Folder(tmp_path / "walk", finished.given, json.loads(json.dumps(finished.raw)))


@pytest.fixture
def own_data(given: Path, tmp_path: Path) -> Path:
    """A copy of the given data; files are linked, so a test must replace and not write into them."""
    shutil.copytree(given, tmp_path / "own", copy_function=os.link)
    return tmp_path / "own"


def test_run_again_it_finds_nothing_to_do_and_names_the_submission(finished: Folder) -> None:
    before = finished.state()
    printed = finished.run()
    assert NOTHING in printed
    assert printed.splitlines()[-1].startswith(NAMED)
    assert finished.state() == before


def _names_no_weights(raw: dict[str, Any]) -> None:
    next(iter(raw["models"].values()))["pretrained"] = "nowhere.pth"


def _names_no_wrong_labels(raw: dict[str, Any]) -> None:
    raw["dedupe"]["wrong_labels"] = "nowhere.txt"


def _repeats_a_letter(raw: dict[str, Any]) -> None:
    raw["models"] = {"a" * 24: next(iter(raw["models"].values()))}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_names_no_weights, r"models.large.pretrained: nowhere.pth is missing"),
        (_names_no_wrong_labels, r"dedupe.wrong_labels: \S+nowhere.txt is missing"),
        (_repeats_a_letter, r"models.a+: repeats itself too often"),
    ],
)
def test_a_config_that_cannot_be_made_gets_no_old_answer(
    copied: Folder, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    change(copied.raw)
    copied.write(copied.raw)
    before = copied.state()
    printed = copied.run(status=2)
    assert re.search(sentence, printed), printed
    assert NAMED not in printed
    assert copied.state() == before


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


def _cut(copied: Folder) -> None:
    path = copied.results / "submission.json"
    path.write_bytes(path.read_bytes()[:500])


def _foreign_link(copied: Folder) -> None:
    (copied.place / "foreign.txt").write_text("not ours")
    (copied.results / "submission.json").unlink()
    (copied.results / "submission.json").symlink_to(copied.place / "foreign.txt")


def _link_to_itself(copied: Folder) -> None:
    (copied.results / "submission.json").unlink()
    (copied.results / "submission.json").symlink_to("submission.json")


def _edited_record(copied: Folder) -> None:
    path = copied.results / "submission.record.json"
    path.write_text(path.read_text().replace('"revision"', '"Revision"', 1))


def _better_card(copied: Folder) -> None:
    path = copied.results / "card/card.txt"
    path.write_text(re.sub(r"\d+\.\d", "99.9", path.read_text()))


@pytest.mark.parametrize(
    ("plant", "sentence"),
    [
        (_cut, r"submission.json: was cut, replaced or edited since"),
        (_foreign_link, r"submission.json: is a link to \S+foreign.txt, which no step made"),
        (_link_to_itself, r"submission.json: is a link to submission.json"),
        (_edited_record, r"submission.record.json: was cut or edited"),
        (_better_card, r"card.txt: was cut, replaced or edited since"),
    ],
)
def test_what_is_announced_was_held_against_its_record(
    copied: Folder, finished: Folder, plant: Callable[[Folder], None], sentence: str
) -> None:
    plant(copied)
    printed = copied.run()
    assert re.search(f"{sentence}.*it is made again", printed), printed
    ours = {path for path in copied.state() if path.startswith("results") and not path.endswith(".old")}
    assert ours == {path for path in finished.state() if path.startswith("results")}
    for name in ("submission.json", "submission.record.json", "card/card.txt", "card/card.json"):
        assert (copied.results / name).read_bytes() == (finished.results / name).read_bytes(), name
    assert (
        "foreign.txt" not in os.listdir(copied.place)
        or (copied.place / "foreign.txt").read_text() == "not ours"
    )
    assert NOTHING in copied.run()


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


def test_a_dry_run_writes_nothing_and_names_the_setting(copied: Folder, own_data: Path) -> None:
    copied.raw["rerank"]["green"]["k1"] -= 1
    copied.write(copied.raw)
    new = copied.raw["rerank"]["green"]["k1"]
    before = copied.state()
    printed = copied.run("--dry-run")
    assert f"rerank.green.k1: {new + 1} → {new}: runs rerank again" in printed
    assert copied.state() == before
    label_list = own_data / "MyDataSet/train_2020_fs/train_list.txt"
    lines = label_list.read_text().splitlines(keepends=True)
    label_list.unlink()
    label_list.write_text("".join(lines[:-1]))
    copied.data = own_data / "MyDataSet"
    printed = copied.run("--dry-run")
    assert re.search(r"^collect +1$", printed, re.M), printed
    assert copied.state() == before


def test_a_changed_photograph_is_noticed_and_a_touched_one_is_read(copied: Folder, own_data: Path) -> None:
    data = own_data / "MyDataSet"
    rows = [line.split("\t") for line in (copied.results / "holdout/train.tsv").read_text().splitlines()[2:]]
    touched, replaced = (data / rows[at][0] for at in (0, 1))
    for path, other in ((touched, touched), (replaced, touched)):
        content = other.read_bytes()
        path.unlink()
        path.write_bytes(content)
        if path == touched:
            copied.data = data
            assert NOTHING in copied.run()
    before = copied.state()
    printed = copied.run("--dry-run")
    assert f"1 images are not what collect read ({rows[1][0]}): it runs again" in printed
    assert re.search(r"^collect +1$", printed, re.M), printed
    assert re.search(r"^train +1$", printed, re.M), printed
    assert copied.state() == before


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


def test_a_file_in_a_folders_place_is_said_so(finished: Folder, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "walk", finished.given, finished.raw)
    (folder.place / "logs").write_text("")
    assert "logs: is a file, and a folder belongs here: move it away" in folder.run(status=2)


def test_braces_in_a_path_are_said_so(finished: Folder, tmp_path: Path) -> None:
    braced = tmp_path / "a{y}b"
    braced.symlink_to(finished.given)
    folder = Folder(tmp_path / "walk", braced, finished.raw)
    assert re.search(r"truth.csv: braces in the path of a file are wildcards", folder.run(status=2))
