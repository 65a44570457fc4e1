"""The plan counts what there is and multiplies it by what was measured; here with measurements made up."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from naic_reid import cli
from naic_reid import config as settings
from naic_reid.models.embedder import Embedder
from naic_reid.models.weights import Checkpoint
from naic_reid.tools import plan, samples
from naic_reid.tools.samples import Cost
from tests.faults.world import one_model
from tests.tools import house
from tests.walk import tiny_world


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(tiny_world()))
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """See `cheaply`."""
    return cheaply(monkeypatch)


def cheaply(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Measurements that cost nothing and say a second for everything; what was asked."""
    asked: list[tuple[str, Any]] = []
    monkeypatch.setattr(samples, "start", lambda module: samples.Start(1.0, 10**8))
    monkeypatch.setattr(samples, "look", lambda data, paths: asked.append(("look", len(paths))) or 0.01)
    monkeypatch.setattr(samples, "rank", lambda num, dimension, rerank: (2.0, 1.0))
    monkeypatch.setattr(samples, "drawing", lambda: 0.5)
    monkeypatch.setattr(plan.machine, "gpus", lambda: [])

    def network(config: Any, model: Any, data: Path, paths: list[str], classes: int) -> samples.Network:
        asked.append(("network", classes))
        assert all((data / path).is_file() for path in paths)
        return samples.Network(Cost(0.1, 0.15), 0.03, 2.0, Cost(0.02, 0.03), 10**7, 10**9, 4_000_000, 512)

    monkeypatch.setattr(samples, "network", network)
    return asked


def test_a_toy_is_counted_as_the_toy_step_draws_it(config: Path, tmp_path: Path) -> None:
    loaded = settings.load(config)
    (tmp_path / "some").mkdir()
    some = plan.drawn(loaded, tmp_path / "some")
    data = ["--folder", str(tmp_path / "MyDataSet"), "--truth", str(tmp_path / "truth.csv")]
    assert cli.main(["toy", "--config", str(config), *data]) == 0
    every = plan.found(loaded, tmp_path / "MyDataSet")
    assert some.labels == every.labels
    assert some.domains == every.domains
    assert sum(queries for queries, _ in every.domains.values()) == 12
    assert abs(len(some.paths) - len(every.paths)) < 64


