"""The walk through a real Slurm on this machine: jobs out of time, killed jobs, a killed controller.

`../shared/slurm-single-node.sh` installs Debian's Slurm, starts it and takes it away; where it cannot, the
tests are skipped and say why. Processes are stopped (SIGSTOP) while something is done to their
surroundings, so that nothing here depends on how fast anything runs.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.walk import HOME, Walk, tiny_world

LAB = HOME.parent / "shared" / "slurm-single-node.sh"
USR1 = 1 << (signal.SIGUSR1 - 1)


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm with one pretended GPU; one user of it at a time on this machine."""
    if not LAB.exists():
        pytest.skip(f"no Slurm: {LAB} is missing")
    if os.getuid() != 0:
        pytest.skip("no Slurm: slurmd starts jobs as other users, so this test has to run as root")
    if "SLURM_CONF" in os.environ:
        pytest.skip("no Slurm of our own: SLURM_CONF names another one, whose jobs are not ours to end")
    with (Path(tempfile.gettempdir()) / "naic-reid-slurm-lab.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not shutil.which("slurmctld"):
            installed = lab("install")
            if installed.returncode:
                pytest.skip(f"no Slurm: its packages cannot be installed: {installed.stdout[-300:]}")
        started = lab("start")
        if started.returncode:
            said = f"status {started.returncode}: {started.stdout[-300:]}{last_words()}"
            lab("purge")
            pytest.skip(f"no Slurm: it does not start here: {said}")
        try:
            yield
        finally:
            end_jobs()
            lab("purge")


def lab(do: str) -> "subprocess.CompletedProcess[str]":
    command = ["timeout", "180", "bash", str(LAB), do]  # without a network apt-get tries for long
    # Into a file: the daemons keep what they inherit, and a pipe would stay open.
    with tempfile.TemporaryFile("w+") as printed:
        done = subprocess.run(command, stdout=printed, stderr=subprocess.STDOUT, check=False)
        printed.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, printed.read())


def last_words() -> str:
    """The ends of the daemons' logs."""
    logs = Path(os.environ.get("SLURM_LAB_DIR", "/tmp/slurm-lab")) / "log"
    return "; ".join(f"{path.name}: …{path.read_text()[-200:]}" for path in sorted(logs.glob("*.log")))


def end_jobs() -> None:
    """Jobs outlive the daemons: they end first."""
    subprocess.run(["scancel", "--me"], check=False, capture_output=True)
    for _ in range(100):
        if not subprocess.run(["squeue", "-h"], check=False, capture_output=True).stdout:
            break
        time.sleep(0.2)


def lab_profile(folder: Path) -> Path:
    """profiles/slurm with what a user changes: names and sizes of this cluster. And shorter waits."""
    profile = yaml.safe_load((HOME / "profiles" / "slurm" / "config.yaml").read_text())
    profile["default-resources"] |= {"slurm_partition": "main", "slurm_extra": "'--signal=USR1@10'"}
    rules = (
        "collect",
        "dedupe",
        "split",
        "train",
        "extract",
        "search",
        "rerank",
        "gather",
        "fuse",
        "evaluate",
    )
    given = profile["set-resources"]
    sizes: dict[str, dict[str, Any]] = {rule: given.get(rule, {}) | {"mem_mb": 1000} for rule in rules}
    for rule in ("train", "extract"):
        sizes[rule]["cpus_per_task"] = 1
    for rule in ("split", "train"):
        sizes[rule]["runtime"] = "1 if attempt == 1 else 10"
    sizes["split"]["slurm_extra"] = "''"  # the warning would wake it up
    profile["set-resources"] = sizes
    profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
    profile |= {"slurm-init-seconds-before-status-checks": 8, "latency-wait": 20}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))
    return folder


def world() -> dict[str, Any]:
    """Every rule once, and a training that lasts long enough to be met."""
    raw = tiny_world()
    raw["train"]["epochs"] = 20
    raw["ensemble"]["epochs"] = [20]
    return raw


class Controller:
    """A Snakemake with a profile, its output in a file; killed at the end of the block."""

    def __init__(self, walk: Walk, profile: Path, output: Path) -> None:
        self.output = output
        with output.open("w") as printed:
            self.process = walk.start("--workflow-profile", str(profile), stdout=printed)

    def __enter__(self) -> "Controller":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def until(self, found: Callable[[], Any]) -> Any:
        """The first true answer; fails with all that was printed when the controller ends before it."""
        while not (answer := found()):
            assert self.process.poll() is None, self.printed
            time.sleep(0.1)
        return answer


