"""Rules, commands and stages agree by name."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import naic_reid
from naic_reid import stages
from naic_reid.config import Config
from tests.walk import HOME, Walk, small_world

RULES = {
    name: text
    for file in (HOME / "workflow" / "rules").glob("*.smk")
    for name, text in re.findall(r"^ *rule (\w+):\n(.*?)(?=^ *rule |\Z)", file.read_text(), re.M | re.S)
}


def test_every_stage_has_a_rule_and_every_rule_a_stage() -> None:
    assert set(RULES) == set(stages.STAGES)


@pytest.mark.parametrize("name", stages.STAGES)
def test_a_rule_names_no_file_that_its_stage_does_not(name: str) -> None:
    named = set(re.findall(r"^ +(\w+)=", RULES[name].split(" log:")[0], re.M))
    assert named <= set(stages.signature(name).paths)


def test_test_images_are_looked_at_before_networks_are_trained() -> None:
    """Else a damaged one would be told after hours, where training goes on and waits for no list."""
    priorities = {name: int(value) for name in RULES for value in re.findall(r"priority: (\d+)", RULES[name])}
    assert priorities == {"split": 1, "tests": 1}


@pytest.mark.parametrize("name", stages.STAGES)
def test_a_stage_says_what_it_is_and_returns_nothing(name: str) -> None:
    module = __import__(f"naic_reid.stages.{name}", fromlist=["run"])
    assert module.__doc__
    assert module.run.__doc__
    assert module.run.__annotations__["return"] in (None, "None")
    assert stages.signature(name).revision == module.REVISION


def test_sections_are_named_after_stages_or_shared() -> None:
    shared = {"seed", "models", "ensemble", "shards", "published"}
    assert set(Config.model_fields) - set(stages.STAGES) == shared


def test_a_rule_that_disagrees_with_its_stage_is_refused(tmp_path: Path) -> None:
    """The check inside the workflow, on a copy whose rule has another name for its output."""
    subprocess.run(
        [
            "cp",
            "-r",
            *(str(HOME / part) for part in ("Snakefile", "workflow", "profiles", "configs", "data_lists")),
            tmp_path,
        ],
        check=True,
    )
    rules = tmp_path / "workflow" / "rules" / "retrieve.smk"
    rules.write_text(rules.read_text().replace("jaccard=artefact", "jacard=artefact"))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "results/submission.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "rule rerank and its stage disagree on jacard, jaccard" in done.stderr + done.stdout


def test_a_setting_on_snakemakes_command_line_is_refused(tmp_path: Path) -> None:
    walk = Walk(tmp_path, small_world())
    printed = walk.run("--dry-run", "--config", "seed=3", status=1)
    assert "--config seed: only data, truth and gpus are set there" in printed


def test_a_misspelt_key_is_refused_with_the_right_one_before_anything_runs(tmp_path: Path) -> None:
    raw = small_world()
    raw["rerank"]["green"]["k_1"] = raw["rerank"]["green"].pop("k1")
    printed = Walk(tmp_path, raw).run(status=1)
    assert "rerank.green.k_1: unknown key; did you mean k1?" in printed
    assert not (tmp_path / "results").exists()


def test_a_missing_data_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    raw = small_world()
    del raw["toy"]
    printed = Walk(tmp_path, raw).run(status=1)
    assert "data/MyDataSet" in printed
    assert "--data" in printed


def test_on_a_machine_with_several_gpus_each_step_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    printed = Walk(tmp_path, small_world()).run("--dry-run", "--printshellcmds")
    assert re.search(
        r"; env NAIC_REID_JOB=large naic-reid on_gpu 1 naic-reid train .*--workers 0 --threads 1 ", printed
    )
    assert re.search(
        r"; env NAIC_REID_JOB='large 2' naic-reid on_gpu 1 naic-reid extract .*--workers 0 ", printed
    )
    assert re.search(r"; naic-reid collect ", printed)
    more = ("--set-resources", "train:gpu=4", "train:workers=6")
    printed = Walk(tmp_path, small_world()).run("--dry-run", "--printshellcmds", *more)
    team = r"naic-reid on_gpu 4 torchrun --standalone --nproc-per-node=4 -m naic_reid train .*--workers 6 "
    assert re.search(team, printed)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    printed = Walk(tmp_path, small_world()).run("--dry-run", "--printshellcmds")
    assert re.search(r"; env NAIC_REID_JOB=large naic-reid train ", printed)


def test_as_many_steps_use_gpus_at_once_as_there_are_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    walk = Walk(tmp_path, small_world())
    for more, expected in (([], 3), (["--resources", "gpu=2", "--forcerun", "toy"], 2)):
        printed = walk.run("--until", "toy", *more)
        assert re.search(rf"^Provided resources:.*\bgpu\b\D*{expected}\b", printed, re.M), printed


def test_every_function_can_be_seen_whole() -> None:
    """No more than 60 lines and 8 parameters, but for those of command lines: stages', and programs'."""
    package = HOME / "naic_reid"
    called_by_programs = {(naic_reid._PUBLIC[name], name) for name in naic_reid.__all__}
    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(HOME).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                given = [each for each in every if each.arg not in ("self", "cls")]
                lines = (node.end_lineno or 0) - node.lineno + 1
                stage = path.parent.name == "stages" and node.name == "run"
                command = stage or (module, node.name) in called_by_programs
                told = (module, node.name, lines, len(given))
                assert lines <= 60 and (command or len(given) <= 8), told
