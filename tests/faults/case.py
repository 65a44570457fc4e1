"""A case: a fault, the commands that meet it, and what must come of it."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.world import Command, World


@dataclass(frozen=True)
class Case:
    """One row of `docs/faults.md`."""

    group: str
    name: str
    plant: Callable[[World], None]
    """Does the damage in a copy of a finished world."""
    run: Callable[[World], Sequence[Command]]
    """Commands run one after the other, until one fails."""
    status: int = 2
    says: str = ""
    """What the user reads must match this."""
    leaves: str = "nothing changed"
    """What differs under results/ afterwards."""
    note: str = ""
    """What becomes of it, where nothing is refused."""
    outside: str = ""
    """A shell script around the command, `"$@"`, in a process of its own with its own mounts."""
    slow: bool = False
    """Only in the long form: starts a process that loads torch."""
    check: Callable[[World], None] = field(default=lambda world: None)
    """Further looks at the state on disk."""


@dataclass(frozen=True)
class Outcome:
    """What happened, ready for the table."""

    happens: str
    message: str
    state: str


def tried(case: Case, finished: World) -> Outcome:
    """Run a case on a copy of a finished world; asserts what it promises."""
    with tempfile.TemporaryDirectory(prefix="fault") as parent:
        world = finished.copied(Path(parent) / "walk")
        case.plant(world)
        before = world.state()
        stage, status, printed = "", 0, ""
        for command in case.run(world):
            stage = command[0]
            status, printed = world.run_outside(command, case.outside) if case.outside else world.run(command)
            if status:
                break
        message = said(printed)
        state = difference(before, world.state())
        assert status == case.status, (case.name, status, printed)
        assert re.search(case.says, message, re.DOTALL), (case.name, message)
        assert state == case.leaves, (case.name, state)
        assert not list(world.path("results").rglob("*.part")), case.name
        case.check(world)
    happens = f"`{stage}` stops ({status})" if status else case.note or "goes on"
    # A run's folder ends in a digest of its settings, which every new config word changes.
    shown = re.sub(r"-[0-9a-f]{12}\b", "-…", message.replace(str(world.folder), "…"))
    # Where half of a JSON file ends depends on every number in it.
    shown = re.sub(r"[^:;]+: line \d+ column \d+ \(char \d+\)", " …", shown)
    return Outcome(happens, shown if status else "—", state)


def said(printed: str) -> str:
    """The sentence at the end, without the command that repeats the step."""
    _, found, rest = printed.rpartition("naic-reid: ")
    return (found + rest).partition("\nrepeat this step with")[0].strip() if found else ""


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What changed on disk, in words."""
    parts = {
        "written": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "replaced": sorted(path for path in before if path in after and before[path] != after[path]),
    }
    words = [f"{word}: {', '.join(paths)}" for word, paths in parts.items() if paths]
    return "; ".join(words).replace("results/", "") or "nothing changed"
