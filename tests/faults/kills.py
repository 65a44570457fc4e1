"""Processes killed outright, at seeded random moments, until the walk has survived enough of it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from naic_reid import artifacts, lineage
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.models.weights import Checkpoint
from tests.faults.world import Command, World
from tests.walk import HOME, Walk

READERS = {
    "collect/images.tsv": Records.read,
    "extract": artifacts.Features.read,
    "search": artifacts.Neighbours.read,
    "rerank": artifacts.JaccardRows.read,
    "evaluate": artifacts.Heads.read,
    "fuse": artifacts.Ranking.read,
}


def half_written(results: Path) -> list[str]:
    """Files under their final names that their own reader refuses."""
    wrong = []
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        if not path.is_file() or name.startswith("toy/") or path.name.startswith("."):
            continue
        try:
            if path.suffix == ".npz":
                READERS[name.split("/")[0]](path)
            elif path.suffix == ".pt":
                Checkpoint.read(path)
            elif path.suffix == ".tsv":
                _whole_table(path)
            elif path.suffix == ".json":
                lineage.record(path)
                json.loads(path.read_text())
        except (ReidError, ValueError) as error:
            wrong.append(f"{name}: {error}")
    return wrong


def _whole_table(path: Path) -> None:
    kind = path.read_text(encoding="utf-8").split(" ", 2)[1]
    header = path.read_text(encoding="utf-8").split("\n", 2)[1].split("\t")
    artifacts.read_table(path, kind, header)


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*.part")]


@dataclass
class Tally:
    """What was killed, and where the walk stood then."""

    kills: int = 0
    during: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """What was killed → the stage at work → how often."""

    def count(self, victim: str, stage: str) -> None:
        self.kills += 1
        self.during[victim][stage] += 1


# ── Stages run alone, in a process that is killed ──────────────────────────────────────────────


class Runner:
    """A process that has everything imported, and forks for each attempt to walk to the end.

    A stage is skipped when its files are there: whatever stands under its final name has to be whole.
    """

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.runner"],
            cwd=HOME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._heard()

    def start(self, world: World, commands: list[Command]) -> int:
        """Begin an attempt at these commands; the id of its process."""
        jobs = [[command, [str(path) for path in world.outputs(command)]] for command in commands]
        self._say({"folder": str(world.folder), "jobs": jobs})
        return int(self._heard())

    def ended(self) -> int:
        """Wait for the attempt to end; its status, negative when it was killed."""
        return int(self._heard())

    def stop(self) -> None:
        self.server.kill()
        self.server.communicate()

    def _say(self, what: object) -> None:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(what) + "\n")
        self.server.stdin.flush()

    def _heard(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline()


@contextlib.contextmanager
def runner() -> Iterator[Runner]:
    found = Runner()
    try:
        yield found
    finally:
        found.stop()


def kill_stages(commands: list[Command], folder: Path, kills: int, seed: int) -> Tally:
    """Walk in `folder`; on the way commands are killed, at random moments of the time each takes.

    They take turns in a random order, so that with as many kills as commands each is killed.
    """
    rng = np.random.default_rng(seed)
    order = [int(at) for _ in range(kills // len(commands) + 1) for at in rng.permutation(len(commands))]
    times = Counter(order[:kills])
    tally = Tally()
    folder.mkdir(parents=True)
    world = World(folder, commands)
    with runner() as attempts:
        for at, command in enumerate(commands):
            if times[at]:
                _kill_one(attempts, world, command, times[at], rng)
                tally.kills += times[at]
                tally.during["stage"][command[0]] += times[at]
            _finished(attempts, world, command)
    return tally


def _kill_one(attempts: Runner, world: World, command: Command, kills: int, rng: np.random.Generator) -> None:
    """Kill a command so many times; what stands afterwards is whole, and it has not come to its end."""
    longest = _finished(attempts, world, command)
    shutil.rmtree(world.path("scratch"), ignore_errors=True)
    while kills:
        _forget(world, command)
        process = attempts.start(world, [command])
        time.sleep(rng.uniform(0, longest))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        status = attempts.ended()
        assert status in (0, -signal.SIGKILL), (world.folder / "printed").read_text()
        kills -= status == -signal.SIGKILL
        longest *= 1 if status else 0.9  # it was through before its time
        assert half_written(world.folder / "results") == []
        if rng.integers(2):  # every second time the next goes on from what was saved
            shutil.rmtree(world.path("scratch"), ignore_errors=True)


def _finished(attempts: Runner, world: World, command: Command) -> float:
    """Run a command to its end; the seconds it took."""
    began = time.monotonic()
    attempts.start(world, [command])
    assert attempts.ended() == 0, (world.folder / "printed").read_text()
    return time.monotonic() - began


def _forget(world: World, command: Command) -> None:
    """Take away what a command made. Scratch stays: what a killed training saved, the next one takes up."""
    for path in world.outputs(command):
        if world.path(path).is_dir():
            shutil.rmtree(world.path(path))
        else:
            world.path(path).unlink(missing_ok=True)


# ── Snakemake, its jobs, or all of them ────────────────────────────────────────────────────────


def kill_workflow(walk: Walk, undisturbed: bytes, kills: int, seed: int, longest: float) -> Tally:
    """The same with the workflow itself: Snakemake alone, one of its jobs, or the whole session is killed.

    Each time the walk comes to its end, its submission is compared, and it begins from nothing.
    """
    rng = np.random.default_rng(seed)
    tally = Tally()
    rounds = 0
    while tally.kills < kills or rounds == 0:
        with (walk.folder / "printed").open("w") as printing:
            process = walk.start(stdout=printing)
        moment = time.monotonic() + rng.uniform(0.5, longest)
        victim = str(rng.choice(["snakemake", "job", "session"]))
        while tally.kills < kills and process.poll() is None and time.monotonic() < moment:
            time.sleep(0.02)
        if tally.kills < kills and process.poll() is None:
            stage = _kill(process.pid, victim, rng)
            process.wait()
            wait_for_jobs(process.pid)
            if stage:
                tally.count(victim, stage)
            assert half_written(walk.folder / "results") == []
            continue
        process.wait()
        printed = (walk.folder / "printed").read_text()
        assert process.returncode == 0, printed
        assert walk.submission == undisturbed
        assert leftovers(walk.folder / "results") == []
        rounds += 1
        if tally.kills < kills:
            for name in ("results", "scratch", ".snakemake", "logs"):
                shutil.rmtree(walk.folder / name, ignore_errors=True)
    return tally


def _jobs(pid: int) -> list[psutil.Process]:
    """Commands of the package below a process."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word.endswith("naic-reid") for word in child.cmdline()[:2]):
                    found.append(child)
    return found


def _kill(pid: int, victim: str, rng: np.random.Generator) -> str:
    """Kill, and say which stage was at work; empty: there was nothing of the kind to kill."""
    jobs = _jobs(pid)
    stages = [job.cmdline()[2] for job in jobs if len(job.cmdline()) > 2]
    if victim == "job":
        if not jobs:
            return ""
        job = jobs[rng.integers(len(jobs))]
        stage = job.cmdline()[2]
        job.kill()
        return stage
    if victim == "snakemake":
        os.kill(pid, signal.SIGKILL)
    else:
        os.killpg(pid, signal.SIGKILL)
    return stages[0] if stages else "between stages"


def wait_for_jobs(session: int) -> None:
    """Jobs notice the end of their Snakemake within a second or so."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        alive = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process.pid)
        if not alive:
            return
        time.sleep(0.1)
    raise AssertionError(f"still alive 30 seconds after the end of their Snakemake: {alive}")
