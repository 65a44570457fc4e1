"""What several files of tests look at and leave as it is."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.finished import NAMED, Folder, unfinished
from tests.finished import given as drawn
from tests.walk import HOME


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other at every small layer are slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn images and the truth about them, as if a person had brought them."""
    return drawn(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="session")
def finished(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The whole workflow, once, by `bash run.sh`; tests leave it as it is."""
    parent = tmp_path_factory.mktemp("finished")
    home = parent / "home"  # a checkout whose environment is this one
    for name in ("naic_reid", "workflow", "profiles", "configs", "data_lists"):
        shutil.copytree(HOME / name, home / name)
    for name in ("run.sh", "Snakefile", "requirements.lock"):
        shutil.copy(HOME / name, home)
    (home / ".venv").mkdir()
    (home / ".venv/bin").symlink_to(Path(sys.executable).parent)
    shutil.copy(HOME / "requirements.lock", home / ".venv/.installed-from")
    folder = unfinished(parent / "walk", given)
    printed = folder.run(door=("bash", str(home / "run.sh")))
    assert re.search(r"^pooled \(12 queries\)", printed, re.M), printed
    assert printed.splitlines()[-1] == f"{NAMED}walk/results/submission.json"
    return folder