class Story:
    """What was done to the walk on its way, and what it printed and left."""

    def __init__(self, folder: Path) -> None:
        self.walk = Walk(folder / "cluster", world() | {"shards": {"extract": 2, "rerank": 2}})
        self.local = Walk(folder / "local", world())
        profile = lab_profile(folder / "profile")
        with Controller(self.local, HOME / "profiles" / "default", folder / "local.txt") as local:
            with Controller(self.walk, profile, folder / "first.txt") as self.first:
                self.time_runs_out()
                self.controller_dies()
            with Controller(self.walk, profile, folder / "second.txt") as self.second:
                self.job_of_the_dead_one_ends()
                self.job_dies()
                self.status = self.second.process.wait()
            assert local.process.wait() == 0, local.printed

    def time_runs_out(self) -> None:
        """The split is held until its time is over; training until Slurm warns it, which wakes it up."""
        (split,) = self.first.until(lambda: suspended(self.at_work("split")))
        (train,) = self.first.until(lambda: suspended([p for p in self.at_work("train") if listens(p)]))
        self.first.until(lambda: not train.is_running() and not split.is_running())

    def controller_dies(self) -> None:
        """One extraction at work, one in the queue, and their controller is killed."""
        (self.orphan,) = self.first.until(lambda: suspended(self.at_work("extract")))
        self.first.until(lambda: queued() == 1)

    def job_of_the_dead_one_ends(self) -> None:
        self.second.until(lambda: "Waits for Slurm jobs" in self.second.printed and queued() == 0)
        self.orphan.resume()

    def job_dies(self) -> None:
        (search,) = self.second.until(lambda: suspended(self.at_work("search")))
        search.kill()

    def at_work(self, stage: str) -> list[psutil.Process]:
        """The processes of a stage's jobs."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                words = process.cmdline()
                ours = Path(process.cwd()) == self.walk.folder
                if ours and words[1:] and words[1].endswith("naic-reid") and words[2] == stage:
                    found.append(process)
        return found

    def job_logs(self, stage: str) -> str:
        """What failed jobs of a stage printed."""
        logs = (self.walk.folder / ".snakemake" / "slurm_logs" / f"rule_{stage}").rglob("*.log")
        return "".join(path.read_text() for path in sorted(logs))


def suspended(processes: list[psutil.Process]) -> list[psutil.Process]:
    for process in processes:
        process.suspend()
    return processes


def listens(process: psutil.Process) -> bool:
    """Whether the process has a handler for the warning."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) & USR1)


def sent(controller: Controller, rule: str) -> int:
    """How often a job of the rule was sent to Slurm."""
    return len(re.findall(rf"^rule {rule}:$", controller.printed, re.M))


def queued() -> int:
    command = ["squeue", "--me", "--noheader", "--states=PENDING"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


@pytest.fixture(scope="module")
def story(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("slurm")
    try:
        yield Story(folder)
    finally:
        # A real cluster follows processes by cgroups; here some get away when their parents are killed.
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if folder in Path(process.cwd()).parents:
                    process.kill()


pytestmark = pytest.mark.timeout(900)


def test_training_starts_a_process_for_each_gpu_and_an_srun_for_several_nodes(tmp_path: Path) -> None:
    walk = Walk(tmp_path, world())
    dry = ("--dry-run", "--printshellcmds", "--resources", "gpu=4", "--set-resources")
    alone = walk.run(*dry, "train:gpu=1")
    assert re.search(r"; env NAIC_REID_JOB=\S+ naic-reid on_gpu 1 naic-reid train --settings", alone)
    team = walk.run(*dry, "train:gpu=4")
    assert "naic-reid on_gpu 4 torchrun --standalone --nproc-per-node=4 -m naic_reid train --settings" in team
    nodes = walk.run(*dry, "train:mpi=srun --ntasks=2", "train:nodes=2")
    assert re.search(
        r"; srun --ntasks=2 env -u NAIC_REID_WORKFLOW NAIC_REID_JOB=\S+ torchrun --nnodes=2 "
        "--nproc-per-node=gpu", nodes,
    )  # fmt: skip


def test_the_walk_ends_with_the_bytes_of_a_local_one(story: Story) -> None:
    assert story.status == 0, story.first.printed + story.second.printed
    assert story.walk.submission == story.local.submission
    there, here = story.walk.artefacts(), story.local.artefacts()
    assert there.keys() == here.keys()
    assert [path for path in there if there[path] != here[path]] == []


def test_training_saves_before_its_time_is_up_and_goes_on_from_there(story: Story) -> None:
    assert "after saving" in story.job_logs("train"), story.first.printed
    log = next((story.walk.folder / "logs" / "train").iterdir()).read_text()
    assert "goes on from" in log


def test_training_in_a_job_says_which_job_holds_its_folder(story: Story) -> None:
    (lock,) = (story.walk.folder / "scratch" / "train").glob("*/lock")
    assert re.fullmatch(r"process \d+ on \S+ in Slurm job \d+", lock.read_text())


def test_shards_are_jobs_of_their_own(story: Story) -> None:
    assert sent(story.second, "rerank") == 2, story.second.printed
    assert sent(story.second, "gather") == 3, story.second.printed  # two lists of features, and rows


def test_a_job_out_of_time_is_sent_again(story: Story) -> None:
    assert story.first.printed.count("'TIMEOUT'") == 1, story.first.printed
    assert sent(story.first, "split") == 2


def test_a_restarted_controller_lets_the_job_of_the_dead_one_end_and_keeps_its_work(story: Story) -> None:
    assert sent(story.second, "extract") == 1, story.second.printed


def test_a_killed_job_is_sent_again(story: Story) -> None:
    assert "Trying to restart job" in story.second.printed
    assert sent(story.second, "search") == 2, story.second.printed
