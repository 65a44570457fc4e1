"""The whole workflow killed again and again, at random moments, in one folder, until it is left alone.

    python -m tests.faults.chaos --kills 20 --seed 0     (a quarter of an hour on two quiet cores)

Each time `naic-reid run` and all that it started get SIGKILL at once. After each kill every file under its
final name is whole; the run that is left alone ends with the bytes of one that never was disturbed.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.faults.kills import half_written, leftovers, wait_for_jobs
from tests.faults.world import one_model
from tests.walk import HOME, Walk


def start(walk: Walk) -> "subprocess.Popen[bytes]":
    """`naic-reid run` in a session of its own; what it prints is kept in the folder."""
    command = [sys.executable, "-m", "naic_reid", "run", "--config", str(walk.config), "--cores", "2"]
    with (walk.folder / "printed").open("ab") as printing:
        return subprocess.Popen(
            command, cwd=walk.folder, env=os.environ | {"PYTHONPATH": str(HOME)}, stdout=printing,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def disturbed(walk: Walk, kills: int, seed: int, shortest: float, longest: float) -> Counter[str]:
    """Start and kill so many times, each between `shortest` and `longest` seconds after the start.

    Returns:
        The step that stood next when a kill came → how often. Kills that came after the end are none.
    """
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(kills):
        process = start(walk)
        try:
            process.wait(timeout=rng.uniform(shortest, longest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            wait_for_jobs(process.pid)
            found[_at_work(walk)] += 1
        assert half_written(walk.folder / "results") == []
    return found


def undisturbed(walk: Walk) -> dict[str, bytes]:
    """Everything under results/ after a run to its end."""
    process = start(walk)
    assert process.wait() == 0, (walk.folder / "printed").read_text()[-5000:]
    assert leftovers(walk.folder / "results") == []
    return walk.artefacts()


def _at_work(walk: Walk) -> str:
    """The step whose log is the newest."""
    logs = [path for path in (walk.folder / "logs").rglob("*.log") if path.is_file()]
    newest = max(logs, key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.relative_to(walk.folder / "logs").parts[0].removesuffix(".log") if newest else "(no step)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shortest", type=float, default=2.0, help="seconds before a kill, at least")
    parser.add_argument("--longest", type=float, default=15.0, help="and at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos") as name:
        began = time.monotonic()
        whole = undisturbed(Walk(Path(name) / "whole", one_model()))
        print(f"undisturbed: {len(whole)} files in {time.monotonic() - began:.0f} s", flush=True)
        walk = Walk(Path(name) / "chaos", one_model())
        found = disturbed(walk, options.kills, options.seed, options.shortest, options.longest)
        print(f"killed {found.total()} times: {dict(found.most_common())}", flush=True)
        rest = undisturbed(walk)
        assert rest.keys() == whole.keys(), sorted(rest.keys() ^ whole.keys())
        different = [path for path in whole if whole[path] != rest[path]]
        assert different == [], different
        print(f"left alone: the same bytes, after {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