def test_every_step_has_a_line_and_the_sums_follow(
    config: Path,
    measured: list[tuple[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli.main(["plan", "--config", str(config), "--cores", "2"]) == 0
    printed = capsys.readouterr().out
    for step in (
        "toy",
        "collect",
        "split",
        "train",
        "extract",
        "search",
        "rerank",
        "fuse",
        "evaluate",
        "card",
    ):
        assert step in printed
    assert "plan: about " in printed
    assert {what for what, _ in measured} == {"look", "network"}
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
    assert cli.main(["plan", "--config", str(config), "--cores", "2"]) == 1


def test_a_training_lasts_as_long_as_its_steps(
    config: Path, tmp_path: Path, measured: list[tuple[str, Any]]
) -> None:
    raw = tiny_world()
    (name,) = raw["models"]
    seconds, busy = {}, {}
    for epochs in (2, 4):
        raw["train"]["epochs"] = epochs
        config.write_text(yaml.safe_dump(raw))
        loaded = settings.load(config)
        data = plan.drawn(loaded, tmp_path)
        steps = {step.name: step for step in plan.estimated(loaded, data, 2)}
        seconds[epochs] = steps[f"train {name}"].seconds
        busy[epochs] = steps[f"train {name}"].busy
    # Two steps of 16 images in each of the two more epochs, a tenth of a second for each image.
    assert seconds[4] - seconds[2] == pytest.approx(2 * 2 * 16 * 0.1)
    assert busy[4] - busy[2] == pytest.approx(2 * 2 * 16 * 0.15)
    # A start, the longer first step, and every image read once.
    assert seconds[2] == pytest.approx(1 + plan._SNAKEMAKE + 2 + 2 * 2 * 16 * 0.1)
    assert busy[2] - seconds[2] == pytest.approx(0.03 * min(64, len(set(data.paths))) + 2 * 2 * 16 * 0.05)


def loaded_of(raw: dict[str, Any], config: Path) -> settings.Config:
    config.write_text(yaml.safe_dump(copy.deepcopy(raw)))
    return settings.load(config)


def steps_of(loaded: settings.Config, data: plan.Data) -> dict[str, plan.Step]:
    return {step.name: step for step in plan.estimated(loaded, data, 2)}


def test_the_report_counts_its_pictures_and_where_the_network_looked(
    config: Path, tmp_path: Path, measured: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"naic_reid.stages.train": 3.0}  # of a step that loads torch, as a report does for its heat
    monkeypatch.setattr(samples, "start", lambda module: samples.Start(seconds.get(module, 1.0), 10**8))
    words = {heat: {"report": {"queries": 5, "best": 9, "heat": heat}} for heat in (0, 2, 7)}
    loaded = {heat: loaded_of(tiny_world() | word, config) for heat, word in words.items()}
    data = plan.drawn(loaded[0], tmp_path)
    page = {heat: steps_of(one, data) for heat, one in loaded.items()}
    begun = 1 + plan._SNAKEMAKE + 5 * 0.5 + 0.01 * 5 * 10  # five drawings, ten pictures of five queries
    expected = {0: begun, 2: begun + 2 + 0.03 * 2 * 10, 7: begun + 2 + 0.03 * 5 * 10}
    assert {heat: steps["report"].seconds for heat, steps in page.items()} == pytest.approx(expected)
    assert page[2]["report"].memory - page[0]["report"].memory == 10**7
    assert "report" not in steps_of(loaded_of(tiny_world(), config), data)


def test_partial_bodies_are_a_domain_as_large_as_the_one_that_is_cut(
    config: Path, tmp_path: Path, measured: list[tuple[str, Any]]
) -> None:
    raw = tiny_world()
    rule = raw["rerank"]["all"]
    raw |= {"holdout": raw["holdout"] | {"share": 0.25}, "rerank": {"all": rule, "holdout": dict(rule)}}
    whole = loaded_of(raw, config)
    raw |= {"cut": {"legless": {"of": "holdout"}}, "rerank": raw["rerank"] | {"legless": dict(rule)}}
    cut = loaded_of(raw, config)
    data = plan.drawn(whole, tmp_path), plan.drawn(cut, tmp_path)
    sizes = data[1].domains
    assert sizes.keys() == {"all", "holdout", "legless"}
    assert sizes["legless"] == sizes["holdout"] and sizes["holdout"][0] == 0.25 * len(data[1].labels)
    plain, with_cut = steps_of(whole, data[0]), steps_of(cut, data[1])
    images = sum(sizes["legless"])
    assert with_cut["extract"].seconds - plain["extract"].seconds == pytest.approx(0.02 * images)
    assert [with_cut[name].jobs - plain[name].jobs for name in ("search", "fuse")] == [1, 1]
    looks = with_cut["split, tests"].busy - plain["split, tests"].busy
    assert looks == pytest.approx(0.01 * images)


def test_trainings_share_the_processors_and_other_steps_follow_each_other() -> None:
    def whole(cores: int, side: int, *trained: Cost) -> plan.Whole:
        steps = [
            plan.Step(f"train {n}", 1, cost, memory=n + 1, cores=cores) for n, cost in enumerate(trained)
        ]
        others = [plan.Step("search", 4, Cost(3, 5), side_by_side=2, memory=1, cores=cores)]
        return plan.Whole([*steps, *others], side)

    one = whole(2, 2, Cost(10, 12), Cost(2, 3), Cost(2, 3))
    assert one.seconds == 10 + 10  # the longest; four searches of five core seconds on two cores
    assert one.busy == 18 + 20
    assert one.memory == 3 + 2
    assert whole(8, 2, Cost(10, 12), Cost(2, 3)).seconds == 10 + 6  # two searches after each other
    assert whole(1, 1, Cost(10, 12), Cost(2, 3)).seconds == 15 + 20  # reading takes the one processor as well
    assert whole(8, 1, Cost(10, 12), Cost(2, 3)).seconds == 12 + 6  # one after the other


def test_what_is_not_there_is_named(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tiny_world()
    del raw["toy"]
    config.write_text(yaml.safe_dump(raw))
    assert cli.main(["plan", "--config", str(config), "--data", str(tmp_path)]) == 2
    assert "no such label list" in capsys.readouterr().err


@pytest.mark.parametrize(("scales", "views"), [((1,), 2), ((1, 1.1, 0.9), 6)])
def test_every_scale_of_an_extraction_is_measured(
    scales: tuple[float, ...], views: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = house.photos(tmp_path, 1, 2)
    seen: list[int] = []
    forward = Embedder.forward
    monkeypatch.setattr(
        Embedder, "forward", lambda self, images: seen.append(len(images)) or forward(self, images)
    )
    model = Checkpoint.read(house.model(tmp_path / "model.pt"))
    seen.clear()
    samples._extraction(model, settings.Extract(scales=scales), tmp_path, names)
    assert seen == [2] * (2 * views)  # once to warm up


def test_of_steps_that_see_more_the_share_is_counted(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = one_model()
    raw["train"]["adversarial"] = {"every": 5, "levels": 1}
    raw["train"]["unlabelled"] = {"images": "none", "after": 0}
    config.write_text(yaml.safe_dump(raw))
    loaded = settings.load(config)
    steps = samples._Steps._steps
    taken: list[int] = []
    seconds = {"": [3.0, 1.0, 1.0], "attacked": [61.0], "views": [20.0]}

    def counted(self: Any, more: str = "") -> list[float]:
        taken.append(len(steps(self, more)))
        return seconds[more]

    monkeypatch.setattr(samples._Steps, "_steps", counted)
    monkeypatch.setattr(samples, "_alone", lambda function, *given: function(*given))
    data = plan.drawn(loaded, tmp_path)
    found = samples.network(loaded, next(iter(loaded.models.values())), tmp_path, data.paths, 12)
    assert taken[1:] == [1, 1]
    batch = loaded.train.adapted(next(iter(loaded.models.values())).recipe).batch
    assert found.step_image.alone * min(batch, 24) == pytest.approx(1 + 60 / 5 + (20 - 13), rel=0.01)


def test_one_network_is_measured_on_this_machine(config: Path, tmp_path: Path) -> None:
    config.write_text(yaml.safe_dump(one_model()))
    loaded = settings.load(config)
    data = plan.drawn(loaded, tmp_path)
    found = samples.network(loaded, loaded.models[next(iter(loaded.models))], tmp_path, data.paths, 12)
    assert found.dimension == 96
    for cost in (found.step_image, found.extract_image):
        assert 0 < cost.alone <= cost.busy
    assert found.read_image >= 0
    assert found.checkpoint_bytes > 4 * 300_000
    assert found.train_bytes > found.checkpoint_bytes
