"""FastReID's zoo: every row resolves to the constants of its published recipe, and the command tells them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from naic_reid import cli, config, recipe, zoo
from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.models import build, size
from naic_reid.training import optimizers
from tests.oracles import fastreid
from tests.oracles import zoo as oracle

ROWS = [row for row in zoo.rows() if not row.zoo]
PERSONS = [row for row in ROWS if row.data in ("market1501", "dukemtmc", "msmt17")]
VEHICLES = [row for row in ROWS if row not in PERSONS and row.method != "champion"]
TODAY = [zoo.row(f"{row.name}@head") for row in (*PERSONS, *VEHICLES)]
CHAMPION = "naic2020/champion/resnet34_ibn_a"


def _config(row: zoo.Row) -> config.Config:
    return config.parse(zoo.written(row), row.name)


def test_the_table_holds_every_published_row() -> None:
    assert len(PERSONS) == 39
    assert len(VEHICLES) == 7
    assert len(ROWS) == len({row.name for row in ROWS}) == 47
    best = zoo.row("msmt17/sbs/resnet101_ibn_a")
    assert (best.R1, best.mAP, best.mINP) == (84.8, 62.8, 16.3)
    assert zoo.row("vehicleid_small/bot/resnet50_ibn_a").published == "R1 86.6, R5 97.9"


@pytest.mark.parametrize("row", PERSONS, ids=[row.name for row in PERSONS])
def test_a_rows_constants_are_the_published_ones(row: zoo.Row) -> None:
    found = _config(row)
    model, train, method = found.models[row.method], found.train, row.method
    assert (model.backbone, model.last_stride, model.resize) == (row.backbone, 1, "bicubic")
    assert (model.height, model.width) == oracle.SIZES[method]
    assert (model.pooling, model.non_local) == (oracle.POOLING[method], oracle.NON_LOCAL[method])
    assert model.head == ("mgn_relu" if method == "mgn" else "single")
    assert not model.ceil_pool and not model.dilated
    assert (train.epochs, train.batch, train.num_instances) == (
        oracle.EPOCHS[method], oracle.BATCH, oracle.IMAGES_OF_A_PERSON[method],
    )  # fmt: skip
    assert (train.optimizer, train.learning_rate, train.weight_decay) == ("adam", oracle.RATE, oracle.DECAY)
    assert (train.bias_rate, train.sampler, train.precision) == (oracle.BIAS_RATE[method], "naive", "fp32")
    identity, metric = train.identity_loss, train.metric_loss
    assert metric is not None
    assert (metric.name, metric.margin, train.metric_on) == oracle.TRIPLET[method]
    assert (identity.name, identity.scale, identity.margin, identity.smoothing) == oracle.CLASSIFIER[method]
    assert identity.weight == metric.weight == 1
    assert (train.freeze_epochs, bool(train.freeze)) == (
        oracle.FROZEN_EPOCHS[method], oracle.FROZEN_EPOCHS[method] is not None,
    )  # fmt: skip
    augment = train.augment
    assert (augment.flip, augment.pad, augment.erasing, augment.erasing_fill) == (0.5, 10, 0.5, "zero")
    assert not any((augment.brightness, augment.contrast, augment.saturation, augment.hue))
    assert (found.extract.flip, found.extract.precision) == (False, "fp32")
    assert found.ensemble.epochs == (train.epochs,)


@pytest.mark.parametrize("method", oracle.RATES)
def test_rates_fall_where_the_published_ones_fall(method: str) -> None:
    train = _config(next(row for row in PERSONS if row.method == method)).train
    for epoch, rate in oracle.RATES[method].items():
        assert train.learning_rate * recipe.factor(train, epoch, 0, 200) == pytest.approx(rate, rel=2e-3)


@pytest.mark.parametrize("row", VEHICLES, ids=lambda row: row.name)
def test_vehicle_rows_have_their_own_size_batch_and_losses(row: zoo.Row) -> None:
    found = _config(row)
    model, train = found.models[row.method], found.train
    assert (model.pooling, train.sampler) == ("gem_learnt", "naive")
    if row.data == "veri776":
        _hold_veri(train, model.height, model.width)
        assert (train.freeze_epochs, train.schedule.warmup_epochs) == (10, 10)
        return
    size, batch, epochs, falls, biases = oracle.VEHICLES[row.data.partition("_")[0]]
    assert ((model.height, model.width), train.batch, train.epochs, train.schedule.milestones) == (
        size, batch, epochs, falls,
    )  # fmt: skip
    assert (train.bias_rate, train.optimizer, train.learning_rate) == (biases, "adam", oracle.RATE)
    assert train.metric_loss and train.metric_loss.name == "weighted_triplet_fastreid"


def _hold_veri(train: config.Train, height: int, width: int) -> None:
    expected = oracle.VERI
    assert (height, width, train.batch, train.epochs) == (256, 256, expected["batch"], expected["epochs"])
    assert (train.optimizer, train.learning_rate) == (expected["optimizer"], expected["rate"])
    assert train.learning_rate * train.schedule.floor == pytest.approx(expected["end"])
    group = optimizers.build("sgd", {"body": ([nn.Parameter(torch.ones(1))], 0.01)}, 5e-4).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (expected["momentum"], False)


@pytest.mark.parametrize("row", TODAY, ids=[row.name for row in TODAY])
def test_a_rows_constants_are_those_of_todays_code(row: zoo.Row) -> None:
    found, first = _config(row), _config(replace(row, today=False))
    model, train, method = found.models[row.method], found.train, row.method
    vehicles, data = row in TODAY[len(PERSONS) :], row.data.partition("_")[0]
    of_bot = method == "bot" and vehicles
    assert model.pooling == ("gem" if of_bot else oracle.TODAY_POOLING[method])
    resnest = model.backbone == "resnest50"
    assert (model.ceil_pool, model.dilated) == (not resnest, resnest)
    assert model.non_local == (oracle.NON_LOCAL[method] and not resnest)
    assert model.head == ("mgn" if method == "mgn" else "single")
    assert (train.precision, train.bias_rate, found.extract.precision) == ("fp16", 1, "fp32")
    warm = oracle.TODAY_WARM_UP.get(data, 2000)
    schedule = train.schedule
    assert (schedule.warmup_steps, schedule.warmup_epochs, schedule.warmup_factor) == (warm, 0, 0.1)
    steps = oracle.TODAY_FROZEN_STEPS[method]
    assert (train.freeze_steps, train.freeze_epochs) == (3000 if data == "veri776" else steps, None)
    augment = train.augment
    assert (augment.policy, augment.policy_share) == oracle.TODAY_POLICY[method]
    assert (augment.erasing, augment.erasing_fill, augment.erasing_draws) == (0.5, "zero", "torchvision")
    if data == "veri776":
        _hold_veri(train, model.height, model.width)
        assert (train.sampler, train.cameras) == ("balanced", "known")
    if data == "veriwild":
        assert (train.batch, train.epochs, schedule.milestones) == (512, 120, (30, 70, 90))
    if not vehicles:
        same = ("epochs", "batch", "num_instances", "optimizer", "learning_rate", "weight_decay", "sampler")
        same += ("identity_loss", "metric_loss", "metric_on")
        assert all(getattr(train, word) == getattr(first.train, word) for word in same)
        assert (model.height, model.width, schedule.milestones) == (
            *oracle.SIZES[method], first.train.schedule.milestones,
        )  # fmt: skip


@pytest.mark.parametrize("data", oracle.TODAY_FALLS)
def test_todays_milestones_count_from_the_end_of_the_warm_up(data: str) -> None:
    train = _config(next(row for row in TODAY if row.data == data and row.method == "bot")).train
    steps, falls = oracle.TODAY_FALLS[data]
    for epoch in range(-(-train.schedule.warmup_steps // steps), train.epochs):
        expected = 0.1 ** sum(epoch >= over for over in falls)
        assert recipe.factor(train, epoch, 0, steps) == pytest.approx(expected), epoch
    warm = train.schedule.warmup_steps
    for step in (0, 1, steps, warm - 1, warm):
        expected = 0.1 * (1 - step / warm) + step / warm
        assert recipe.factor(train, *divmod(step, steps), steps) == pytest.approx(expected)


def test_todays_cosine_is_the_published_one() -> None:
    train = _config(zoo.row("market1501/sbs/resnet50@head")).train
    for epoch, rate in oracle.TODAY_COSINE.items():
        warm = 0.1 if epoch == 1 else 1
        assert train.learning_rate * recipe.factor(train, epoch - 1, 0, 202) == pytest.approx(
            warm * rate, rel=1e-4
        )


def test_the_winners_recipe_of_naic_2020_is_a_row() -> None:
    row = zoo.row(CHAMPION)
    found = _config(row)
    model, train, schedule = found.models["champion"], found.train, found.train.schedule
    assert (row.R1, row.mAP) == (75.61, 70.07)
    assert (model.height, model.width, model.pooling, model.ceil_pool) == (256, 128, "gem", True)
    assert (train.epochs, train.batch, train.num_instances, train.sampler) == (30, 256, 2, "naive")
    assert (train.learning_rate, train.weight_decay, train.bias_rate) == (7e-4, 5e-4, 1)
    assert (schedule.warmup_steps, schedule.warmup_factor, schedule.flat_epochs) == (4000, 0.1, 5)
    assert train.learning_rate * schedule.floor == pytest.approx(7e-7)
    assert (train.freeze, train.freeze_steps, train.metric_on) == (("backbone.*",), 1000, "feature")
    identity, metric = train.identity_loss, train.metric_loss
    assert (identity.name, identity.scale, identity.margin, identity.smoothing) == ("circle", 64, 0.35, 0)
    assert metric is not None and identity.weight == metric.weight == 1
    assert (metric.name, metric.scale, metric.margin) == ("pairwise_cosface", 64, 0.35)
    augment = train.augment
    assert (augment.policy, augment.policy_share, augment.erasing_fill) == ("augmix", 0.5, "black")
    assert (augment.brightness, augment.contrast, augment.saturation, augment.jitter) == (0.15, 0.1, 0, 0.5)
    assert (train.channel_shuffles, found.dedupe.min_images, train.precision) == (1, 2, "fp32")
    assert found.split is not None and found.split.domains == ("all",)
    rerank = found.rerank["all"]
    assert (rerank.k1, rerank.k2, rerank.lambda_) == (20, 3, 0.8)
    with pytest.raises(ReidError, match="no row naic2020/champion/resnet34_ibn_a@head"):
        zoo.row(f"{CHAMPION}@head")


@pytest.mark.parametrize("method", ["bot", "agw", "sbs", "mgn"])
def test_a_methods_network_is_judged_by_its_losses_with_the_published_weights(method: str) -> None:
    row = next(row for row in PERSONS if row.method == method and row.backbone == "resnet50_ibn_a")
    found = _config(row)
    model = found.models[method].model_copy(update={"height": 96, "width": 32})
    torch.manual_seed(1)
    network = build(model)
    learner = recipe.learner(found.train, network, 4)
    judged = learner.train()(torch.randn(4, 3, 96, 32), torch.tensor([0, 0, 1, 1]))
    identity, metric = found.train.identity_loss.name, oracle.TRIPLET[method][0]
    assert set(judged.losses) == {identity, metric}
    assert all(torch.isfinite(loss) for loss in judged.losses.values())
    weights = [group.weight for group in network.identity_groups]
    assert weights == pytest.approx([1 / 8] * 8 if method == "mgn" else [1])
    assert [group.weight for group in network.metric_groups] == pytest.approx(
        [1 / 5] * 5 if method == "mgn" else [1]
    )
    rates = {
        group["group"]: group["base_rate"] for group in recipe.optimizer(found.train, learner).param_groups
    }
    assert rates["body"] == pytest.approx(3.5e-4)
    assert rates["body biases"] == pytest.approx(3.5e-4 * oracle.BIAS_RATE[method])


def test_a_rows_config_states_its_published_scores_for_the_card() -> None:
    stated = _config(zoo.row("market1501/sbs/resnet50_ibn_a")).published
    assert {name: (one.R1, one.mAP, one.mINP) for name, one in stated.items()} == {
        "market1501": (95.7, 89.3, 67.5)
    }
    assert _config(zoo.row("vehicleid_small/bot/resnet50_ibn_a")).published["vehicleid"].R5 == 97.9
    assert set(_config(zoo.row(CHAMPION)).published) == {"holdout"}
    wrong = zoo.settings(zoo.row(CHAMPION)) | {"published": {"market1501": {"R1": 1.0}}}
    with pytest.raises(ReidError, match=r"published.market1501 is no domain of this config \(all, holdout\)"):
        config.parse(yaml.safe_dump(wrong), "mine")


# Of the networks without neck and class rows, as counted from their published tensors.
SIZES = {"market1501/bot/resnet50": 23_508_032, "market1501/bot/resnest50": 25_434_240,
         "market1501/bot/resnet101_ibn_a": 42_500_160}  # fmt: skip


def test_sizes_in_the_table_are_those_of_the_networks() -> None:
    for name, body in SIZES.items():
        assert zoo.row(name).parameters == body + 2 * 2048  # and a neck
    for name in ("market1501/agw/resnet50", "market1501/mgn/resnet50_ibn_a", CHAMPION):
        row = zoo.row(name)
        found = size.of(Architecture.within(zoo.settings(row)["models"][row.method]))
        assert (row.parameters, row.GFLOPs) == (
            found.parameters, pytest.approx(found.multiplications / 1e9, abs=1e-3),
        )  # fmt: skip


def test_the_table_is_what_the_command_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = (zoo._HOME / "rows.csv").read_text(encoding="utf-8").splitlines()
    one = zoo.row("market1501/bot/resnet50")
    monkeypatch.setattr(zoo, "rows", lambda: [one])
    assert cli.main(["zoo", "--sizes"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        stored[0],
        next(line for line in stored if line.startswith("market1501,bot,resnet50,")),
    ]
    assert cli.main(["zoo", "--sizes", "market1501"]) == 2


def test_multiplications_are_those_counted_by_hand() -> None:
    """Of a ResNet-18 at 64 × 32 whose last stride is 1: the stem, and four layers of four convolutions."""
    places, inputs, total = (32, 16), 64, 64 * 7 * 7 * 3 * 32 * 16
    for width, stride in ((64, 2), (128, 2), (256, 2), (512, 1)):  # the first layer's is the max-pool's
        places = places[0] // stride, places[1] // stride
        shortcut = inputs * width if inputs != width else 0
        total += (9 * inputs * width + 3 * 9 * width * width + shortcut) * places[0] * places[1]
        inputs = width
    assert size.of(Architecture(backbone="resnet18", height=64, width=32)).multiplications == total


def test_what_was_measured_here_stands_under_the_table_as_small(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["zoo"]) == 0
    table, ours = capsys.readouterr().out.split("Measured here, small")
    assert "13.96" in table and "68.8" in table
    assert {one.method for one in zoo.measured()} >= {"bot", "agw", "sbs", "mgn"}
    assert all(one.network in ours for one in zoo.measured())


def test_the_command_prints_the_table_a_row_and_what_a_file_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["zoo"]) == 0
    assert "84.8" in capsys.readouterr().out
    assert cli.main(["zoo", "market1501", "sbs", "resnet50_ibn_a"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# market1501/sbs/resnet50_ibn_a: published R1 95.7, mAP 89.3, mINP 67.5")
    assert yaml.safe_load(text)["train"]["epochs"] == 60
    torch.save({"model": fastreid.single(1, ibn=True, names="zoo")}, tmp_path / "market_bot_R50-ibn.pth")
    assert cli.main(["zoo", "--check", str(tmp_path / "market_bot_R50-ibn.pth")]) == 0
    told = capsys.readouterr().out
    assert "resnet50_ibn_a" in told and "heads.classifier.weight" in told
    assert cli.main(["zoo", "market1501/sbs/resnet50-ibn"]) == 2
    assert "near: market1501/sbs/resnet50" in capsys.readouterr().err


def test_run_takes_a_row_and_keeps_a_config_that_was_changed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ["run", "--zoo", "market1501/bot/resnet50", "--into", str(tmp_path), "--show-config"]
    assert cli.main(asked) == 0
    (path,) = tmp_path.glob("zoo_*.yaml")
    assert capsys.readouterr().out == path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace("epochs: 120", "epochs: 121"), encoding="utf-8")
    assert cli.main(asked) == 0
    assert "epochs: 121" in capsys.readouterr().out
    assert cli.main([*asked, "--config", "toy"]) == 2


def test_a_row_that_is_none_is_answered_with_near_ones() -> None:
    with pytest.raises(ReidError, match=r"no row market1501/bott/resnet50; near: market1501/bot/resnet50"):
        zoo.row("market1501/bott/resnet50")
