"""Every command of README, tutorial and partial.md runs as it stands on drawn data; or it is said why not."""

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from naic_reid import cli, config, losses
from naic_reid.artifacts import Features
from naic_reid.config import training
from naic_reid.data import worlds
from naic_reid.tools import choose
from tests.finished import Folder
from tests.tools import test_choose, test_compare, test_plan
from tests.tools.house import photos
from tests.walk import HOME

README = (HOME / "README.md").read_text(encoding="utf-8")
TUTORIAL, PARTIAL = (
    (HOME / "docs" / name).read_text(encoding="utf-8") for name in ("tutorial.md", "partial.md")
)
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", README + TUTORIAL + PARTIAL, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.strip()
]

CHOOSE = "naic-reid choose configs/small.yaml configs/quick.yaml --folds 4 --data PATH/MyDataSet"
PLAN = "naic-reid plan --config configs/small.yaml --data PATH/MyDataSet"
ELSEWHERE = {
    "bash run.sh test": "it is these tests",
    "bash run.sh install && source .venv/bin/activate": "needs the network; `tests/conftest.py` runs run.sh",
    "naic-reid zoo --check market_sbs_R50-ibn.pth": "a published file; tests/test_zoo.py checks drawn ones",
    CHOOSE: "it trains eight times; run below without its trainings",
    PLAN: "measures for a minute; run below with measurements that cost nothing",
    "uv build --wheel": "tests/test_wheel.py builds the wheel and installs it",
    "pip install dist/naic_reid-*.whl": "tests/test_wheel.py",
    "pip install 'dist/naic_reid-0.1.0-py3-none-any.whl[all]'": "needs the network",
}
"""Commands that are not run here, and why."""

PLANNED = {
    "bash run.sh": "its training takes minutes; tests/conftest.py takes run.sh to its end on a smaller world",
    "bash run.sh --config configs/labelled.yaml --data PATH/Market-1501-v15.09.15": "it trains for hours",
    "bash run.sh --zoo market1501/sbs/resnet50_ibn_a --data PATH/Market-1501-v15.09.15": "it wants a GPU",
    "bash run.sh --config configs/small.yaml --data PATH/MyDataSet --truth PATH/truth.csv": "it trains long",
    "bash run.sh --config configs/partial.yaml --data PATH/MyDataSet --truth PATH/truth.csv": "it trains",
    "naic-reid run": "what bash run.sh calls",
}
"""Commands of which only the plan is made, by `-- --dry-run`, and why."""


def bare(line: str) -> str:
    """The command without its comment."""
    return re.sub(r"\s+#.*", "", line).strip()


def written(folder: Path, finished: Folder) -> None:
    """All that the README's commands name, drawn or from a finished walk."""
    for name in ("configs", "profiles"):
        (folder / name).symlink_to(HOME / name)
    results = finished.results
    shutil.copytree(results, folder / "results", copy_function=os.link)
    for name, seed in (("before", 1), ("a1", 1), ("a2", 2), ("a3", 3)):
        test_compare.run(folder / name, test_compare.ranks(0.3, seed), seed=seed)
    for name, seed in (("after", 1), ("b1", 1), ("b2", 2), ("b3", 3)):
        test_compare.run(folder / name, test_compare.ranks(0.6, seed), seed=seed, batch=64)
    weights = folder / "data" / "weights" / "resnet50_ibn_a-d9d0bb7b.pth"  # looked for and not read
    weights.parent.mkdir(parents=True)
    weights.touch()
    worlds.drawn("market1501", folder / "PATH" / "Market-1501-v15.09.15")
    (folder / "PATH" / "MyDataSet").symlink_to(finished.data)
    shutil.copy(finished.given / "truth.csv", folder / "PATH")
    shutil.copy(next(results.glob("train/*/epoch_1.pt")), folder / "MODEL")
    photos(folder / "photos", persons=2)
    for asked in ("asked.jpg", "half.jpg"):
        shutil.copy(folder / "photos" / "0" / "0.png", folder / asked)
    for role, short in (("query", "q"), ("gallery", "g")):
        features = Features.read(next(results.glob(f"extract/*/epoch_1/{role}_green.npz")))
        np.save(folder / f"{role}.npy", features.values)
        rows = [f"{number % 3},{role}" for number in range(len(features.names))]
        (folder / f"{short}.csv").write_text("\n".join(["identity,camera", *rows]) + "\n")


