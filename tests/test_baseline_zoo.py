"""The friendly baseline's zoo: rows have its constants; networks have the stated maps, train and export."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from naic_reid import Extractor, cli, config, zoo
from naic_reid.architecture import Architecture
from naic_reid.data.worlds import drawn
from naic_reid.errors import ReidError
from naic_reid.models import build, size, timm_backbone
from tests.oracles import baseline_zoo as oracle
from tests.test_zoo_rows import cut, trained

ROWS = [row for row in zoo.rows() if row.zoo]


def _config(row: zoo.Row) -> config.Config:
    return config.parse(zoo.written(row), row.name)


def test_every_published_row_is_there_with_its_numbers() -> None:
    assert {row.name: (row.R1, row.mAP) for row in ROWS} == {
        name: (rank1, precision) for name, (_, _, rank1, precision) in oracle.ROWS.items()
    }
    assert {row.name for row in ROWS if row.split == "train"} == {
        name for name, (split, *_) in oracle.ROWS.items() if split == "t"
    }


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_rows_constants_are_those_of_its_command_line(row: zoo.Row) -> None:
    flags = oracle.flags(oracle.ROWS[row.name][1])
    found = _config(row)
    (model,), train = found.models.values(), found.train
    epochs, batch = flags["total_epoch"], flags["batchsize"]
    assert (train.epochs, train.batch, train.sampler) == (epochs, batch, "shuffled")
    assert (train.head_learning_rate, train.learning_rate) == pytest.approx((flags["lr"], flags["lr"] / 10))
    assert (train.optimizer, train.nesterov) == ("sgd", True)
    assert (train.weight_decay, train.bias_rate) == (5e-4, 1)
    schedule = train.schedule
    assert (schedule.kind, schedule.milestones, schedule.gamma) == ("multistep", (2 * epochs // 3,), 0.1)
    assert schedule.warmup_epochs == flags["warm_epoch"]
    assert not schedule.warmup_epochs or (schedule.warmup_factor, schedule.warmup_on) == (0.1, "loss")
    augment = train.augment
    assert (augment.flip, augment.pad) == (0.5, 0 if "PCB" in flags else 10)
    assert augment.erasing == flags["erasing_p"] and (not augment.erasing or augment.erasing_fill == "zero")
    assert not any((augment.brightness, augment.contrast, augment.saturation, augment.hue))
    assert train.precision == ("fp16" if "fp16" in flags else "fp32")
    assert (train.identity_loss.name, train.identity_loss.smoothing) == ("linear", 0)
    assert train.metric_loss is None and train.metric_on == "feature"
    assert found.tests[row.data].rule == "market_trapezoid" and found.extract.flip
    _hold_losses(train, flags)
    _hold_model(model, row.backbone, flags)


def _hold_losses(train: config.Train, flags: dict[str, Any]) -> None:
    found = {
        loss.name: (loss.weight, loss.model_dump(include={"scale", "margin"}, exclude_none=True))
        for loss in train.more_losses
    }
    expected = {
        name: (1 / flags["batchsize"] if divided else 1, options)
        for flag, (name, options, divided) in oracle.LOSSES.items()
        if flag in flags
    }
    assert found == expected
    attack = train.adversarial and (train.adversarial.weight, train.adversarial.every)
    assert attack == ((flags["adv"], flags["aiter"]) if "adv" in flags else None)
    assert (train.unlabelled is not None) == ("DG" in flags)


def _hold_model(model: config.Model, backbone: str, flags: dict[str, Any]) -> None:
    name, shown, drop_path, _, _ = oracle.NETWORKS[backbone]
    pcb = "PCB" in flags
    assert (model.backbone, model.drop_path, model.dropout) == (name, drop_path, 0.5)
    assert (model.height, model.width) == ((384, 192) if pcb else shown)
    assert (model.head, model.reduction) == (("pcb", 0) if pcb else ("single", 512))
    assert (model.pooling, model.resize, model.usam) == ("average", "bicubic", "usam" in flags)
    stride = 1 if pcb else flags["stride"]
    if "resnet" in name:
        assert model.last_stride == stride
    elif "densenet" in name:
        assert (model.last_stride, model.transition_stride) == (None, stride)


@cache
def _settings(backbone: str, method: str = "baseline") -> dict[str, Any]:
    row = zoo.Row("market1501", method, backbone, None, None, None, None, 0, 0)
    whole = zoo.settings(row)
    assert set(whole["models"]) == {"baseline"}
    return whole


def _map(architecture: Architecture) -> tuple[int, tuple[int, int], int]:
    """Width and size of the last map, and the feature's width, by shapes alone."""
    with torch.device("meta"):
        network = build(architecture).eval()
        made = network.backbone(torch.empty(2, 3, architecture.height, architecture.width))
        made = made if network._as_map is None else network._as_map(made)
    return made.shape[1], tuple(made.shape[2:]), network.dimension


@pytest.mark.parametrize("backbone", oracle.NETWORKS)
def test_a_networks_map_is_the_stated_one(backbone: str) -> None:
    width, places = oracle.NETWORKS[backbone][3:]
    found = _map(Architecture.within(_settings(backbone)["models"]["baseline"]))
    assert found == (width, places, 512)


@pytest.mark.parametrize(
    ("backbone", "method", "places", "dimension"),
    [
        ("resnet50", "baseline+tricks+stride1", (16, 8), 512),
        ("densenet121", "baseline+tricks+transition1", (15, 7), 512),
        ("resnet50", "baseline+pcb+lr02", (24, 12), 6 * 2048),
    ],
)
def test_a_stride_of_one_keeps_the_stated_detail(
    backbone: str, method: str, places: tuple[int, int], dimension: int
) -> None:
    found = _map(Architecture.within(_settings(backbone, method)["models"]["baseline"]))
    assert found[1:] == (places, dimension)


