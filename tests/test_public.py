"""What programs import: its names, what importing costs, and the README's examples."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import naic_reid
from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy
from naic_reid.models import build
from naic_reid.models.weights import Checkpoint

HOME = Path(__file__).parent.parent


def test_every_public_name_is_there_documented_and_in_the_readme() -> None:
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    assert set(naic_reid.__all__) <= set(dir(naic_reid))
    for name in naic_reid.__all__:
        assert getattr(naic_reid, name).__doc__, name
        assert re.search(rf"\b{name}\b", readme), name
    with pytest.raises(AttributeError, match="has no attribute 'zebra'"):
        naic_reid.zebra  # noqa: B018


def test_importing_the_package_loads_nothing_heavy_and_its_types_are_shipped() -> None:
    script = "import sys, naic_reid; print(*sorted({'torch', 'numpy', 'scipy', 'pydantic'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (HOME / "naic_reid" / "py.typed").exists()


def test_the_readmes_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(
        r"```python\n(from naic_reid import Extractor.*?)```", (HOME / "README.md").read_text(), re.S
    )
    architecture = Architecture(backbone="resnet18", height=32, width=16)
    torch.manual_seed(0)
    checkpoint = Checkpoint.of(build(architecture), torch.nn.Identity(), 20, (), architecture, MadeBy())
    monkeypatch.chdir(tmp_path)
    for path in re.findall(r'load\("(.*?)"', example):
        checkpoint.write(tmp_path / path)
    rng = np.random.default_rng(0)
    for number, path in enumerate(["photos/a.png", "photos/b.png", "photos/c.png", "asked.jpg"]):
        Path(path).parent.mkdir(exist_ok=True)
        cv2.imwrite(path, rng.integers(0, 255, (64 + number, 32, 3), np.uint8))
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out.split()
    assert printed[::2] == sorted(printed[::2], key=lambda name: float(printed[printed.index(name) + 1]))
    assert sorted(printed[::2]) == ["a.png", "b.png", "c.png"]
    (arrays,) = re.findall(
        r"```python\n(rows = extractor\.images.*?)```", (HOME / "README.md").read_text(), re.S
    )
    frame, other = (rng.integers(0, 255, (64, width, 3), np.uint8) for width in (32, 40))
    names |= {"frame": frame, "other": other}
    exec(compile(arrays, "README.md", "exec"), names)
    assert names["rows"].shape == (2, names["extractor"].dimension)
    assert np.array_equal(names["again"].images([frame, other]), names["extractor"].images([frame, other]))
