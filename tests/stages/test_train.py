"""The train stage: what it writes, and what it survives."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch

from naic_reid import losses, models, recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import Features, ImageList, MadeBy
from naic_reid.config import Augment, Ensemble, Extract, Loss, Model, Schedule, Train
from naic_reid.data.batches import TrainingImages
from naic_reid.errors import ReidError
from naic_reid.models import heads
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import POOLINGS
from naic_reid.models.weights import Checkpoint, carry_classes
from naic_reid.stages import extract, train
from naic_reid.training import attack, resume
from naic_reid.training.average import Equal
from naic_reid.training.consistency import Consistency
from naic_reid.training.learner import Judgement, Learner, Term
from naic_reid.training.teacher import Teacher
from naic_reid.trajectory import Trajectory

MODEL = Model(backbone="timm/test_resnet", height=32, width=16, pooling="average")
TRAIN = Train(
    epochs=4, batch=8, learning_rate=0.02, head_learning_rate=0.05, precision="fp32",
    schedule=Schedule(warmup_epochs=1, milestones=(3,)), augment=Augment(pad=2),
    identity_loss=Loss(name="arcface", scale=16, margin=0.2),
)  # fmt: skip
ENSEMBLE = Ensemble(epochs=(4, 2))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine persons of five images, each a colour of their own in noise; listed in images.tsv."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    paths, identities = [], []
    for person in range(9):
        colour = rng.integers(40, 216, 3)
        for number in range(5):
            noise = rng.normal(0, 15, (40, 20, 3))
            path = f"{person}_{number}.png"
            cv2.imwrite(str(folder / path), np.clip(colour + noise, 0, 255).astype(np.uint8))
            paths.append(path)
            identities.append(f"toy/{person + 8}")  # 8 … 16: as text, 10 comes before 8
    ImageList(tuple(paths), tuple(identities)).write(folder / "images.tsv")
    return folder


def _run(
    world: Path,
    out: Path,
    settings: Train = TRAIN,
    model: Model = MODEL,
    *,
    scratch: Path | None = None,
    pretrained: tuple[Path, ...] = (),
    attributes: tuple[Path, ...] = (),
    ensemble: Ensemble = ENSEMBLE,
    **knobs: object,
) -> list[bytes]:
    paths = [out / f"epoch_{epoch}.pt" for epoch in ensemble.epochs]
    arguments: dict[str, object] = {"threads": 1, "device": "cpu", **knobs}
    train.run(
        7, settings, model, ensemble, data=world, scratch=scratch or out / "scratch",
        images=world / "images.tsv", unlabelled=[], pretrained=list(pretrained),
        attributes=list(attributes), checkpoints=paths, history=out / "history.jsonl", **arguments,  # type: ignore[arg-type]
    )  # fmt: skip
    return [path.read_bytes() for path in paths]


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """Outputs of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    return out, _run(world, out)


def _losses(out: Path) -> list[tuple[float, ...]]:
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["step"], line["loss"], line["rate"]) for line in lines]


def test_checkpoints_stand_in_the_ensembles_order_with_ranked_classes(
    whole: tuple[Path, list[bytes]],
) -> None:
    last, second = (Checkpoint.read(whole[0] / f"epoch_{epoch}.pt") for epoch in (4, 2))
    assert (last.epoch, second.epoch) == (4, 2)
    assert last.identities[:3] == ("toy/10", "toy/11", "toy/12")
    assert last.identities[-1] == "toy/9"
    assert last.made_by.stage == "train"
    embeddings, features, _ = last.embedder()(torch.zeros(2, 3, 32, 16))["whole"]
    assert embeddings.shape == features.shape


def test_training_makes_the_loss_smaller_at_the_configured_rates(whole: tuple[Path, list[bytes]]) -> None:
    lines = _losses(whole[0])
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)
    by_epoch = {epoch: [line for line in lines if line[0] == epoch] for epoch in (1, 2, 3, 4)}
    rates = [by_epoch[epoch][0][3] for epoch in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.0002, 0.02, 0.02, 0.002])
    first, last = (np.mean([line[2] for line in by_epoch[epoch]]) for epoch in (1, 4))
    assert last < 0.9 * first


