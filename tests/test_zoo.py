"""FastReID's zoo: every row resolves to the constants of its published recipe, and the command tells them."""

from pathlib import Path

import pytest
import torch
import yaml

from naic_reid import cli, config, recipe, zoo
from naic_reid.errors import ReidError
from naic_reid.models import build
from tests.oracles import fastreid
from tests.oracles import zoo as oracle

PERSONS = [row for row in zoo.rows() if row.data in ("market1501", "dukemtmc", "msmt17")]


def _config(row: zoo.Row) -> config.Config:
    return config.parse(zoo.written(row), row.name)


def test_the_table_holds_every_published_row() -> None:
    assert len(PERSONS) == 39
    assert len(zoo.rows()) == len({row.name for row in zoo.rows()}) == 46
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


@pytest.mark.parametrize("row", [row for row in zoo.rows() if row not in PERSONS], ids=lambda row: row.name)
def test_vehicle_rows_have_their_own_size_batch_and_losses(row: zoo.Row) -> None:
    found = _config(row)
    model, train = found.models[row.method], found.train
    assert (model.height, model.width, model.pooling) == (256, 256, "gem_learnt")
    if row.data == "veri776":
        assert (train.optimizer, train.learning_rate, train.batch, train.epochs) == ("sgd", 0.01, 64, 60)
    else:
        assert (train.batch, train.epochs) == (512 if row.data.startswith("vehicleid") else 128, 60)
        assert train.schedule.milestones == (30, 50)
        assert train.metric_loss and train.metric_loss.name == "weighted_triplet_fastreid"


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
