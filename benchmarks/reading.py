"""Bytes that each step of the workflow reads, with digests remembered between steps and without.

    python benchmarks/reading.py

The steps of a small drawn world run in this process, one after the other, on a network whose weights are most
of what is read. What a step reads is counted by the kernel (`rchar`: all reads, from memory or disk, but not
pages of mapped files). Every step ran once before, so that no import is counted, and both ways give the same
submission.
"""

import os
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from naic_reid import files
from naic_reid.files import digest
from tests.faults.world import SUBMISSION, World, one_model
from tests.reading import by_process


def bytes_by_step(world: World, *, remembered: bool) -> tuple[dict[str, int], str]:
    """Step → bytes that its commands read; and the digest of the submission."""
    os.environ.pop(files.MEMORY, None)
    if remembered:
        os.environ[files.MEMORY] = str(world.path("scratch/digests").absolute())
    found: dict[str, int] = defaultdict(int)
    for command in world.commands:
        files.forget_digests()  # as in a process of its own
        for path in world.outputs(command):
            world.path(path).unlink(missing_ok=True) if world.path(path).is_file() else None
        before = by_process()
        status, printed = world.run(command)
        assert status == 0, printed
        found[command[0]] += by_process() - before
    return found, digest(world.path(SUBMISSION))


def inputs(world: World) -> dict[str, int]:
    """Step → bytes of the artefacts that its commands are given."""
    found: dict[str, int] = defaultdict(int)
    for command in world.commands:
        written = {str(path) for path in world.outputs(command)}
        given = {word for word in command if word.startswith("results/") and word not in written}
        found[command[0]] += sum(world.path(p).stat().st_size for p in given if world.path(p).is_file())
    return found


def main() -> None:
    raw = one_model()
    next(iter(raw["models"].values())).update(backbone="resnet18_ibn_a")
    with tempfile.TemporaryDirectory(prefix="reading") as place:
        world = World.made(Path(place) / "walk", raw)
        before, first = bytes_by_step(world, remembered=False)
        after, second = bytes_by_step(world, remembered=True)
        assert first == second
        given = inputs(world)
    table = Table("step", "artefacts given, kB", "read without, kB", "read with, kB", "with : given")
    for step in (*before, "(all)"):
        values = [sum(one.values()) if step == "(all)" else one[step] for one in (given, before, after)]
        ratio = f"{values[2] / values[0]:.2f}" if values[0] else "–"
        table.add_row(step, *(f"{value / 1e3:,.0f}" for value in values), ratio)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