def test_neither_workers_nor_another_scratch_change_a_bit(
    world: Path, whole: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    assert _run(world, tmp_path, workers=3, save_seconds=0) == whole[1]
    assert (tmp_path / "history.jsonl").read_bytes() == (whole[0] / "history.jsonl").read_bytes()


def test_a_finished_run_only_hands_over_its_files(
    world: Path, whole: tuple[Path, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_learn", None)
    assert _run(world, tmp_path, scratch=whole[0] / "scratch") == whole[1]


def test_another_choice_of_epochs_trains_nothing_that_was_trained(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(epochs=5, steps_per_epoch=1, checkpoint_every=2)
    first = _run(world, tmp_path, settings, ensemble=Ensemble(epochs=(3,)))
    monkeypatch.setattr(train, "_learn", None)
    other = _run(world, tmp_path, settings, ensemble=Ensemble(epochs=(5, 3, 2)))
    assert other[1] == first[0]
    assert [Checkpoint.read(tmp_path / f"epoch_{epoch}.pt").epoch for epoch in (5, 3, 2)] == [5, 3, 2]
    often = settings.model_copy(update={"checkpoint_every": 1})
    with pytest.raises(ReidError, match=r"epochs \[1\] were trained and not kept; kept are \[2, 3, 4, 5\]"):
        _run(world, tmp_path, often, ensemble=Ensemble(epochs=(1, 2)))


def test_an_epoch_that_an_unfinished_run_has_passed_is_refused_and_a_later_one_is_kept(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(epochs=5, steps_per_epoch=1, checkpoint_every=5)
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Asked, "flags", _stop_at(1))
        _run(world, tmp_path, settings, ensemble=Ensemble(epochs=(5,)))
    with pytest.raises(ReidError, match=r"epochs \[2\] were trained and not kept; kept are \[\].*delete"):
        _run(world, tmp_path, settings, ensemble=Ensemble(epochs=(2, 5)))
    _run(world, tmp_path, settings, ensemble=Ensemble(epochs=(4, 5)))
    assert Checkpoint.read(tmp_path / "epoch_4.pt").epoch == 4


def test_a_run_goes_on_from_a_step_that_is_not_finite_with_other_words_on_purpose(
    world: Path, tmp_path: Path
) -> None:
    settings = _settings(steps_per_epoch=3)
    forward = Learner.forward

    def spoilt(learner: Learner, images: torch.Tensor, labels: torch.Tensor) -> Judgement:
        judgement = forward(learner, images, labels)
        fifth = learner.embedder.get_buffer("branches.whole.neck.num_batches_tracked") == 5
        judgement.losses["arcface"] = judgement.losses["arcface"] / (0 if fifth else 1)
        return judgement

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "forward", spoilt)
        with pytest.raises(ReidError, match=r"changes: \[{epoch: 2, step: 2, learning_rate: …}\]"):
            _run(world, tmp_path / "on", settings)
    changes = [{"epoch": 2, "step": 2, "learning_rate": 0.001, "head_learning_rate": 0.001}]
    changed = _settings(steps_per_epoch=3, changes=changes)
    seen: list[int] = []

    def counted(learner: Learner, images: torch.Tensor, labels: torch.Tensor) -> Judgement:
        seen.append(len(images))
        return forward(learner, images, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "forward", counted)
        gone_on = _run(world, tmp_path / "on", changed)
    assert len(seen) == 4 * 3 - 4, "what was trained before the change is not trained again"
    assert _run(world, tmp_path / "new", changed) == gone_on
    histories = [(tmp_path / name / "history.jsonl").read_bytes() for name in ("on", "new")]
    assert histories[0] == histories[1]
    lines = [json.loads(line) for line in histories[0].splitlines()]
    assert [line["rate"] for line in lines[3:6]] == pytest.approx([0.02, 0.001, 0.001])
    assert [line.get("changed") for line in lines[3:6]] == [
        None, {"learning_rate": 0.001, "head_learning_rate": 0.001}, None
    ]  # fmt: skip
    record = json.loads(Checkpoint.read(tmp_path / "on/epoch_4.pt").made_by.settings)
    assert record["train"]["changes"][0]["learning_rate"] == 0.001
    assert "checkpoint_every" not in record["train"]


def test_a_change_takes_over_no_epoch_that_the_run_before_trained_beyond_its_saved_state(
    tmp_path: Path,
) -> None:
    changed = _settings(changes=[{"epoch": 3, "learning_rate": 0.001}])
    before, after = (Trajectory(tmp_path, 7, words, MODEL, {}, 1) for words in (_settings(), changed))
    for home in (before, after):
        home.path.mkdir()
    for name in ("epoch_1.pt", "epoch_3.pt", "history.jsonl"):
        (before.path / name).write_text("")
    resume.save(before.path / "state.pt", {"epoch": 1, "step": 1, "settings": before.trajectory})
    found = after.load(leads=True)
    assert found is not None and found["epoch"] == 1
    assert after.epochs() == [1]


def test_a_precision_can_change_within_a_run_which_resumes_to_the_same_bits(
    world: Path, tmp_path: Path
) -> None:
    model = Model(backbone="resnet18", height=64, width=32)
    # The first epoch has one step: what changes with its ninth changes with the next one's first.
    changes = [{"epoch": 1, "step": 9, "precision": "bf16"}]
    changed = _settings(precision="fp32", steps_per_epoch=1, changes=changes)
    whole = _run(world, tmp_path / "whole", changed, model)
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Asked, "flags", _stop_at(0))
        _run(world, tmp_path / "cut", changed, model)
    assert _run(world, tmp_path / "cut", changed, model) == whole
    plain = _settings(precision="fp32", steps_per_epoch=1)
    assert _run(world, tmp_path / "plain", plain, model) != whole
    told = (tmp_path / "whole/history.jsonl").read_text().splitlines()
    assert [json.loads(line).get("changed") for line in told] == [None, {"precision": "bf16"}, None, None]
    same = [_losses(tmp_path / name)[0] for name in ("whole", "plain")]
    assert same[0] == same[1]


def _start(world: Path, out: Path) -> "subprocess.Popen[str]":
    script = (
        "import logging, sys; from pathlib import Path; from tests.stages import test_train as t\n"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout)\n"
        "t._run(Path(sys.argv[1]), Path(sys.argv[2]), save_seconds=0)"
    )
    command = [sys.executable, "-c", script, str(world), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": "."})


def _wait_for_state(out: Path, process: "subprocess.Popen[str]", after: int) -> int:
    """The time stamp of a state newer than `after`; 0 when the run ended before."""
    while process.poll() is None:
        for state in out.glob("scratch/train/*/state.pt"):
            if (stamp := state.stat().st_mtime_ns) > after:
                return stamp
        time.sleep(0.001)
    return 0


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    world: Path, whole: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    stamp = 0
    for _ in range(3):
        with _start(world, tmp_path) as process:
            stamp = _wait_for_state(tmp_path, process, stamp)
            process.kill()
        assert stamp, "killed before the end"
    assert _run(world, tmp_path) == whole[1]
    assert _losses(tmp_path) == _losses(whole[0])


def test_a_run_asked_to_stop_saves_and_leaves_with_a_status(
    world: Path, whole: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    with _start(world, tmp_path) as process:
        assert _wait_for_state(tmp_path, process, 0)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, output
    assert "run again to go on" in output
    assert _run(world, tmp_path) == whole[1]


def test_a_batch_of_more_identities_than_there_are_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ReidError, match=r"train\.batch 64 is 32 identities of 2 images, and there are 9: at most 18"
    ):
        _run(world, tmp_path, TRAIN.model_copy(update={"batch": 64, "steps_per_epoch": 1}))


def test_one_identity_is_refused_with_the_remedy(world: Path, tmp_path: Path) -> None:
    ImageList(("0_0.png", "0_1.png"), ("a/1", "a/1")).write(tmp_path / "images.tsv")
    for name in ("0_0.png", "0_1.png"):
        (tmp_path / name).write_bytes((world / name).read_bytes())
    with pytest.raises(ReidError, match=r"1 identit.*lower holdout\.share"):
        _run(tmp_path, tmp_path / "out")


def test_an_unlabelled_list_is_refused(tmp_path: Path) -> None:
    ImageList(("a.png", "b.png"), ("", "x/1")).write(tmp_path / "images.tsv")
    with pytest.raises(ReidError, match=r"no identity for a\.png"):
        _run(tmp_path, tmp_path / "out")


def test_a_diverged_run_stops_and_names_its_images(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"not finite.*_\d\.png"):
        _run(world, tmp_path, TRAIN.model_copy(update={"learning_rate": 1e30}))


def test_a_step_that_is_not_finite_is_kept_whole_and_repeated_to_the_same_bits(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []
    forward = Learner.forward

    def spoilt(learner: Learner, images: torch.Tensor, labels: torch.Tensor) -> Judgement:
        judgement = forward(learner, images, labels)
        drawn = judgement.losses["arcface"] * (1 + torch.rand(()))
        steps.append((images, torch.stack([drawn, judgement.losses["weighted_triplet"]]).detach()))
        sixth = learner.embedder.get_buffer("branches.whole.neck.num_batches_tracked") == 6
        judgement.losses["arcface"] = drawn / 0 if sixth else drawn
        return judgement

    monkeypatch.setattr(Learner, "forward", spoilt)
    messages = []
    for _ in range(2):
        with pytest.raises(
            ReidError, match=r"step 6 \(total inf, arcface inf.*_\d\.png.*not_finite\.pt"
        ) as caught:
            _run(world, tmp_path)
        messages.append(str(caught.value))
    assert len(steps) == 7 + 2, "the second run begins with the step that failed in the first"
    assert messages[0] == messages[1]
    for first, second in zip(steps[5], steps[7], strict=True):
        assert torch.equal(first, second)

    (file,) = tmp_path.glob("scratch/train/*/not_finite.pt")
    kept = torch.load(file, weights_only=True)
    assert str(file) in messages[0]
    assert (kept["epoch"], kept["step"], len(kept["classes"])) == (0, 5, 9)
    listed = ImageList.read(world / "images.tsv").paths
    assert kept["paths"] == [listed[row] for row in kept["rows"].tolist()]
    assert all(path in messages[0] for path in kept["paths"])
    assert {"learner", "optimizer", "scale", "generators", "settings", "history"} <= kept.keys()


def test_half_precision_on_a_cpu_is_half_precision_and_the_log_says_what_it_costs(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A network whose last map is larger than its kernels: oneDNN's weight gradients need that.
    model = Model(backbone="resnet18", height=64, width=32)
    first = {}
    for word in ("fp32", "fp16", "bf16"):
        with caplog.at_level("INFO"):
            settings = _settings(epochs=1, steps_per_epoch=1, precision=word)
            _run(world, tmp_path / word, settings, model, ensemble=Ensemble(epochs=(1,)))
        assert ("fp16 is many times slower than bf16" in caplog.text) == (word != "fp32")
        first[word] = _losses(tmp_path / word)[0][2]
    away = {word: abs(first[word] / first["fp32"] - 1) for word in ("fp16", "bf16")}
    assert 0 < away["fp16"] < away["bf16"] < 0.02


def _settings(**changes: object) -> Train:
    return Train.model_validate({**TRAIN.model_dump(by_alias=True), "steps_per_epoch": 2, **changes})


def _weights(out: Path, epoch: int = 4) -> dict[str, torch.Tensor]:
    return dict(Checkpoint.read(out / f"epoch_{epoch}.pt").weights)


def test_every_word_of_the_recipe_works_together_and_resumes_to_the_same_bits(
    world: Path, tmp_path: Path
) -> None:
    settings = _settings(
        ema=0.9, clip=1.0, accumulate=2, channel_shuffles=1, optimizer="adamw", freeze=("backbone.conv1.*",),
        freeze_epochs=1, more_losses=[{"name": "center", "weight": 0.001}], cameras="_([0-9])",
        schedule={"kind": "cosine", "warmup_epochs": 1, "flat_epochs": 1, "each": "step"},
        augment={"rotation": 10, "scaling": 0.1, "policy": "augmix", "cmy": 0.1, "erasing_fill": "noise"},
        adversarial={"every": 2, "levels": 2}, unlabelled={"images": ".", "after": 0.1},
    )  # fmt: skip
    whole = _run(world, tmp_path / "whole", settings)
    assert len(Checkpoint.read(tmp_path / "whole" / "epoch_4.pt").identities) == 18
    rates = [line[3] for line in _losses(tmp_path / "whole")]
    assert rates == pytest.approx(
        [0.0002, 0.0101, 0.02, 0.02, 0.02, 0.02 * 0.853553, 0.01, 0.02 * 0.146447], 1e-4
    )
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Asked, "flags", _stop_at(2))
        _run(world, tmp_path / "cut", settings)
    state = torch.load(next(tmp_path.glob("cut/scratch/train/*/state.pt")), weights_only=True)
    assert (state["epoch"], state["step"]) == (2, 0)
    assert _run(world, tmp_path / "cut", settings) == whole
    assert (tmp_path / "cut/history.jsonl").read_bytes() == (tmp_path / "whole/history.jsonl").read_bytes()


def _stop_at(step: int) -> Callable[[train._Asked], torch.Tensor]:
    """Instead of `_Asked.flags`: asks to stop by SIGTERM with the step of that number."""
    numbers = itertools.count()
    return lambda asked: torch.tensor([0.0, float(next(numbers) == step), 0.0, 0.0])


def test_stripes_are_trained_with_the_rest_and_taken_into_the_features(world: Path, tmp_path: Path) -> None:
    model = Model(backbone="resnet18", height=64, width=32, stripes=2)
    _run(world, tmp_path, _settings(steps_per_epoch=5), model)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    first, last = (np.mean([line["stripes"] for line in part]) for part in (lines[:5], lines[-5:]))
    assert last < 0.98 * first
    assert lines[0]["loss"] == pytest.approx(
        sum(lines[0][name] for name in ("arcface", "weighted_triplet", "stripes")), rel=1e-5
    )
    gate = "branches.stripe_0.gate.weight"
    assert not torch.equal(_weights(tmp_path, 2)[gate], _weights(tmp_path, 4)[gate])
    extract.run(
        Extract(stripes_weight=0.5), data=world, images=[world / "images.tsv"],
        checkpoint=tmp_path / "epoch_4.pt", features=[tmp_path / "f.npz"], threads=1, device="cpu",
    )  # fmt: skip
    assert Features.read(tmp_path / "f.npz").values.shape == (45, 512 + 2 * 256)


def test_classes_of_known_identities_are_carried_over_with_the_neck(
    world: Path, whole: tuple[Path, list[bytes]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = ImageList.read(world / "images.tsv")
    renamed = tuple(identity.replace("toy/12", "new/1") for identity in listed.identities)
    ImageList(listed.paths, renamed).write(tmp_path / "images.tsv")
    for path in listed.paths:
        (tmp_path / path).symlink_to(world / path)
    still = _settings(learning_rate=1e-9, head_learning_rate=1e-9)
    model = MODEL.model_copy(update={"pretrained": "epoch_4.pt", "carry_classes": True})
    with caplog.at_level("INFO"):
        _run(tmp_path, tmp_path / "out", still, model, pretrained=(whole[0] / "epoch_4.pt",))
    assert "8 of 9 classes are carried over" in caplog.text
    old, new = Checkpoint.read(whole[0] / "epoch_4.pt"), Checkpoint.read(tmp_path / "out" / "epoch_4.pt")
    assert new.identities[0] == "new/1"
    for row, identity in enumerate(new.identities):
        rows = [old.classifier["weight"][old.identities.index(identity.replace("new/1", "toy/12"))],
                new.classifier["weight"][row]]  # fmt: skip
        assert torch.allclose(*rows, atol=1e-5) == (identity != "new/1"), identity
    torch.testing.assert_close(
        new.weights["branches.whole.neck.weight"], old.weights["branches.whole.neck.weight"]
    )
    restarted: list[bool] = []

    def told(learner: Learner, *batch: object, **more: object) -> Judgement:
        network = cast(Teacher, cast(Consistency, learner.consistency).teacher).network
        rows = network.get_parameter("judges.0.weight"), learner.classifier.get_parameter("weight")
        restarted.append(torch.equal(*rows))
        raise ReidError("seen")

    with pytest.raises(ReidError, match="seen"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "forward", told)
        taught = _settings(unlabelled={"images": ".", "after": 0})
        _run(world, tmp_path / "taught", taught, model, pretrained=(whole[0] / "epoch_4.pt",))
    assert restarted == [True], "a teacher begins as the network does, carried classes included"
    off = MODEL.model_copy(update={"pretrained": "epoch_4.pt"})
    _run(tmp_path, tmp_path / "off", still, off, pretrained=(whole[0] / "epoch_4.pt",))
    drawn = Checkpoint.read(tmp_path / "off" / "epoch_4.pt").classifier["weight"]
    assert not torch.allclose(drawn[1:], new.classifier["weight"][1:], atol=1e-5)


def test_classes_of_a_branch_that_is_not_there_are_refused_with_the_remedy(tmp_path: Path) -> None:
    options = Architecture(backbone="resnet18", height=80, width=32, reduction=256)
    embedder = models.build(options)
    classifier = losses.build_identity("linear", 2, 256)
    path = tmp_path / "whole.pt"
    Checkpoint.of(embedder, classifier, 1, ("a/0", "a/1"), options, MadeBy()).write(path)
    with torch.device("meta"):
        eight = models.build(Architecture(backbone="resnet18", height=80, width=32, head="mgn"))
    with pytest.raises(ReidError, match=r"whole\.pt: has no branch b1.*carry_classes: false"):
        carry_classes(classifier, eight, ("a/0",), path)


def test_a_file_without_classes_cannot_give_any(world: Path, tmp_path: Path) -> None:
    backbone = models.build(
        Architecture(backbone="timm/test_resnet", height=32, width=16, pooling="average")
    ).backbone
    torch.save(backbone.state_dict(), tmp_path / "published.pth")
    model = MODEL.model_copy(update={"pretrained": "published.pth", "carry_classes": True})
    with pytest.raises(ReidError, match=r"published\.pth: names no classes.*carry_classes: false"):
        _run(world, tmp_path, model=model, pretrained=(tmp_path / "published.pth",))


def test_a_models_own_words_train_as_if_they_stood_in_the_recipe(world: Path, tmp_path: Path) -> None:
    own = MODEL.model_copy(update={"recipe": {"learning_rate": 0.05, "augment": {"pad": 0}}})
    shared = TRAIN.adapted(own.recipe)
    assert (shared.learning_rate, shared.augment.pad) == (0.05, 0)
    assert _run(world, tmp_path / "own", model=own) == _run(world, tmp_path / "shared", shared)


def test_words_that_are_off_leave_no_trace_in_records() -> None:
    for section, words in (
        (MODEL, {"stripes", "carry_classes"}),
        (TRAIN, {"accumulate_to_fit", "cameras", "adversarial", "unlabelled"}),
        (Extract(), {"stripes_weight"}),
    ):  # fmt: skip
        assert not words & section.model_dump().keys()
    assert MODEL.model_copy(update={"stripes": 2}).model_dump()["stripes"] == 2


def test_attacked_steps_have_a_term_of_their_own_and_change_what_is_trained(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(world, tmp_path / "plain", _settings(steps_per_epoch=3))
    keys, drawn = [], attack.drawn
    monkeypatch.setattr(attack, "drawn", lambda shape, *key: keys.append(key) or drawn(shape, *key))
    _run(world, tmp_path / "attacked", _settings(steps_per_epoch=3, adversarial={"every": 2, "levels": 2}))
    assert len(keys) == len(set(keys)) == 8  # first steps of their own: two in each of four epochs
    plain, attacked = (
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("plain", "attacked")
    )
    assert [("adversarial" in line) for line in attacked] == [line["step"] in (1, 3) for line in attacked]
    first = attacked[0]
    assert first["arcface"] == plain[0]["arcface"]
    assert first["loss"] == pytest.approx(plain[0]["loss"] + 0.1 * first["adversarial"])
    assert first["adversarial"] != pytest.approx(first["arcface"], rel=1e-3)
    ended = [_weights(tmp_path / name) for name in ("plain", "attacked")]
    assert not torch.equal(*(weights["backbone.conv1.0.weight"] for weights in ended))


@pytest.mark.parametrize("form", ["teacher", "twin"])
def test_images_without_labels_are_learnt_from_in_their_epochs_and_the_run_resumes_to_the_same_bits(
    world: Path, tmp_path: Path, form: str
) -> None:
    unlabelled = {"images": ".", "after": 0.25, "form": form, "weight": 0.5}
    settings = _settings(steps_per_epoch=3, unlabelled=unlabelled)
    whole = _run(world, tmp_path / "whole", settings)
    lines = [json.loads(line) for line in (tmp_path / "whole/history.jsonl").read_text().splitlines()]
    assert [("unlabelled" in line) for line in lines] == [line["epoch"] > 2 for line in lines]
    last = lines[-1]
    terms = last["arcface"] + last["weighted_triplet"] + 0.5 * last["unlabelled"]
    assert last["loss"] == pytest.approx(terms) and last["unlabelled"] > 1e-4
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Asked, "flags", _stop_at(6))
        _run(world, tmp_path / "cut", settings, workers=2)
    state = torch.load(next(tmp_path.glob("cut/scratch/train/*/state.pt")), weights_only=True)
    assert (state["epoch"], state["step"]) == (2, 2)
    assert _run(world, tmp_path / "cut", settings) == whole
    assert (tmp_path / "cut/history.jsonl").read_bytes() == (tmp_path / "whole/history.jsonl").read_bytes()


def test_images_without_labels_that_are_not_there_are_refused_before_anything_is_trained(
    world: Path, tmp_path: Path
) -> None:
    with pytest.raises(ReidError, match=r"train\.unlabelled\.images: there is no .*/nowhere: name a folder"):
        _run(world, tmp_path, _settings(unlabelled={"images": "nowhere"}, epochs=10))
    assert list(tmp_path.iterdir()) == []


def test_other_images_without_labels_are_another_run_and_have_draws_of_their_own(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world, data)
    settings = _settings(unlabelled={"images": ".", "after": 0}, epochs=1)
    seeds, batches = set(), TrainingImages.batches
    monkeypatch.setattr(
        TrainingImages, "batches",
        lambda source, order, how, seed, *more, **options: (
            seeds.add(seed) or batches(source, order, how, seed, *more, **options)
        ),
    )  # fmt: skip
    for number in range(2):
        _run(data, tmp_path / "out", settings, ensemble=Ensemble(epochs=(1,)), scratch=tmp_path / "scratch")
        assert len(list((tmp_path / "scratch/train").iterdir())) == 1 + number
        shutil.copy(data / "0_0.png", data / "another.png")
    assert len(seeds) == 2


def test_a_moving_average_lies_between_where_training_began_and_ended(world: Path, tmp_path: Path) -> None:
    _run(world, tmp_path / "plain", _settings())
    _run(world, tmp_path / "average", _settings(ema=0.5))
    plain, average = (_weights(tmp_path / name) for name in ("plain", "average"))
    name = "branches.whole.neck.weight"
    assert not torch.equal(plain[name], average[name])
    early = _weights(tmp_path / "plain", 2)[name]
    assert (plain[name] - average[name]).norm() < (plain[name] - early).norm()


def test_the_equal_average_is_kept_of_its_epochs_and_training_goes_on_as_without_it(
    world: Path, tmp_path: Path
) -> None:
    _run(world, tmp_path / "plain", _settings(checkpoint_every=1), ensemble=Ensemble(epochs=(2, 3, 4)))
    settings = _settings(swa_epochs=2, checkpoint_every=1)
    products = set()
    settled = Equal.settled

    def told(average: Equal[Embedder], batches: Iterable[Sequence[torch.Tensor]]) -> Embedder:
        products.add(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        return settled(average, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Equal, "settled", told)
        whole = _run(world, tmp_path / "swa", settings, ensemble=Ensemble(epochs=(2, 3, 4)))
    assert products == {"ieee"}, "float32 is not TF32 in the average's statistics either"
    assert (tmp_path / "swa/history.jsonl").read_bytes() == (tmp_path / "plain/history.jsonl").read_bytes()
    plain = {epoch: _weights(tmp_path / "plain", epoch) for epoch in (2, 3, 4)}
    kept = {epoch: _weights(tmp_path / "swa", epoch) for epoch in (2, 3, 4)}
    assert all(torch.equal(plain[2][name], kept[2][name]) for name in plain[2])
    statistics = [name for name in kept[4] if "running" in name]
    for name in kept[4].keys() - {*statistics} - {n for n in kept[4] if "num_batches" in n}:
        torch.testing.assert_close(kept[4][name], (plain[3][name] + plain[4][name]) / 2, msg=name)
        assert torch.equal(kept[3][name], plain[3][name])
    assert not any(torch.equal(kept[3][name], plain[3][name]) for name in statistics)
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Asked, "flags", _stop_at(7))
        _run(world, tmp_path / "cut", settings, ensemble=Ensemble(epochs=(2, 3, 4)))
    assert _run(world, tmp_path / "cut", settings, ensemble=Ensemble(epochs=(2, 3, 4))) == whole


def test_kept_parameters_and_their_normalisation_stay_as_they_were(world: Path, tmp_path: Path) -> None:
    _run(world, tmp_path, _settings(freeze=("backbone.layer1.*",)))
    early, late = _weights(tmp_path, 2), _weights(tmp_path, 4)
    layer1 = [name for name in late if name.startswith("backbone.layer1.")]
    assert any("running_mean" in name for name in layer1)
    assert all(torch.equal(early[name], late[name]) for name in layer1)
    assert not torch.equal(early["backbone.layer2.0.conv1.weight"], late["backbone.layer2.0.conv1.weight"])


def test_too_little_memory_is_an_error_that_says_what_would_fit(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, most = Learner.forward, 3

    def small(learner: Learner, images: torch.Tensor, labels: torch.Tensor) -> Judgement:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(learner, images, labels)

    monkeypatch.setattr(Learner, "forward", small)
    with pytest.raises(ReidError, match=r"batch of 8 images at 32 × 16.*2 would fit.*accumulate to 4 \(or"):
        _run(world, tmp_path)
    # More images of a person than there are persons: what is tried shows none beyond the last class.
    most = 40
    many = _settings(batch=80, num_instances=40)
    with pytest.raises(ReidError, match=r"batch of 80 .*40 would fit.*accumulate to 2 \(or"):
        _run(world, tmp_path, many)


def test_a_batch_that_does_not_fit_is_cut_where_the_config_allows_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, allowed = _settings(accumulate=2), _settings(accumulate_to_fit=True)
    _run(world, tmp_path / "cut", cut)
    forward = Learner.forward
    seen: list[int] = []

    def small(learner: Learner, images: torch.Tensor, labels: torch.Tensor) -> Judgement:
        seen.append(len(images))
        judgement = forward(learner, images, labels)  # what it moves has to be taken back
        if len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return judgement

    monkeypatch.setattr(Learner, "forward", small)
    _run(world, tmp_path / "allowed", allowed)
    assert seen == [8] + [4] * 2 * 8
    expected, found = _weights(tmp_path / "cut"), _weights(tmp_path / "allowed")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_micro_batches_hold_all_images_of_two_identities_at_least() -> None:
    assert recipe.micro_batches(12, 2, 1) == [24, 12, 8, 6, 4]
    assert recipe.micro_batches(12, 4, 3) == [16, 12, 8]
    assert recipe.micro_batches(7, 2, 1) == [14]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("default")  # torch's own, about itself
def test_a_compiled_learner_judges_as_the_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", False)  # no trials of its instructions
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    torch.manual_seed(0)
    network = Embedder(torch.nn.Conv2d(3, 8, 3), heads.single(POOLINGS["gem"](), 8))
    judge = losses.build_identity("arcface", 4, 8)
    learner = Learner(network, [Term("arcface", network.identity_groups[0], judge)], [])
    images, labels = torch.randn(8, 3, 8, 4), torch.arange(8) // 2
    seen = []
    for judge in (learner, recipe.compiled(learner)):
        learner.zero_grad()
        judgement = judge(images, labels)
        sum(judgement.losses.values()).backward()
        seen.append(
            [*judgement.losses.values(), *(p.grad for p in learner.parameters() if p.grad is not None)]
        )
    torch.testing.assert_close(*seen, rtol=1e-4, atol=1e-5)
    assert list(tmp_path.rglob("*.so")), "something was compiled"


def test_without_a_compiler_compiling_is_refused_with_the_remedy(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ReidError, match=r"no no-such-compiler here.*leave --compiled out"):
        _run(world, tmp_path, compiled=True)


def _keeping_statistics(norm: torch.nn.Module, _mode: bool = True) -> torch.nn.Module:
    """Instead of a batch normalisation's `train`: statistics of a batch's halves are not the batch's."""
    return torch.nn.Module.train(norm, False)


TWICE = """
    def run(name, settings, port):
        t.os.environ.update(MASTER_PORT=port, TORCHELASTIC_USE_AGENT_STORE="False")
        t._run(world, here / name, settings)
    ports = (here / "ports").read_text().split()
    run("together", settings, ports[0])
    t.torch.nn.modules.batchnorm._BatchNorm.train = t._keeping_statistics
    run("thawing", t._settings(**t.THAWING), ports[1])
"""
THAWING = {"freeze": ("backbone.*",), "freeze_steps": 6, "optimizer": "sgd", "steps_per_epoch": 3}


def test_two_processes_follow_the_curve_of_one_and_one_of_them_writes(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = ("backbone.conv1.1.*", "backbone.conv1.4.*", "*.bn?.*", "*.downsample.2.*", "branches.*.neck.*")
    # By one level: the drawn step alone, for a slope of about 0 has another sign in another batch.
    adversarial = {"weight": 1.0, "every": 2, "levels": 1}
    settings = _settings(freeze=norms, optimizer="sgd", steps_per_epoch=3, adversarial=adversarial,
                         unlabelled={"images": ".", "after": 0, "form": "twin", "weight": 1.0})  # fmt: skip
    _run(world, tmp_path / "alone", settings)
    _ports(tmp_path, 2)
    _together(world, tmp_path, settings, TWICE)
    monkeypatch.setattr(torch.nn.modules.batchnorm._BatchNorm, "train", _keeping_statistics)
    _run(world, tmp_path / "thawing_alone", _settings(**THAWING))
    for one, two in (("alone", "together"), ("thawing_alone", "thawing")):
        alone, together = (_losses(tmp_path / name) for name in (one, two))
        assert [line[:2] for line in together] == [line[:2] for line in alone]
        assert [line[2] for line in together] == pytest.approx([line[2] for line in alone], rel=1e-4)
        assert alone[-1][2] != pytest.approx(alone[0][2], rel=0.02)
        expected, found = (_weights(tmp_path / name) for name in (one, two))
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4, msg=name)
    # What is kept for two epochs has gradients in a team, which no step takes; then it is trained.
    kept, begun, ended = (
        {name: weight for name, weight in _weights(tmp_path / run, epoch).items() if "conv" in name}
        for run, epoch in (("thawing_alone", 2), ("thawing", 2), ("thawing", 4))
    )
    assert all(torch.equal(kept[name], begun[name]) for name in kept)
    assert not any(torch.equal(begun[name], ended[name]) for name in kept if name.endswith("weight"))


def _ports(here: Path, number: int) -> None:
    """Write down free ports, one for each run of a team: a run's store would still hold its addresses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    (here / "ports").write_text(" ".join(str(s.getsockname()[1]) for s in sockets))
    for free in sockets:
        free.close()


def _together(world: Path, here: Path, settings: Train, work: str, status: int = 0) -> str:
    """Two processes do the work, in which `t` is this module; what they said to standard error."""
    (here / "settings.json").write_text(settings.model_dump_json(by_alias=True))
    (here / "team.py").write_text(
        "import torch; from pathlib import Path; from tests.stages import test_train as t\n"
        "torch.set_num_threads(1)\n"
        f"world, here = Path({str(world)!r}), Path({str(here)!r})\n"
        "settings = t.Train.model_validate_json((here / 'settings.json').read_text())\n"
        + textwrap.dedent(work)
    )
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(here / "team.py")],
        env=os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stderr


CUT = """
    drawn = []
    forward = t.Learner.forward
    def dropping(learner, images, labels):
        judgement = forward(learner, images, labels)
        share = torch.rand(())
        drawn.append(share.item())
        judgement.losses["arcface"] = judgement.losses["arcface"] * (1 + share)
        return judgement
    t.Learner.forward = dropping
    def run(name, port):
        t.os.environ.update(MASTER_PORT=port, TORCHELASTIC_USE_AGENT_STORE="False")
        return t._run(world, here / name, settings)
    ports = (here / "ports").read_text().split()
    whole = run("whole", ports[0])
    torch.save(drawn, here / f"drawn_{t.os.environ['RANK']}.pt")
    flags = t.train._Asked.flags
    t.train._Asked.flags = t._stop_at(2)
    try:
        run("cut", ports[1])
    except SystemExit as stopped:
        assert stopped.code == 128 + t.signal.SIGTERM
    t.train._Asked.flags = flags
    torch.manual_seed(99)
    assert run("cut", ports[2]) == whole
"""


def test_a_team_with_live_normalisation_an_average_and_micro_batches_resumes_to_the_same_bits(
    world: Path, tmp_path: Path
) -> None:
    _ports(tmp_path, 3)
    _together(world, tmp_path, _settings(ema=0.9, accumulate=2, clip=1.0), CUT)
    drawn = [torch.load(tmp_path / f"drawn_{rank}.pt", weights_only=True) for rank in range(2)]
    assert len(drawn[0]) == len(drawn[1]) == 2 * 8
    assert not set(drawn[0]) & set(drawn[1]), "each process drops other units"
    histories = [(tmp_path / name / "history.jsonl").read_bytes() for name in ("whole", "cut")]
    assert histories[0] == histories[1]


FULL = """
    import sys
    forward = t.Learner.forward
    count = 0
    def full(learner, images, labels):
        global count
        count += 1
        if count == 3 and t.os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(learner, images, labels)
    t.Learner.forward = full
    try:
        t._run(world, here / "out", settings)
    except t.ReidError as error:
        sys.exit(f"{error}")
"""


def test_a_full_memory_in_one_process_of_a_team_is_one_sentence_and_none_hangs(
    world: Path, tmp_path: Path
) -> None:
    said = _together(world, tmp_path, _settings(accumulate_to_fit=True, batch=16), FULL, status=1)
    assert "no memory for 8 images at once on cpu, in epoch 2, step 1 (CUDA out of memory)" in said
    assert "as process 2 of 2 (cpu): set train.accumulate to 2, or a smaller batch" in said
    assert "Aborted" not in said
    assert "mismatch" not in said
