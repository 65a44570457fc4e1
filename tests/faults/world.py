"""A finished walk on a small generated world, and copies of it to break.

The stages run inside this process, by the very commands that the workflow would start.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from naic_reid import cli
from naic_reid.files import digest
from tests.walk import HOME, Walk, small_world

Command = list[str]
DATA = Path("results/toy/MyDataSet")
SUBMISSION = Path("results/submission.json")


def tiny_world() -> dict[str, Any]:
    """The small world with networks of half a million weights and one epoch."""
    raw = small_world()
    raw["train"].update(epochs=1)
    raw["train"]["schedule"] = {**raw["train"]["schedule"], "warmup_epochs": 1}
    raw["ensemble"] = {"epochs": [1]}
    for number, model in enumerate(raw["models"].values()):
        model.update(backbone="timm/test_resnet", height=64 - 16 * number, width=32)
        model.pop("last_stride", None)  # which networks of timm have not
    raw["rerank"]["normal"].update(k1=9)
    raw["report"] = None
    return raw


def one_model() -> dict[str, Any]:
    """The tiny world with one network and no hold-out: a score of jobs for Snakemake."""
    raw = tiny_world()
    raw["models"] = dict([next(iter(raw["models"].items()))])
    raw["holdout"]["share"] = 0
    del raw["rerank"]["holdout"]
    return raw


class World:
    """A working folder with results, and the commands that made them."""

    def __init__(self, folder: Path, commands: list[Command]) -> None:
        self.folder = folder
        self.commands = commands

    @classmethod
    def made(cls, folder: Path, raw: dict[str, Any] | None = None) -> "World":
        """A walk from its beginning to its end."""
        world = cls(folder, workflow_commands(Walk(folder, raw or tiny_world())))
        for command in world.commands:
            status, printed = world.run(command)
            assert status == 0, printed
        return world

    def copied(self, folder: Path) -> "World":
        """The same world elsewhere. Files are linked: a plant must replace a file, not write into it."""
        shutil.copytree(self.folder, folder, copy_function=os.link, ignore=shutil.ignore_patterns("scratch"))
        return World(folder, self.commands)

    def path(self, name: str | Path) -> Path:
        return self.folder / name

    def replace(self, name: str | Path, content: bytes) -> Path:
        """Give a file another content; its link to the world it was copied from is cut."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def command(self, *words: str) -> Command:
        """The one command that has all these words, the stage's name first."""
        found = [c for c in self.commands if c[0] == words[0] and all(word in " ".join(c) for word in words)]
        assert len(found) == 1, (words, [" ".join(c)[:200] for c in found])
        return found[0]

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Exit status and what the user reads in the end."""
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stderr(printed):
            try:
                status = cli.main(list(command))
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, printed.getvalue()

    def run_outside(self, command: Sequence[str], script: str) -> tuple[int, str]:
        """The same in a process of its own, inside a shell script that may mount things for itself."""
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-m", "naic_reid", *command],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(HOME)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    def outputs(self, command: Command) -> list[Path]:
        """The files under results/ that no earlier command names."""
        earlier: set[str] = set()
        for other in self.commands:
            if other == command:
                break
            earlier.update(other)
        return [Path(word) for word in command if word.startswith("results/") and word not in earlier]

    def state(self) -> dict[str, str]:
        """Every file under results/ with its digest; images and unfinished files are left out."""
        found = {}
        for folder, folders, names in os.walk(self.path("results")):
            folders[:] = [name for name in folders if name != DATA.name]
            for name in (name for name in names if not name.startswith(".")):
                path = Path(folder) / name
                found[str(path.relative_to(self.folder))] = digest(path) if path.is_file() else "no file"
        return found


def workflow_commands(walk: Walk) -> list[Command]:
    """What Snakemake would run on an empty folder, in order, without the shell around it."""
    printed = walk.run("--dry-run", "--printshellcmds")
    found = re.findall(r"naic-reid (.*?) 2>&1", printed)
    # What comes with the project is named from the working folder, which a copy does not share.
    shipped = re.compile(r"(\.\./)+.*?(?=data_lists/)")
    return [[shipped.sub(f"{HOME}/", word) for word in shlex.split(line)] for line in found]


def with_settings(command: Command, **sections: dict[str, Any]) -> Command:
    """The command with some settings changed."""
    import json

    place = command.index("--settings") + 1
    settings = json.loads(command[place])
    for section, values in sections.items():
        settings[section] = {**settings[section], **values}
    return [*command[:place], json.dumps(settings), *command[place + 1 :]]


def dumped(raw: dict[str, Any]) -> bytes:
    return yaml.safe_dump(raw, sort_keys=False).encode()
