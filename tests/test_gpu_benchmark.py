"""The GPU campaign runs on a processor too, with no more installed than it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks import gpu
from tests.walk import HOME

ABSENT = (
    *("snakemake", "faiss", "matplotlib", "tensorboard", "pandas", "torchvision", "pytorch_metric_learning"),
    *("yaml", "pytest", "hypothesis", "timm"),
)

# Python reads this before anything else, in every process that is started with the folder on its path.
MISSING = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {ABSENT!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def _run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    (folder / "sitecustomize.py").write_text(MISSING)
    command = [
        sys.executable,
        str(HOME / "benchmarks" / "gpu.py"),
        "--small",
        "--out",
        str(folder / "gpu"),
        *words,
    ]
    environment = os.environ | {"PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_whole_campaign_runs_small_with_no_more_than_it_needs(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    figures = [row["figure"] for row in report["rows"]]
    assert not [row for row in report["rows"] if "failed" in row]
    for part in ("tests", "training", "extraction", "retrieval"):
        assert part in {row["part"] for row in report["rows"]}
    written = (tmp_path / "gpu.md").read_text()
    for figure in figures:
        assert figure in written
    for figure in ASKED:
        assert any(re.fullmatch(figure, each) for each in figures), figure
    assert "│ tests" in done.stdout


ASKED = (
    *(
        r"training, \S+ at \d+ × \d+, bf16",
        r"training, \S+ at \d+ × \d+, fp32",
        r"training of the reproduction, projected",
    ),
    *(r"waits of the host in a step", r"training through the loader at .*", r"extraction, .*, on the device"),
    *(r"extraction, .*, from files", r"search of .* rows", r"re-ranking of .* rows", r"fusion of .* rows"),
)
"""Figures that a campaign gives, whatever its sizes are."""


def test_what_is_measured_on_a_gpu_is_what_the_reproduction_needs() -> None:
    whole = gpu.WHOLE
    assert (whole.network, whole.shapes) == ("resnet101_ibn_b", ((256, 128), (384, 192), (480, 240)))
    assert (whole.batch, whole.words) == (224, ("fp16", "tf32", "fp32"))
    assert (whole.extracted, whole.extraction_batch, whole.images) == ("resnet50", 128, 19_281)
    assert [query + gallery for query, gallery in whole.rows] == [19_281, 160_000]
    assert sum(gpu.SECONDS.values()) < 9 * 60


def test_a_part_whose_time_is_over_is_ended_and_told(tmp_path: Path) -> None:
    """As a process of a part is: with a deadline that has passed, nothing is begun."""
    done = _run(tmp_path, "--part", "retrieval", "--until", "0")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    assert [row["left_out"] for row in rows] == ["no time was left"] * 2
    assert rows[1]["figure"] == "search, re-ranking and fusion of 300 rows"


def test_what_needs_a_gpu_is_where_the_campaign_looks() -> None:
    here = {
        path for path in (HOME / "tests").rglob("*.py") if re.search(r"pytest\.mark\.gpu\b", path.read_text())
    }
    assert here == {HOME / "tests" / "gpu" / "conftest.py"}
