"""A working folder on given data, in which `naic-reid run` was or is taken."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.walk import HOME

NAMED = "naic-reid: the submission: "


class Folder:
    """A working folder on given data, with a config of its own."""

    def __init__(self, place: Path, given: Path, raw: dict[str, Any]) -> None:
        self.place, self.given, self.data = place, given, given / "MyDataSet"
        self.config = place / "config.yaml"
        place.mkdir(exist_ok=True)
        self.write(raw)

    def write(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.config.write_text(yaml.safe_dump(raw, sort_keys=False))

    def run(self, *more: str, status: int = 0, door: tuple[str, ...] = ()) -> str:
        """What a run of this folder prints; fails with all of it when the exit status is another."""
        command = [*(door or (sys.executable, "-m", "naic_reid", "run")), "--cores", "2"]
        command += ["--config", str(self.config), "--data", str(self.data)]
        command += ["--truth", str(self.given / "truth.csv"), "--into", str(self.place), "--", *more]
        process = subprocess.Popen(
            command, cwd=self.place.parent, env=os.environ | {"PYTHONPATH": str(HOME)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == status, printed
        return printed

    def state(self) -> dict[str, bytes]:
        """Every file of ours, by its path."""
        folders = [self.place / name for name in ("results", "scratch", "logs")]
        files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.place)): path.read_bytes() for path in files}

    @property
    def results(self) -> Path:
        return self.place / "results"

    @property
    def submission(self) -> bytes:
        return (self.results / "submission.json").read_bytes()
