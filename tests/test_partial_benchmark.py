"""The benchmark of partial persons: who asks whom, and which published numbers stand beside which of ours."""

import csv
import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from naic_reid import Extractor
from naic_reid.architecture import Architecture
from naic_reid.data import worlds
from tests.tools import house
from tests.walk import HOME

PLAIN = Architecture(backbone="resnet18", height=32, width=16)


@pytest.fixture
def partial(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HOME / "benchmarks"))
    return importlib.import_module("partial")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn Partial-REID, and networks that were never trained in the place of those that were."""
    folder = tmp_path_factory.mktemp("partial")
    worlds.drawn("partial_reid", folder)
    for seed in (0, 1):
        house.model(folder / f"models/whole_{seed}.pt", PLAIN, seed)
    return folder


def test_partial_queries_ask_all_shot_and_group_by_group(partial: ModuleType, place: Path) -> None:
    test = partial.Pictures.of_layout(place, "partial_reid")
    taken = partial.Taken(place / "models", test)
    rows = Extractor.load(place / "models/whole_0.pt", "cpu").images(test.pictures)
    kept = [
        (name.split("/")[0], *Path(name).stem.split("_"), row)
        for name, row in zip(test.names, rows, strict=True)
    ]
    asks = [one for one in kept if one[0] == "query"]
    searched = [one for one in kept if one[0] == "gallery"]

    def precision(
        query: tuple[str, str, str, np.ndarray], gallery: list[tuple[str, str, str, np.ndarray]]
    ) -> float:
        ranked = sorted(gallery, key=lambda one: float(1 - one[3] @ query[3]))
        hits = [at for at, one in enumerate(ranked, start=1) if one[1] == query[1]]
        return float(np.mean([(n + 1) / at for n, at in enumerate(hits)]))

    found = taken.scored(partial.Row("whole"), "all_shot", 0)
    assert found.precision == pytest.approx([precision(one, searched) for one in asks], abs=1e-6)
    groups = sorted({one[2] for one in kept})
    expected = [
        precision(one, [other for other in searched if other[2] == j])
        for i in groups for j in groups for one in asks if one[2] == i
    ]  # fmt: skip
    found = taken.scored(partial.Row("whole"), "groups", 0)
    assert found.precision == pytest.approx(expected, abs=1e-6) and len(groups) == 3


def test_rows_are_told_as_far_as_they_were_trained(partial: ModuleType, place: Path) -> None:
    test = partial.Pictures.of_layout(place, "partial_reid")
    taken = partial.Taken(place / "models", test)
    claims = [partial.Claim("same", 0, 0, "all_shot", -1), partial.Claim("other", 1, 0, "all_shot")]
    experiment = partial.Experiment("", [partial.Row("whole"), partial.Row("blank")], ("all_shot",), claims)
    lines = partial.run(experiment, ("all_shot",), taken, [0, 1, 2])
    assert lines[2].startswith("| whole | 0 1 | ") and lines[3] == "| blank | – | – |"
    assert (
        lines[-2] == "| same | +0.0 +0.0 | +0.0 … +0.0 | holds |" and lines[-1] == "| other | | | not run |"
    )
    one = partial.run(experiment, ("all_shot",), taken, [0])
    assert one[-2].endswith("| seen, one seed |")
    table = importlib.import_module("partial_zoo").zoo(taken, [0, 1])
    told = [line for line in table if line.startswith("| resize | Partial-REID")]
    scores = lines[2].split(" | ")[2].removesuffix(" |")
    assert told == [f"| resize | Partial-REID | 43.7 | 59.3 | – | whole | all_shot | {scores} | 0 1 |"]


def test_what_stands_for_a_published_row_names_one(partial: ModuleType) -> None:
    with (HOME / "benchmarks" / "reference_partial.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len({(row["family"], row["row"], row["set"]) for row in rows}) == len(rows)
    stands = importlib.import_module("partial_zoo").STANDS
    assert set(stands) <= {(row["family"], row["row"]) for row in rows}
    models = {*partial.TRAININGS}
    assert {row.model for row in stands.values()} <= models
    for experiment in partial.EXPERIMENTS.values():
        assert {row.model for row in experiment.rows} <= models
        assert all(max(claim.better, claim.worse) < len(experiment.rows) for claim in experiment.claims)
        assert {claim.asked for claim in experiment.claims} <= {*experiment.lists}
        assert {*experiment.families} <= {row["family"] for row in rows}
