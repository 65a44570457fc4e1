"""The shipped configs: they load, spell everything out, and name what exists."""

from pathlib import Path

import pytest
import yaml

from naic_reid import config
from naic_reid.losses import IDENTITY_LOSSES, METRIC_LOSSES

HOME = Path(__file__).parents[1]
CONFIGS = sorted((HOME / "configs").glob("*.yaml"))


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_those_that_the_readme_names() -> None:
    assert {path.stem for path in CONFIGS} == {"labelled", "naic2020", "partial", "quick", "small", "toy"}


def test_every_section_is_written_out(path: Path) -> None:
    loaded = config.load(path)
    assert (
        set(config.Config.model_fields) - {"toy", "split", "tests", "published", "cut"}
        <= loaded.model_fields_set
    )
    core = {
        "epochs",
        "batch",
        "num_instances",
        "optimizer",
        "learning_rate",
        "weight_decay",
        "precision",
    }
    assert core | {"schedule", "identity_loss", "metric_loss", "augment"} <= loaded.train.model_fields_set


def test_the_named_files_and_losses_exist(path: Path) -> None:
    loaded = config.load(path)
    if loaded.split:
        assert loaded.dedupe.wrong_labels is not None
        assert (HOME / loaded.dedupe.wrong_labels).is_file()
    assert loaded.train.identity_loss.name in IDENTITY_LOSSES
    assert loaded.train.metric_loss is None or loaded.train.metric_loss.name in METRIC_LOSSES


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem != "labelled"], ids=lambda p: p.stem)
def test_those_of_the_competition_read_the_same_four_sources_most_trusted_first(path: Path) -> None:
    loaded = config.load(path)
    assert [source.name for source in loaded.collect.sources] == ["2020fs", "2020cs", "2019fs", "2019cs"]
    assert set(loaded.dedupe.wrong_label_sources) == {"2019fs", "2019cs"}


def test_the_labelled_one_trains_and_tests_on_one_set_and_makes_no_submission() -> None:
    loaded = config.load(HOME / "configs/labelled.yaml")
    assert [source.layout for source in loaded.collect.sources] == ["market1501"]
    assert (loaded.competition, loaded.domains) == ((), ("market",))
    assert loaded.protocols["market"] == "market"


def test_only_the_toy_draws_its_images() -> None:
    assert [path.stem for path in CONFIGS if "toy" in yaml.safe_load(path.read_text())] == ["toy"]


def test_the_reproduction_is_the_published_one() -> None:
    loaded = config.load(HOME / "configs/naic2020.yaml")
    sizes = [(model.height, model.width) for model in loaded.models.values()]
    assert sizes == [(256, 128), (384, 192), (480, 240)]
    assert {model.backbone for model in loaded.models.values()} == {"resnet101_ibn_b"}
    assert {model.weight for model in loaded.models.values()} == {1.0}
    train = loaded.train
    assert (train.epochs, train.batch, train.num_instances) == (60, 224, 2)
    assert (train.optimizer, train.learning_rate, train.weight_decay) == ("ranger", 0.01, 5e-4)
    assert (train.schedule.warmup_epochs, train.schedule.warmup_factor) == (10, 0.01)
    assert (train.schedule.milestones, train.schedule.gamma) == ((25, 40), 0.1)
    assert (train.identity_loss.scale, train.identity_loss.margin) == (30, 0.4)
    assert train.metric_loss is not None
    assert (train.metric_loss.name, train.metric_loss.margin) == ("weighted_triplet", None)
    jitter = train.augment
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (0.5, 0.5, 0.5, 0.2)
    assert (jitter.flip, jitter.pad, jitter.erasing) == (0.5, 10, 0.2)
    assert loaded.ensemble.epochs == (40, 50)
    for rerank in loaded.rerank.values():
        assert (rerank.k1, rerank.k2, rerank.lambda_) == (30, 2, 0.8)
    assert loaded.fuse.best == 200
