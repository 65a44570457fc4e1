"""Free memory is the least of what the machine and the control groups around a process have left."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from naic_reid.retrieval import free

MB = 1 << 20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups; this process is in slurm/job_7/step_0."""
    (tmp_path / "own").write_text("1:name=systemd:/x\n0::/slurm/job_7/step_0\n")
    (tmp_path / "slurm" / "job_7" / "step_0").mkdir(parents=True)
    monkeypatch.setattr(free, "CONTROL", tmp_path)
    monkeypatch.setattr(free, "OWN", tmp_path / "own")
    return tmp_path / "slurm" / "job_7"


def limit(group: Path, most: str, taken: int, droppable: int = 0) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"anon {taken - droppable}\ninactive_file {droppable}\n")


def test_without_limits_it_is_what_the_machine_has(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7 * MB))
    limit(groups, "max", 5 * MB)
    assert free.memory() == 7 * MB
    limit(groups, str(100 * MB), 5 * MB)
    assert free.memory() == 7 * MB
    monkeypatch.setattr(free, "OWN", Path("/nowhere"))
    assert free.memory() == 7 * MB


def test_a_jobs_limit_counts_less_what_it_has_taken(groups: Path) -> None:
    limit(groups, str(50 * MB), 30 * MB, droppable=8 * MB)
    assert free.memory() == 28 * MB


def test_the_tightest_of_the_groups_around_counts(groups: Path) -> None:
    limit(groups, str(50 * MB), 10 * MB)
    limit(groups.parent, str(60 * MB), 45 * MB)
    assert free.memory() == 15 * MB
    limit(groups / "step_0", str(10 * MB), 11 * MB)
    assert free.memory() == 0
