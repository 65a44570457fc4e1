"""What a process may use is the least of what the machine and the control groups around it have left."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from naic_reid import machine
from naic_reid.errors import ReidError

MB = 1 << 20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups; this process is in slurm/job_7/step_0."""
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/slurm/job_7/step_0\n")
    (tmp_path / "slurm" / "job_7" / "step_0").mkdir(parents=True)
    monkeypatch.setattr(machine, "CONTROL", tmp_path)
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    return tmp_path / "slurm" / "job_7"


def limit(group: Path, most: str, taken: int, droppable: int = 0) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"anon {taken - droppable}\ninactive_file {droppable}\n")


def test_without_limits_it_is_what_the_machine_has(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7 * MB))
    limit(groups, "max", 5 * MB)
    assert machine.free_memory() == 7 * MB
    limit(groups, str(100 * MB), 5 * MB)
    assert machine.free_memory() == 7 * MB
    monkeypatch.setattr(machine, "OWN", Path("/nowhere"))
    assert machine.free_memory() == 7 * MB


def test_a_jobs_limit_counts_less_what_it_has_taken(groups: Path) -> None:
    limit(groups, str(50 * MB), 30 * MB, droppable=8 * MB)
    assert machine.free_memory() == 28 * MB


def test_the_tightest_of_the_groups_around_counts(groups: Path) -> None:
    limit(groups, str(50 * MB), 10 * MB)
    limit(groups.parent, str(60 * MB), 45 * MB)
    assert machine.free_memory() == 15 * MB
    limit(groups / "step_0", str(10 * MB), 11 * MB)
    assert machine.free_memory() == 0


def test_processors_are_those_within_the_groups_quotas(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    (groups / "cpu.max").write_text("max 100000\n")
    assert machine.processors() == 16
    (groups.parent / "cpu.max").write_text("650000 100000\n")
    assert machine.processors() == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")  # of a team on this machine, each has a third
    assert machine.processors() == 2


def test_amounts_of_memory_are_read_as_people_write_them() -> None:
    texts = ("", "0", "800MB", "6GB", "1.5 GiB", "2T")
    assert [machine.amount(text) for text in texts] == [
        None,
        0,
        800_000_000,
        6 * 10**9,
        15 * 10**8,
        2 * 10**12,
    ]
    with pytest.raises(ReidError, match="memory 'much' is no amount: write it like 800MB or 6GB"):
        machine.amount("much")


def test_gpus_are_those_named_or_those_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpus() == ["0", "1"]  # CUDA counts anew what a container shows
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-1a,MIG-GPU-2b/1/0")
    assert machine.gpus() == ["5", "GPU-1a", "MIG-GPU-2b/1/0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpus() == []


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs by name, and locks of our own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,GPU-2c,MIG-GPU-3d/1/0")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


class Command:
    """`naic-reid on_gpu N` on a command that tells its GPUs and waits to be told to end."""

    TELLS = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); input()"

    def __init__(self, number: int) -> None:
        words = [sys.executable, "-m", "naic_reid", "on_gpu", str(number), sys.executable, "-c", self.TELLS]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def commands() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.usefixtures("pretended")
def test_commands_started_at_once_have_a_gpu_each_and_the_next_waits_for_one(commands: ExitStack) -> None:
    four = [commands.enter_context(Command(1)) for _ in range(4)]
    told = [command.line() for command in four]
    assert all(line.startswith("on_gpu: on GPU ") for line in told)
    assert sorted(command.line() for command in four) == sorted(machine.gpus())
    fifth = commands.enter_context(Command(1))
    assert fifth.line() == "on_gpu: waits until 1 of the GPUs 0, 1, GPU-2c, MIG-GPU-3d/1/0 are free"
    freed = told[2].removeprefix("on_gpu: on GPU ")
    four[2].end()
    assert fifth.line() == f"on_gpu: on GPU {freed}"
    assert fifth.line() == freed


@pytest.mark.usefixtures("pretended")
def test_several_gpus_are_taken_together_or_not_at_all(commands: ExitStack) -> None:
    first, second = (commands.enter_context(Command(number)) for number in (3, 1))
    assert {first.line()[:14], second.line()[:14]} == {"on_gpu: on GPU"}
    both = first.line().split(",") + second.line().split(",")
    assert sorted(both) == sorted(machine.gpus())
    with pytest.raises(ReidError, match="5 GPUs are asked for and 4 are here"):
        machine.own_gpus(5)


@pytest.mark.usefixtures("pretended")
def test_a_killed_command_leaves_its_gpu_to_others(commands: ExitStack) -> None:
    all_four = commands.enter_context(Command(4))
    all_four.line()
    all_four.process.kill()
    assert commands.enter_context(Command(4)).line().startswith("on_gpu: on GPU")


def test_without_a_gpu_a_command_starts_as_it_is(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "naic_reid", "on_gpu", "1", "echo", "--started"]
    found = subprocess.run(
        words, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=True
    )
    assert found.stdout == "--started\n"
    words[-2:] = ["no-such-command-here"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "on_gpu: no such command: no-such-command-here" in found.stderr