def test_sizes_in_the_table_are_those_of_the_networks() -> None:
    row = zoo.row("market1501/baseline/densenet121")
    found = size.of(Architecture.within(_settings("densenet121")["models"]["baseline"]))
    assert (row.parameters, row.GFLOPs) == (
        found.parameters, pytest.approx(found.multiplications / 1e9, abs=1e-3),
    )  # fmt: skip
    # Bottleneck and neck of a ResNet-50's head, as the reference counts them.
    row = zoo.row("market1501/baseline/resnet50")
    assert row.parameters == 23_508_032 + 1_050_112


def test_the_command_counts_both_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["market1501/bot/resnet50", "market1501/baseline/resnet50", "dukemtmc/baseline/resnet50"]
    some = [zoo.row(name) for name in chosen]
    monkeypatch.setattr(zoo, "rows", lambda: some)
    assert cli.main(["zoo", "--sizes"]) == 0
    first, own = (
        (zoo._HOME / place / "rows.csv").read_text(encoding="utf-8").splitlines()
        for place in ("", "baseline")
    )
    assert capsys.readouterr().out.splitlines() == [
        *(line for line in first if line.startswith(("data,", "market1501,bot,resnet50,"))),
        *(line for line in own if line.startswith(("data,", "market1501,baseline,resnet50,", "dukemtmc"))),
    ]


# What is left of timm's own networks, so that a step takes no time: the same code, fewer blocks and channels.
SMALLER: dict[str, dict[str, Any]] = {
    "densenet121": {"block_config": (1, 1, 1, 1), "growth_rate": 8},
    "hrnet_w18": {},
    "tf_efficientnet_b4": {"pad_type": "same"},
    "convnext_base": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    "nasnetalarge": {"stem_size": 8, "num_features": 384},
    "swin_base_patch4_window7_224": {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2)},
    "swinv2_base_window8_256": {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2)},
    "vit_base_patch16_dinov3": {"embed_dim": 32, "depth": 2, "num_heads": 2},
}
SIBLINGS = {"tf_efficientnet_b4": "test_efficientnet"}
"""Whose numbers of blocks are no words of theirs: timm's smallest of the family stands for them."""


def _branches(count: int) -> dict[str, Any]:
    """A stage of an HRNet with as many resolutions."""
    channels = [4 << number for number in range(count)]
    return {
        "num_modules": 1, "num_branches": count, "block_type": "BASIC" if count > 1 else "BOTTLENECK",
        "num_blocks": [1] * count, "num_channels": channels, "fuse_method": "SUM",
    }  # fmt: skip


@pytest.fixture
def _smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    made = timm.create_model
    stages = {f"stage{count}": _branches(count) for count in (1, 2, 3, 4)}
    monkeypatch.setitem(timm.models.hrnet.cfg_cls, "hrnet_w18", {"stem_width": 8, **stages})

    def create(name: str, **words: Any) -> Any:
        return made(SIBLINGS.get(name, name), **words, **SMALLER[name])

    monkeypatch.setattr(timm_backbone.timm, "create_model", create)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "market1501"
    drawn("market1501", folder, height=64, width=32)
    return folder


LOSSES = "baseline+warm+erasing+contrast+circle"
TRAINED = [
    *((name, LOSSES, 512, {}) for name in oracle.NETWORKS if "resnet50" not in name),
    ("resnet50_ibn_a", LOSSES.replace("baseline", "baseline+usam"), 512, {"backbone": "resnet18_ibn_a"}),
    ("resnet50", "baseline+pcb+lr02", 6 * 512, {"backbone": "resnet18"}),
]


@pytest.mark.usefixtures("_smaller")
@pytest.mark.parametrize(
    ("backbone", "method", "dimension", "words"), TRAINED, ids=[case[0] for case in TRAINED]
)
def test_a_network_trains_two_steps_extracts_and_exports(
    backbone: str, method: str, dimension: int, words: dict[str, Any], world: Path, tmp_path: Path
) -> None:
    row = zoo.Row("market1501", method, backbone, None, None, None, None, 0, 0)
    settings = cut(row, height=64, width=32, **words)
    checkpoint = trained(settings, world, tmp_path / "c.pt")
    extractor = Extractor.load(checkpoint, device="cpu")
    assert extractor.files(sorted(world.rglob("*_c*"))[:3], workers=1).values.shape == (3, dimension)
    assert cli.main(["export", str(checkpoint), "--torch-export", str(tmp_path / "c.pt2")]) == 0


def test_pixels_that_fill_no_patches_are_refused() -> None:
    name = "timm/vit_base_patch16_dinov3"
    architecture = Architecture(backbone=name, height=250, width=128, pooling="average")
    with torch.device("meta"), pytest.raises(ReidError, match=rf"{name}: not at 250×128 pixels"):
        build(architecture)


def test_drop_path_skips_blocks_in_training_and_is_refused_where_there_are_none() -> None:
    build_at = partial(Architecture, height=64, width=32, pooling="average")
    torch.manual_seed(0)
    network = build(build_at(backbone="timm/convnext_atto", drop_path=0.9)).backbone
    images = torch.randn(2, 3, 64, 32)
    assert not torch.equal(network.train()(images), network(images))
    assert torch.equal(network.eval()(images), network(images))
    with pytest.raises(ReidError, match=r"timm/densenet121: has no drop_path: leave it out"):
        build(build_at(backbone="timm/densenet121", drop_path=0.2))
