"""A working folder on given data, in which `naic-reid run` was or is taken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from naic_reid import cli
from tests.faults.world import one_model
from tests.walk import HOME

NAMED = "naic-reid: the submission: "


class Folder:
    """A working folder on given data, with a config of its own."""

    def __init__(self, place: Path, given: Path, raw: dict[str, Any]) -> None:
        self.place, self.given, self.data = place, given, given / "MyDataSet"
        self.truth = given / "truth.csv"
        self.config = place / "config.yaml"
        place.mkdir(exist_ok=True)
        self.write(raw)

    def write(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        text = yaml.safe_dump(raw, sort_keys=False)
        if not self.config.exists() or self.config.read_text() != text:  # another worker may be reading it
            self.config.write_text(text)

    def run(self, *more: str, status: int = 0, door: tuple[str, ...] = ()) -> str:
        """What a run of this folder prints; fails with all of it when the exit status is another."""
        command = [*(door or (sys.executable, "-m", "naic_reid", "run")), "--cores", "2"]
        command += ["--config", str(self.config), "--data", str(self.data)]
        command += ["--truth", str(self.truth), "--into", str(self.place), "--", *more]
        process = subprocess.Popen(
            command, cwd=self.place.parent, env=os.environ | {"PYTHONPATH": str(HOME)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == status, printed
        return printed

    def state(self, *names: str) -> dict[str, bytes]:
        """Every file of ours, by its path; or only those in these folders."""
        folders = [self.place / name for name in names or ("results", "scratch", "logs")]
        files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.place)): path.read_bytes() for path in files}

    def copied(self, place: Path) -> "Folder":
        """The folder elsewhere, to be spoilt."""
        shutil.copytree(self.place, place, symlinks=True)
        return Folder(place, self.given, json.loads(json.dumps(self.raw)))

    def own_data(self) -> Path:
        """A copy of the given data beside the folder, used from now on. Files are linked: replace, do not
        write into them."""
        own = self.place.parent / "own"
        shutil.copytree(self.data, own / "MyDataSet", copy_function=os.link)
        self.data = own / "MyDataSet"
        return self.data

    @property
    def results(self) -> Path:
        return self.place / "results"

    @property
    def submission(self) -> bytes:
        return (self.results / "submission.json").read_bytes()


def given(folder: Path) -> Path:
    """Drawn images and the truth about them, as if a person had brought them."""
    (folder / "toy.yaml").write_text(yaml.safe_dump(one_model()))
    drawn = ["--folder", str(folder / "MyDataSet"), "--truth", str(folder / "truth.csv")]
    assert cli.main(["toy", "--config", str(folder / "toy.yaml"), *drawn]) == 0
    return folder


def unfinished(place: Path, data: Path) -> Folder:
    """A folder in which nothing has run yet."""
    raw = one_model()
    del raw["toy"]
    return Folder(place, data, raw)
