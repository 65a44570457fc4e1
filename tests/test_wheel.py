"""The wheel holds what a run needs, and features and ranking need none of the extras."""

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from naic_reid import shipped
from naic_reid.errors import ReidError
from tests.walk import HOME

EXTRAS = ("snakemake", "faiss", "matplotlib", "tensorboard", "pandas", "timm", "torchvision", "onnx",
          "onnxruntime", "onnxscript", "pytorch_metric_learning")  # fmt: skip

ON_DEMAND = (
    "engines.py",
    "resnest.py",
    "timm_backbone.py",
)  # modules that are imported only by who asks for an extra
OURS = {"naic_reid", "benchmarks", "tests", "peer", "extract"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but what the wheel holds, as pip would lay it down."""
    place = tmp_path_factory.mktemp("wheel")
    built = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(built, cwd=HOME, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def python(place: Path, *arguments: str, folder: Path, status: int = 0) -> str:
    """What Python prints with that folder's package; the checkout's is out of reach."""
    path = os.pathsep.join([str(place), *(p for p in sys.path if "site-packages" in p)])
    script = "import sys; sys.path[:] = [p for p in sys.path if p != sys.argv[1]]\n"
    code = script + "del sys.argv[1]\n" + arguments[0]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(HOME), *arguments[1:]],
        cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_wheel_holds_every_file_that_a_checkout_ships(installed: Path) -> None:
    for part in ("Snakefile", "workflow", "profiles", "configs", "data_lists"):
        source = HOME / part
        files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
        assert files
        for path in files:
            shipped_file = installed / "naic_reid" / "share" / path.relative_to(HOME)
            assert shipped_file.read_bytes() == path.read_bytes()
    assert (installed / "naic_reid" / "py.typed").is_file()


def test_the_installed_command_finds_its_workflow_and_plans_a_run(installed: Path, tmp_path: Path) -> None:
    call = "from naic_reid.cli import main; sys.exit(main(sys.argv[1:]))"
    printed = python(installed, call, "run", "--", "--dry-run", folder=tmp_path)
    assert "runs configs/toy.yaml" in printed
    assert "fuse" in printed
    assert str(HOME) not in printed
    shown = python(installed, call, "run", "--config", "small", "--show-config", folder=tmp_path)
    assert shown == (HOME / "configs" / "small.yaml").read_text()


def test_features_and_ranking_need_none_of_the_extras(tmp_path: Path) -> None:
    """Blocked as if they were not installed; what would ask for one says which extra brings it."""
    script = f"""
import sys
from importlib.machinery import PathFinder
class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {EXTRAS!r} else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras
import numpy as np, torch
from naic_reid import Extractor, losses, models
from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.retrieval.ranking import rank
from naic_reid.retrieval.rerank import Reranking
from naic_reid.stages import extract, search, train
rows = np.eye(4, dtype=np.float32)
best, _ = rank(rows, rows[::-1].copy(), rerank=Reranking(2, 1, 0.3), device="cpu")
assert best[:, 0].tolist() == [3, 2, 1, 0]
timm = Architecture(backbone="timm/resnet18", height=64, width=32)
for call in (lambda: losses.METRIC_LOSSES["pairwise_circle"](), lambda: models.build(timm)):
    try:
        call()
    except ReidError as error:
        print(error)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HOME, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        "pairwise_circle needs pytorch_metric_learning, which is not here: pip install 'naic-reid[recipes]'"
        in (done.stdout)
    )
    assert "timm/resnet18 needs timm, which is not here" in done.stdout


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    users = names(line for extra in extras if extra not in ("dev", "all") for line in extras[extra])
    core = names(project["dependencies"])
    always, somewhere = imported((HOME / "naic_reid").rglob("*.py"))
    assert always - core == set(), "imported by every import of a module, and no dependency"
    assert somewhere - core - users == set(), "imported, and declared nowhere"
    assert core - somewhere == set(), "a dependency that nothing imports"
    _, others = imported([*(HOME / "benchmarks").glob("*.py"), *(HOME / "workflow").rglob("*.smk")])
    by_name = names(["faiss-gpu-cu12", "onnxruntime", "tensorboard", *extras["imagenet"], *extras["slurm"]])
    assert users - somewhere - others - by_name == set(), "an extra that nothing imports"


def names(lines: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported(files: Iterable[Path]) -> tuple[set[str], set[str]]:
    """Distributions that modules import at their head, and all that they import anywhere."""
    places = packages_distributions()
    always, somewhere = set(), set()
    for path in files:
        text = path.read_text()
        if path.suffix == ".smk":
            text = "\n".join(line for line in text.splitlines() if line.startswith(("from ", "import ")))
        tree = ast.parse(text)
        for node in ast.walk(tree):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in {name.partition(".")[0] for name in found} - sys.stdlib_module_names - OURS:
                distribution = canonicalize_name(places.get(name, [name])[0])
                somewhere.add(distribution)
                if node in tree.body and path.name not in ON_DEMAND:
                    always.add(distribution)
    return always, somewhere


def test_a_shipped_config_goes_by_its_name_and_a_file_by_its_path(tmp_path: Path) -> None:
    assert shipped.named("configs", "small") == HOME / "configs" / "small.yaml"
    mine = tmp_path / "small"
    mine.write_text("mine")
    assert shipped.named("configs", str(mine)) == mine
    with pytest.raises(ReidError, match=r"these come with naic-reid: .*naic2020, .*small, "):
        shipped.named("configs", "smal")
