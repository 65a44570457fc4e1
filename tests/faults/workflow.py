"""Faults that meet Snakemake itself."""

import fcntl
import os
import time

from tests.faults.case import Outcome
from tests.walk import Walk


def second_snakemake(walk: Walk) -> Outcome:
    """A second Snakemake in a folder where one is at work."""
    marker = walk.folder / ".snakemake" / "running"
    marker.parent.mkdir(exist_ok=True)
    with marker.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("host here, process 4711")
        held.flush()
        printed = walk.run(status=1)
    said = next(line for line in printed.splitlines() if "another Snakemake" in line)
    assert "another Snakemake is at work in this folder (host here, process 4711): wait or stop it" in said
    return Outcome("the second stops (1)", said.strip(), "nothing changed")


def clock_put_back(walk: Walk) -> Outcome:
    """An artefact from tomorrow in a finished walk: what follows is made again, and then it is done."""
    before = walk.submission
    late = time.time() + 86_400
    os.utime(walk.folder / "results" / "fuse" / "green.npz", (late, late))
    walk.run()
    again = walk.would_run()
    assert walk.submission == before
    assert not again.keys() - {"submit"}, again
    return Outcome("goes on: equal contents rerun nothing", "—", "nothing changed")


def misspelt_key(walk: Walk) -> Outcome:
    """A wrong config is refused before anything runs."""
    raw = {**walk.raw, "rerankk": {}}
    original = walk.raw
    walk.write(raw)
    printed = walk.run(status=1)
    walk.write(original)
    said = next(line for line in printed.splitlines() if "unknown key" in line)
    return Outcome("nothing starts (1)", said.strip(), "nothing changed")