@pytest.fixture(scope="module")
def place(finished: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    written(folder, finished)
    return folder


@cache
def run(command: str) -> None:
    """As a shell would, once; what is ours in this process."""
    command, _, into = command.partition(" > ")
    words = shlex.split(command)
    if words[0] == "cat":
        assert all(Path(path).read_text() for path in words[1:])
        return
    assert words.pop(0) == "naic-reid", command
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            status = cli.main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
    assert status == 0, printed.getvalue()
    if into:
        Path(into).write_text(printed.getvalue())


@pytest.mark.parametrize("line", [line for line in LINES if bare(line) not in ELSEWHERE])
def test_a_command_of_the_readme_runs(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    command = bare(line)
    words = command.replace("bash run.sh", "naic-reid run")
    run(f"{words} -- --dry-run" if command in PLANNED else words)


def test_the_plan_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    asked = test_plan.cheaply(monkeypatch)
    run(PLAN)
    assert {what for what, _ in asked} == {"look", "network"}


def test_a_choice_plans_its_trainings(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each config the first fold's run is planned; scores are drawn in the place of all."""
    started: list[Path] = []

    def waited(command: list[str]) -> int:
        told = dict(zip(command[4::2], command[5::2], strict=True))
        started.append(Path(told["--into"]))
        test_choose._score(started[-1], config.load(Path(told["--config"])))
        return cli.main([*command[3:], "--", "--dry-run"]) if started[-1].name == "fold_1" else 0

    monkeypatch.chdir(place)
    monkeypatch.setattr(choose, "_waited", waited)
    run(CHOOSE)
    assert {folder.parent.name for folder in started} == {"small", "quick"}


def test_what_is_said_of_commands_is_said_of_those_that_are_there() -> None:
    commands = {bare(line) for line in LINES}
    assert len(commands) > 20
    assert {*ELSEWHERE, *PLANNED} <= commands
    assert "bash run.sh test " in (HOME / "run.sh").read_text(encoding="utf-8")
    assert README.count("```python") == 2  # tests/test_public.py runs them


def test_pictures_of_the_pages_are_there_and_small() -> None:
    pages = [page.read_text(encoding="utf-8") for page in sorted((HOME / "docs").glob("*.md"))]
    named = re.findall(r"!\[[^]]+\]\((.*?)\)", "".join(pages))
    made = {path.name for path in (HOME / "docs" / "pictures").iterdir()}
    assert {Path(name).name for name in named} == made
    assert all((HOME / "docs" / name).stat().st_size < 150_000 for name in named)


def test_pictures_of_partial_bodies_are_what_is_done_to_them_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME / "docs"))
    pictures = importlib.import_module("partial_pictures")
    for name in ("geometries", "crops"):
        kept = cv2.imread(str(HOME / "docs" / "pictures" / f"{name}.webp"))
        made = getattr(pictures, name)()[:, :, ::-1]
        assert kept is not None and kept.shape == made.shape
        assert np.abs(kept.astype(int) - made).mean() < 3, f"{name}: python docs/partial_pictures.py"


def test_the_tutorials_loss_can_be_trained_with(monkeypatch: pytest.MonkeyPatch) -> None:
    (written_out,) = re.findall(r"^```python\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(written_out, "tutorial.md", "exec"), names)
    monkeypatch.setitem(losses.METRIC_LOSSES, "spread", names["Spread"])
    monkeypatch.setitem(training.METRIC_LOSSES, "spread", ())
    assert "more_losses: [{name: spread, weight: 0.1}]" in TUTORIAL
    assert training.Loss(name="spread", weight=0.1).weight == 0.1
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = [0, 0, 1, 1, 2, 2]
    loss = losses.build_metric("spread", 3, 5)(rows, torch.tensor(labels))
    pairs = [
        torch.cosine_similarity(rows[i], rows[j], dim=0)
        for i in range(6) for j in range(6) if labels[i] != labels[j]
    ]  # fmt: skip
    assert loss.item() == pytest.approx(sum(pair.item() for pair in pairs) / len(pairs), abs=1e-6)
    loss.backward()
    assert rows.grad is not None and rows.grad.abs().sum() > 0
