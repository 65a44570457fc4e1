"""What several files of tests look at and leave as it is."""

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.finished import NAMED, Folder, unfinished
from tests.finished import given as drawn
from tests.walk import HOME
from tests.warm import served

LONGEST = (
    "test_slurm.py", "test_walk.py", "test_finished.py", "test_naic2020.py", "test_train.py", "test_wheel.py",
    "test_second_round.py", "test_labelled.py", "test_accuracy.py", "test_faults.py", "test_baseline_zoo.py",
    "test_gpu_benchmark.py",
)  # fmt: skip
"""Files that begin first: what is long and begins last is left to one worker, while the other has nothing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: [*LONGEST, item.path.name].index(item.path.name))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other at every small layer are slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    """Where walks take a `naic-reid` from that has imported everything already."""
    with served() as folder:
        yield folder


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder of this name, made by the first worker that asks for it; others wait until it stands."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    stands = folder.with_suffix(".stands")
    with folder.with_suffix(".lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not stands.exists():
            folder.mkdir()
            make(folder)
            stands.touch()
    return folder


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn images and the truth about them, as if a person had brought them."""
    return once(tmp_path_factory, "given", drawn)


@pytest.fixture(scope="session")
def finished(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The whole workflow, once, by `bash run.sh`; tests leave it as it is."""
    return unfinished(
        once(tmp_path_factory, "finished", lambda parent: walked(parent, given)) / "walk", given
    )


def walked(parent: Path, given: Path) -> None:
    """A walk below this folder, by a `run.sh` that finds its environment made."""
    home = parent / "home"  # a checkout whose environment is this one
    for name in ("naic_reid", "workflow", "profiles", "configs", "data_lists"):
        shutil.copytree(HOME / name, home / name)
    for name in ("run.sh", "Snakefile", "requirements.lock"):
        shutil.copy(HOME / name, home)
    (home / ".venv").mkdir()
    (home / ".venv/bin").symlink_to(Path(sys.executable).parent)
    shutil.copy(HOME / "requirements.lock", home / ".venv/.installed-from")
    printed = unfinished(parent / "walk", given).run(door=("bash", str(home / "run.sh")))
    assert re.search(r"^pooled \(12 queries\)", printed, re.M), printed
    assert printed.splitlines()[-1] == f"{NAMED}walk/results/submission.json"
