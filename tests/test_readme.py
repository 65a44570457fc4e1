"""The commands of the README exist, with these options, and name configs and profiles that are there."""

import contextlib
import io
import re
import shlex
from functools import cache

import pytest

from naic_reid import cli
from tests.walk import HOME

README = (HOME / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line for block in BLOCKS for line in block.splitlines() if line.startswith(("naic-reid ", "bash run.sh"))
]


@cache
def helped(name: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0, name
    return printed.getvalue()


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_is_one(line: str) -> None:
    words = shlex.split(line.partition(" &&")[0].partition(" > ")[0].partition(" -- ")[0], comments=True)
    given = words[2:] if words[0] == "bash" else words[1:]
    name = "run" if words[0] == "bash" else given.pop(0)
    if words[0] == "bash" and given and given[0] in ("test", "install"):
        assert f"bash run.sh {given[0]} " in (HOME / "run.sh").read_text(encoding="utf-8")
        return
    if name.startswith("--"):
        assert name in ("--help", "--version", "--describe-config")
        return
    if name == "rerank" and any(word.endswith(".npy") for word in given):
        name = "rank"
    known = helped(name)
    for word in given:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", known), (word, known)
        if word.startswith(("configs/", "profiles/")):
            assert (HOME / word).exists(), word


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10
