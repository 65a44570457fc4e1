"""What several files of tests look at and leave as it is."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from naic_reid import cli
from tests.faults.world import one_model
from tests.finished import NAMED, Folder
from tests.walk import HOME


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn images and the truth about them, as if a person had brought them."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "toy.yaml").write_text(yaml.safe_dump(one_model()))
    drawn = ["--folder", str(folder / "MyDataSet"), "--truth", str(folder / "truth.csv")]
    assert cli.main(["toy", "--config", str(folder / "toy.yaml"), *drawn]) == 0
    return folder


@pytest.fixture(scope="session")
def finished(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The whole workflow, once, by `bash run.sh`; tests leave it as it is."""
    raw = one_model()
    del raw["toy"]
    parent = tmp_path_factory.mktemp("finished")
    home = parent / "home"  # a checkout whose environment is this one
    for name in ("naic_reid", "workflow", "profiles", "configs", "data_lists"):
        shutil.copytree(HOME / name, home / name)
    for name in ("run.sh", "Snakefile", "requirements.lock"):
        shutil.copy(HOME / name, home)
    (home / ".venv").mkdir()
    (home / ".venv/bin").symlink_to(Path(sys.executable).parent)
    shutil.copy(HOME / "requirements.lock", home / ".venv/.installed-from")
    folder = Folder(parent / "walk", given, raw)
    printed = folder.run(door=("bash", str(home / "run.sh")))
    assert re.search(r"^pooled \(12 queries\)", printed, re.M), printed
    assert printed.splitlines()[-1] == f"{NAMED}walk/results/submission.json"
    return folder
