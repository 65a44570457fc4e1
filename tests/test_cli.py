"""The command-line door: help that helps, and errors that speak once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from naic_reid import cli, stages, tools

CONFIG = """
seed: 1
collect: {sources: [{name: a, list: a.txt, images: a}]}
models: {small: {backbone: resnet18, height: 128, width: 64}}
rerank: {green: {}, normal: {}, holdout: {}}
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "naic_reid", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_help_lists_every_stage_and_tool_with_its_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for name, purpose in (stages.STAGES | tools.TOOLS).items():
        assert name in printed
        assert purpose in printed


def test_the_bare_command_helps() -> None:
    done = run()
    assert done.returncode == 0
    assert "in the order of the walk" in done.stdout


def test_help_imports_no_heavy_library() -> None:
    script = (
        "import sys; from naic_reid import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'pandas', 'cv2', 'numba', 'snakemake') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("name", [*stages.STAGES, *tools.TOOLS])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"naic-reid {name}" in printed
    if name in stages.STAGES:
        for path in stages.signature(name).paths:
            assert f"--{path.replace('_', '-')}" in printed


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["rernak"])
    assert ended.value.code == 2
    assert "'rerank'" in capsys.readouterr().err


def test_an_unknown_table_entry_is_answered_with_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    files = [f"--{name}={name[0]}" for name in ("neighbours", "query", "gallery", "jaccard")]
    assert cli.main(["rerank", "--config", str(tmp_path / "c.yaml"), "--domain", "grene", *files]) == 2
    assert "unknown domain 'grene'; rerank has: green, normal, holdout" in capsys.readouterr().err
    assert cli.main(["rerank", "--config", str(tmp_path / "c.yaml"), *files]) == 2
    assert "--domain is missing" in capsys.readouterr().err


def test_settings_are_checked_like_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--{name}={name[0]}" for name in ("neighbours", "query", "gallery", "jaccard")]
    revision = stages.signature("rerank").revision
    good = {"rerank": {"k1": 30, "k2": 2, "lambda": 0.8}, "revision": revision}
    for settings, sentence in [
        ("{", "--settings: not JSON"),
        ("[]", "must be a JSON object"),
        (
            json.dumps({"rerank": {"lamda": 1}, "revision": revision}),
            "rerank.lamda: unknown key; did you mean lambda?",
        ),
        (json.dumps({"search": {}, "revision": revision}), "rerank takes rerank, not search"),
        (json.dumps(good | {"revision": revision + 1}), "run snakemake again"),
        (json.dumps(good), "n: cannot be read"),
    ]:
        assert cli.main(["rerank", "--settings", settings, *files]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.strip().splitlines()[-1].startswith("repeat this step with: naic-reid rerank --settings")


def test_the_same_settings_by_config_and_by_json_reach_the_stage(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    found = stages.signature("rerank")
    parser = cli._stage_parser("rerank", found)
    files = [f"--{name}=x" for name in found.paths]
    by_config = parser.parse_args(["--config", str(tmp_path / "c.yaml"), "--domain", "green", *files])
    by_json = parser.parse_args(["--settings", '{"rerank": {}}', *files])
    assert cli._settings("rerank", found, by_config, parser) == cli._settings(
        "rerank", found, by_json, parser
    )


def test_a_job_ends_with_the_workflow_that_started_it() -> None:
    workflow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    script = (
        "import os, time; from naic_reid import cli\n"
        "cli._stop_with(os.environ['W']); print('ready', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"W": str(workflow.pid)}
    job = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
    assert job.stdout is not None
    with job.stdout as told:
        assert told.readline() == b"ready\n"
    assert job.poll() is None
    workflow.kill()
    workflow.wait()
    assert job.wait(timeout=30) == -15


def test_every_setting_is_described() -> None:
    done = run("--describe-config")
    assert done.returncode == 0
    assert "lambda:" in done.stdout


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m naic_reid --describe-config | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_two_options_that_name_one_file_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step would write what it reads."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    paths = {"images": "a.tsv", "train": "a.tsv", "query": "q.tsv", "gallery": "g.tsv"}
    given = [word for key, name in paths.items() for word in (f"--{key}", str(tmp_path / name))]
    assert cli.main(["holdout", "--config", str(config), *given]) == 2
    assert f"--train: {tmp_path}/a.tsv is the file of --images, too" in capsys.readouterr().err


def test_a_line_bears_the_name_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAIC_REID_JOB", raising=False)
    assert cli._line_format() == "%(asctime)s %(message)s"
    monkeypatch.setenv("NAIC_REID_JOB", "50% 2")
    assert cli._line_format() % {"asctime": "08:00:00", "message": "told"} == "08:00:00 [50% 2] told"


def test_a_number_below_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(
            [
                "search",
                "--settings",
                "{}",
                "--query",
                "q",
                "--gallery",
                "g",
                "--neighbours",
                "n",
                "--threads",
                "-1",
            ]
        )
    assert "-1 is less than 0" in capsys.readouterr().err
