"""Snakemake on a small generated world, for tests of the whole walk."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import yaml

HOME = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"), "--cores", "2"]


def cut(name: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A config of the project, its sections updated with sizes that take seconds."""
    raw: dict[str, Any] = yaml.safe_load((HOME / "configs" / name).read_text())
    for section, values in sections.items():
        raw[section] = {**raw.get(section, {}), **values}
    return raw


def small_world() -> dict[str, Any]:
    """The toy config with few persons and steps: every stage runs, nothing is learnt."""
    raw = cut(
        "toy.yaml",
        toy={"train_identities": 12, "test_identities": 6, "images": 6, "height": 64, "width": 32},
        holdout={"share": 0.2},
        train={"epochs": 2, "steps_per_epoch": 2, "batch": 16},
        ensemble={"epochs": [2]},
    )
    raw["models"] = dict(list(raw["models"].items())[:2])
    for model, height in zip(raw["models"].values(), (64, 48), strict=True):
        model.update(backbone="resnet18_ibn_a", height=height, width=height // 2)
    return raw


def tiny_world() -> dict[str, Any]:
    """One model, one checkpoint, one domain: every rule once, for tests that walk many times."""
    raw = small_world()
    raw["models"] = dict(list(raw["models"].items())[:1])
    raw["split"] = {**raw["split"], "rule": "none"}
    raw["holdout"] = {**raw["holdout"], "share": 0.0}
    raw["rerank"] = {"all": raw["rerank"]["green"]}
    raw["report"] = None
    return raw


class Walk:
    """One working folder with a config of its own, and what the steps' command is taken from."""

    def __init__(
        self, folder: Path, raw: dict[str, Any], commands: Path = Path(sys.executable).parent
    ) -> None:
        self.folder, self._commands = folder, commands
        self.config = folder / "config.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.write(raw)

    def write(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.config.write_text(yaml.safe_dump(raw, sort_keys=False))

    def start(self, *more: str, stdout: int | IO[str] = subprocess.PIPE) -> "subprocess.Popen[str]":
        command = [*COMMAND, "--directory", str(self.folder), "--configfile", str(self.config), *more]
        path = os.pathsep.join(map(str, (self._commands, Path(sys.executable).parent, os.environ["PATH"])))
        # A session of its own, so that a test can kill what it started and nothing else.
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | {"PATH": path},
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *more: str, status: int = 0) -> str:
        """What Snakemake printed; fails with all of it when the exit status is another."""
        process = self.start(*more)
        printed, _ = process.communicate(timeout=900)
        assert process.returncode == status, printed
        return printed

    def would_run(self, *more: str) -> dict[str, int]:
        """Rule → number of jobs that a run would start now; empty when there is nothing to do."""
        printed = self.run("--dry-run", *more)
        if "Nothing to be done" in printed:
            return {}
        table = printed.split("Job stats:")[1].split("total")[0]
        found = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        found.pop("all", None)
        return found

    @property
    def submission(self) -> bytes:
        return (self.folder / "results" / "submission.json").read_bytes()

    def artefacts(self) -> dict[str, bytes]:
        """Every file under results/, by its path there."""
        results = self.folder / "results"
        return {
            str(p.relative_to(results)): p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()
        }
