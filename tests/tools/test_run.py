"""`naic-reid run`: the workflow from any folder, one at a time, to its end and its score card."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from naic_reid import stopped
from naic_reid.artifacts import MadeBy, write_json
from naic_reid.files import digest
from naic_reid.tools.run import _tell as tell
from tests.walk import HOME, tiny_world

TRUTH = "results/toy/truth.csv"  # the first file of the walk, made in seconds


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_world()))
    return path


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "naic_reid", "run", *options]
    piped = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=piped, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)  # fmt: skip


def run(folder: Path, *options: str, status: int = 0) -> str:
    process = start(folder, *options)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == status, printed
    return printed


def test_it_runs_in_another_folder_and_ends_with_card_and_submission(tmp_path: Path, config: Path) -> None:
    into = tmp_path / "new folder"
    printed = run(tmp_path, "--config", "tiny.yaml", "--into", "new folder", "--cores", "1", "--", TRUTH)
    assert "runs tiny.yaml: as --config asks" in printed
    assert (into / TRUTH).is_file()
    for name, record, key, content in (
        ("card/card.txt", "card/card.json", "table", "the card\n"),
        ("submission.json", "submission.record.json", "submission", "{}"),
    ):
        (into / "results" / name).parent.mkdir(exist_ok=True)
        (into / "results" / name).write_text(content)
        write_json(into / "results" / record, "Record", MadeBy(), {key: digest(into / "results" / name)})
    printed = run(tmp_path, "--config", "tiny.yaml", "--into", "new folder", "--cores", "1", "--", TRUTH)
    assert "the card\nnaic-reid: the submission: new folder/results/submission.json\n" in printed
    printed = run(tmp_path, "--config", "tiny.yaml", "--into", "new folder", "--", TRUTH, "--dry-run")
    assert "the card" not in printed


def test_what_another_config_left_or_what_is_out_of_date_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    (results / "card").mkdir(parents=True)
    (results / "ranked").write_text("as it was")
    made_by = MadeBy.of("submit", 1, {}, [results / "ranked"])
    for name, record, key in (
        ("card/card.txt", "card/card.json", "table"),
        ("submission.json", "submission.record.json", "submission"),
    ):
        (results / name).write_text("its words\n")
        write_json(results / record, "Record", made_by, {key: digest(results / name)})
    tell(tmp_path, (False, True, True))
    printed = capsys.readouterr().out
    assert "its words" not in printed and "the submission: " in printed
    (results / "ranked").write_text("another")
    tell(tmp_path, (True, True, True))
    printed = capsys.readouterr().out
    assert "its words" not in printed and "the submission: " not in printed
    assert printed.count("is not told: it was made from another ") == 2


def test_what_a_step_said_is_the_last_thing_that_is_read(tmp_path: Path, config: Path) -> None:
    """Of steps that need it none is begun; others go on, and their lines do not hide it."""
    run(tmp_path, "--config", "tiny.yaml", "--cores", "1", "--", TRUTH)
    query = min((tmp_path / "results/toy/MyDataSet/image_B_v1_1/query").iterdir())
    query.write_bytes(query.read_bytes()[:99])
    asked = ("results/split/means.tsv", "results/collect/images.tsv")
    printed = run(tmp_path, "--config", "tiny.yaml", "--cores", "1", "--", *asked, status=2)
    end = printed[printed.rindex("naic-reid: error: ") :]
    assert end.splitlines() == [
        "naic-reid: error: stopped before the end:",
        "split (logs/split.log): unusable test images; mend them: "
        "a submission must answer every query (1 in all):",
        f"  {query.relative_to(tmp_path)}: is a truncated PNG",
        f"Mend that, {stopped.RESUME}",
    ]
    assert printed.index("is a truncated PNG") < printed.index("collect: ")
    assert (tmp_path / asked[1]).is_file()
    assert (
        printed.count("naic-reid split --settings") == 1
    )  # to repeat it; all of Snakemake's words are in its log
    logs = [log.read_text() for log in (tmp_path / ".snakemake/log").iterdir()]
    assert any("CalledProcessError" in log for log in logs)


def test_what_is_refused_is_said_once_and_alone(tmp_path: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("holdout:", "holdot:"))
    _, _, *rest = run(tmp_path, "--config", "tiny.yaml", status=2).splitlines()
    assert rest == [
        f"naic-reid: error: {config}: wrong settings (1 in all):",
        "  holdot: unknown key; did you mean holdout?",
    ]


def test_a_workflow_that_stops_is_said_to_have_stopped(tmp_path: Path, config: Path) -> None:
    printed = run(tmp_path, "--config", str(config), "--", "results/nothing.npz", status=2)
    assert printed.splitlines()[-1].startswith("naic-reid: error: stopped before the end")


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path, config: Path) -> None:
    with (tmp_path / ".run.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        printed = run(tmp_path, "--config", str(config), status=2)
    assert f"another run is at work in {tmp_path}" in printed
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data", "nowhere"], "--data: nowhere does not exist"),
        (["--truth", "nowhere"], "--truth: nowhere does not exist"),
        (["--config", "nowhere"], "of configs these come with naic-reid: "),
        (["--workflow-profile", "nowhere"], "of profiles these come with naic-reid: default, slurm"),
        (["--into", "/proc/nowhere"], "--into: /proc/nowhere cannot be written"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, options: list[str], sentence: str) -> None:
    assert sentence in run(tmp_path, *options, status=2)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / ".run.lock"])


def test_a_data_folder_asks_for_the_competition_and_its_absence_for_the_toy(tmp_path: Path) -> None:
    toy = run(tmp_path, "--show-config")
    assert toy == (HOME / "configs/toy.yaml").read_text()
    (tmp_path / "data/MyDataSet").mkdir(parents=True)
    assert run(tmp_path, "--show-config") == (HOME / "configs/naic2020.yaml").read_text()


def test_a_closed_terminal_stops_nothing_and_an_end_stops_all(tmp_path: Path, config: Path) -> None:
    process = start(tmp_path, "--config", str(config), "--cores", "1")
    log = tmp_path / "logs/toy.log"
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 2, printed
    assert "stopped before the end" in printed


@pytest.mark.parametrize(("status", "told"), [(0, ""), (1, "stopped before the end, as it was told to")])
def test_an_interrupt_that_comes_too_late_stops_nothing(status: int, told: str) -> None:
    script = f"sleep .3; kill -INT $PPID; exit {status}"
    asked = (
        "from pathlib import Path; from naic_reid.tools.run import _waited; "
        f"print(_waited(['sh', '-c', {script!r}], Path('.')).partition(':')[0])"
    )
    command = [sys.executable, "-c", asked]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{told}\n"


def test_run_sh_hands_on_what_it_was_given(tmp_path: Path) -> None:
    for name in ("run.sh", "requirements.lock"):
        shutil.copy(HOME / name, tmp_path)
    program = tmp_path / ".venv/bin/naic-reid"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    shutil.copy(HOME / "requirements.lock", tmp_path / ".venv/.installed-from")
    for given, handed in (
        (["--config", "a b"], "run --config a b\n"),
        (["choose", "a.yaml", "--folds", "4"], "choose a.yaml --folds 4\n"),
    ):
        command = ["bash", tmp_path / "run.sh", *given]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == handed


@pytest.mark.parametrize("asked", [["install"], ["choose", "a.yaml"], []])
def test_an_installation_that_fails_is_an_error_and_not_taken_for_one(
    tmp_path: Path, asked: list[str]
) -> None:
    for name in ("run.sh", "requirements.lock"):
        shutil.copy(HOME / name, tmp_path)
    python = tmp_path / "bin/python3.13"
    python.parent.mkdir()
    makes = 'mkdir -p "$4/bin" && ln -s /bin/false "$4/bin/python" && ln -s /bin/true "$4/bin/uv"'
    python.write_text(f'#!/bin/sh\n[ "$2" != venv ] || {{ {makes}; }}\n')
    python.chmod(0o755)
    found = subprocess.run(
        ["bash", tmp_path / "run.sh", *asked], capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert found.returncode == 2
    assert (
        "run.sh: error: the packages of requirements.lock could not be installed (no network" in found.stderr
    )
    assert "is ready" not in found.stdout
    assert not (tmp_path / ".venv/.installed-from").exists()


def test_run_sh_names_the_same_options() -> None:
    usage = subprocess.run(
        ["bash", HOME / "run.sh", "--help"], capture_output=True, text=True, check=True
    ).stdout
    told = subprocess.run(
        [sys.executable, "-m", "naic_reid", "run", "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = re.compile(r"^  (--[a-z-]+)", re.MULTILINE)
    assert set(options.findall(usage)) == set(options.findall(told))
