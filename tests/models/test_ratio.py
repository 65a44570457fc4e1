"""Ratios: what is predicted, what teaches it, how taps follow in training and extraction, and collapse."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from naic_reid import Extractor, cli, models, recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import Features, ImageList
from naic_reid.config import Augment, Ensemble, Extract, Loss, Model, Ratio, Schedule, Train, load
from naic_reid.errors import ReidError
from naic_reid.losses import ratio as losses
from naic_reid.models import borders
from naic_reid.models.ratio import RatioPredictor, guarded, taps
from naic_reid.stages import extract, train
from naic_reid.training.learner import Learner
from tests.oracles import partial as oracle
from tests.tools import house
from tests.walk import HOME

MODEL = Architecture(backbone="resnet18", height=32, width=16, ratio=1)
FORMS = ("direct", "relative", "relative_log")


def _images(num: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(num, 3, 32, 16, generator=torch.Generator().manual_seed(seed))


def _predictor(steps: int = 1, output: str = "exp") -> RatioPredictor:
    torch.manual_seed(1)
    made = RatioPredictor(1, output, steps).eval()
    torch.nn.init.normal_(made.linear.weight, std=0.02)
    return made


class _Told(torch.nn.Module):
    """A predictor that says what it was told to, of whole images and then of crops."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers, self.left = list(answers), torch.zeros(())

    def forward(self, images: Tensor) -> Tensor:
        self.shown = images
        return self.answers.pop(0)

    def once(self, images: Tensor, seen_at: Tensor) -> Tensor:
        assert images is self.shown, "the crop is looked at again"
        return seen_at + self.left


@pytest.mark.parametrize("numbers", [(1.0, 1.7, 2.0), (0.4, 0.9, 1.5), (1.2, 1.2, 1.0)])
def test_losses_equal_their_formulas(numbers: tuple[float, float, float]) -> None:
    whole, part, change = (torch.tensor([number]) for number in numbers)
    for log, form in ((False, "relative"), (True, "relative_log")):
        found = losses.relative(whole.log(), part.log(), change, log=log)
        assert found.item() == pytest.approx(oracle.ratio_loss(*numbers, form), abs=1e-6)
    assert losses.anchor(whole.log(), log=False).item() == pytest.approx(
        0.01 * (numbers[0] - 1) ** 2, abs=1e-7
    )
    assert losses.anchor(whole.log(), log=True).item() == pytest.approx(
        0.01 * math.log(numbers[0]) ** 2, abs=1e-7
    )


@pytest.mark.parametrize("log", [False, True])
def test_scaling_all_ratios_moves_the_anchor_alone(log: bool) -> None:
    whole, part, change = torch.tensor([0.1, -0.2]), torch.tensor([0.5, 0.3]), torch.tensor([1.5, 2.0])
    before = losses.relative(whole, part, change, log=log)
    torch.testing.assert_close(losses.relative(whole + 0.7, part + 0.7, change, log=log), before)
    assert (losses.anchor(whole + 0.7, log=log) > losses.anchor(whole, log=log)).all()


def test_only_the_logarithmic_form_takes_a_change_and_its_inverse_alike() -> None:
    whole, part, change = torch.tensor([0.1]), torch.tensor([0.5]), torch.tensor([2.0])
    for log in (False, True):
        one = losses.relative(whole, part, change, log=log)
        other = losses.relative(-whole, -part, 1 / change, log=log)
        assert torch.allclose(one, other) == log


def test_a_constant_predictor_costs_the_mean_square_of_known_changes() -> None:
    torch.manual_seed(4)
    found = losses.Ratio("relative_log")(_Told(*[torch.zeros(64)] * 2), _images(64), None)
    torch.manual_seed(4)
    kept = (0.5 + (1.0833 - 0.5) * torch.rand(64)).clamp(max=1)
    assert found.item() == pytest.approx(kept.log().square().mean().item(), abs=1e-6)
    assert 0.05 < (kept == 1).float().mean() < 0.3


@pytest.mark.parametrize("form", FORMS)
def test_a_predictor_that_knows_costs_nothing_and_parts_that_are_shown_count(form: str) -> None:
    parts = torch.tensor([[0, 1.0, 1.0], [0, 0.5, 1.0], [0.5, 0.5, 0.8], [0, 0.8, 0.6]])
    torch.manual_seed(5)
    kept = (0.5 + (1.0833 - 0.5) * torch.rand(4)).clamp(max=1)
    right = (parts[:, 2] / parts[:, 1]).log()
    for off, cost in ((0.0, 0.0), (0.3, {"direct": 0.09, "relative": 0.01 * (math.exp(0.3) - 1) ** 2,
                                         "relative_log": 0.01 * 0.09}[form])):  # fmt: skip
        torch.manual_seed(5)
        told = _Told(right + off, right - kept.log() + off)
        found = losses.Ratio(form)(told, _images(4), parts)
        assert found.item() == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_both_sides_are_taught_each_by_its_own_change(form: str) -> None:
    parts = torch.tensor([[0, 1.0, 1.0], [0, 0.5, 0.8], [0, 1.0, 0.6]])
    torch.manual_seed(5)
    kept = torch.stack([(0.5 + (1.0833 - 0.5) * torch.rand(3)).clamp(max=1) for _ in range(2)], 1)
    right = -parts[:, 1:].log()
    across = torch.tensor([0.0, 0.3])  # an error of the horizontal stretch alone
    cost = {"direct": 0.09, "relative": 0.01 * (math.exp(0.3) - 1) ** 2, "relative_log": 0.01 * 0.09}[form]
    # The mean over both sides; of relative forms, over the three sides that are whole, one across.
    for off, expected in ((torch.zeros(2), 0.0), (across, cost / 2 if form == "direct" else cost / 3)):
        torch.manual_seed(5)
        told = _Told(right + off, right - kept.log() + off)
        assert losses.Ratio(form)(told, _images(3), parts).item() == pytest.approx(expected, abs=1e-6)


def test_the_cycle_is_what_is_left_to_tell() -> None:
    torch.manual_seed(6)
    plain = losses.Ratio()(_Told(torch.zeros(4), torch.full((4,), 0.2)), _images(4), None)
    torch.manual_seed(6)
    found = losses.Ratio(cycle=3.0)(_Told(torch.zeros(4), torch.full((4,), 0.2)), _images(4), None)
    assert (found - plain).item() == pytest.approx(3 * 0.04, abs=1e-6)


def test_crops_are_upper_rows_stretched_between_their_centres() -> None:
    images, kept = _images(3), torch.tensor([1.0, 0.5, 0.7])
    found = losses.cropped(images, kept)
    torch.testing.assert_close(found[0], images[0], atol=1e-5, rtol=0)
    for image, share, crop in zip(images, kept.tolist(), found, strict=True):
        for plane, made in zip(image.numpy(), crop.numpy(), strict=True):
            np.testing.assert_allclose(made, oracle.upper_part(plane, share), atol=2e-5)
    across = torch.tensor([0.75, 0.5, 1.0])
    both = losses.cropped(images, torch.stack((kept, across), 1))
    narrow = int(16 * 0.75)
    middle = images[:1, :, :, (16 - narrow) // 2 : (16 + narrow) // 2]
    stretched = torch.nn.functional.interpolate(middle, (32, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(both[0, :, :, 1:-1], stretched[0, :, :, 1:-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(both[2], found[2])


@pytest.mark.parametrize("output", ["exp", "linear"])
def test_at_first_every_image_has_about_one(output: str) -> None:
    torch.manual_seed(0)
    assert RatioPredictor(2, output).eval()(_images()).exp().tolist() == pytest.approx([1, 1], abs=0.05)


def test_a_linear_output_below_zero_is_a_small_ratio() -> None:
    predictor = RatioPredictor(1, "linear").eval()
    torch.nn.init.constant_(predictor.linear.bias, -1)
    assert predictor(_images()).exp().tolist() == pytest.approx([0.05, 0.05])


def test_steps_add_what_is_left_at_the_scale_so_far_and_all_are_taught() -> None:
    two, images = _predictor(2), _images()
    first = two.once(images, None)
    torch.testing.assert_close(two(images), first + two.once(images, first))
    assert (two.once(images, torch.full((2,), 0.6)) - first).abs().max() > 1e-4
    torch.testing.assert_close(two.once(images, torch.zeros(2)), first, atol=1e-5, rtol=0)
    loss = two(images).square().sum()
    (taught,) = torch.autograd.grad(loss, two.trunk[0].weight, retain_graph=True)  # type: ignore[arg-type]
    assert taught.abs().sum() > 0
    copy.deepcopy(two)  # which no graph that is left in it forbids
    cut = two.once(images, first.detach()) + first
    assert not torch.allclose(torch.autograd.grad(cut.square().sum(), two.trunk[0].weight)[0], taught)  # type: ignore[arg-type]


def test_taps_are_spread_downwards_within_what_kernels_may_be() -> None:
    found = taps(torch.tensor([0.0, math.log(2), 5.0, -5.0]))
    torch.testing.assert_close(found, torch.tensor([[1, 1], [2, 1], [3, 1], [0.5, 1]]))
    found = taps(torch.tensor([[0.0, math.log(2)], [5.0, -5.0]]))
    torch.testing.assert_close(found, torch.tensor([[1, 2], [3, 0.5]]))


def test_a_collapsed_predictor_is_told() -> None:
    changes = torch.tensor([1.0, 1.5, 2.0])
    knows = guarded(torch.tensor([0.02, -0.02]), changes.log(), changes)
    assert not knows.collapsed
    assert (knows.slope, knows.correlation, knows.rmse) == pytest.approx((1, 1, 0), abs=1e-6)
    half = guarded(torch.zeros(2), 0.4 * changes.log(), changes)
    assert half.collapsed and half.slope == pytest.approx(0.4) and half.correlation == pytest.approx(1)
    assert half.error == pytest.approx(sum(c - c**0.4 for c in (1, 1.5, 2)) / 3)
    twice = guarded(torch.tensor([2.0, 4.0]).log(), changes.log(), changes)
    assert (twice.mean, twice.deviation, twice.error) == pytest.approx((3, 2**0.5, 0), abs=1e-6)
    drifted = guarded(torch.full((2,), math.log(0.4)), changes.log() - 0.9, changes)
    assert drifted.collapsed and drifted.mean == pytest.approx(0.4) and drifted.slope == pytest.approx(1)
    assert guarded(torch.zeros(2), torch.zeros(3), changes).collapsed


def _learner(train: Train, seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    learner = recipe.learner(train, models.build(MODEL), 3).eval()
    assert isinstance(learner.embedder.ratio, RatioPredictor)
    torch.nn.init.normal_(learner.embedder.ratio.linear.weight, std=0.02)
    torch.nn.init.normal_(learner.classifier.weight)  # type: ignore[arg-type]
    return learner


def test_a_predictor_of_both_sides_tells_two_numbers_and_looks_again_at_both() -> None:
    torch.manual_seed(1)
    two, images = RatioPredictor(1, "exp", 2, 2).eval(), _images()
    torch.nn.init.normal_(two.linear.weight, std=0.02)
    first = two.once(images, None)
    assert first.shape == (2, 2) and not torch.allclose(first[:, 0], first[:, 1])
    torch.testing.assert_close(two(images), first + two.once(images, first))
    for side in range(2):
        wider = torch.zeros(2, 2)
        wider[:, side] = 0.6
        assert (two.once(images, wider) - first).abs().max() > 1e-4


LINEAR: dict[str, object] = {"identity_loss": Loss(name="linear", smoothing=0), "metric_loss": None}


@pytest.mark.parametrize(("part", "scale"), [((0, 0.5, 1), (2.0, 1.0)), ((0.2, 0.5, 0.8), (2.0, 1.25))])
def test_known_taps_in_training_are_the_scales_that_extraction_asks_for(
    part: tuple[float, ...], scale: tuple[float, float]
) -> None:
    learner, images, labels = _learner(Train(**LINEAR, taps="known")), _images(), torch.tensor([0, 2])
    found = learner(images, labels, parts=torch.tensor([part] * 2)).losses["linear"]
    plain = learner(images, labels).losses["linear"]
    torch.manual_seed(0)
    embedder = models.build(MODEL).eval()
    embedder.load_state_dict(learner.embedder.state_dict())
    unscaled = learner.classifier(embedder(images)["whole"].feature, labels)[0]
    borders.prepared(embedder, MODEL, "zero").scale = torch.tensor(scale)
    expected = learner.classifier(embedder(images)["whole"].feature, labels)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain, unscaled, atol=1e-5, rtol=1e-5)
    assert (found - plain).abs() > 1e-3


def test_predicted_taps_teach_the_predictor_by_the_backbones_own_losses() -> None:
    learner = _learner(Train(**LINEAR, taps="predicted"))
    loss = learner(_images(), torch.tensor([0, 2])).losses["linear"]
    loss.backward()
    assert learner.embedder.ratio.linear.weight.grad.abs().sum() > 0


def test_the_ratios_own_loss_teaches_nothing_else() -> None:
    settings = Train(**LINEAR, ratio=Ratio(loss="direct", weight=0.5))
    learner = _learner(settings)
    losses_of = learner(_images(), torch.tensor([0, 2])).losses
    assert recipe.terms(settings, learner.embedder) == {"linear": 1.0, "ratio": 0.5}
    losses_of["ratio"].backward()
    taught = {name.split(".")[1] for name, tensor in learner.named_parameters() if tensor.grad is not None}
    assert taught == {"ratio"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained for a step or two on crops, its ratio with it."""
    folder = tmp_path_factory.mktemp("ratio")
    names = house.photos(folder / "photos")
    ImageList(tuple(names), tuple(f"toy/{name[0]}" for name in names)).write(folder / "images.tsv")
    settings = Train(
        **LINEAR, epochs=1, steps_per_epoch=1, batch=4, precision="fp32", optimizer="adam",
        schedule=Schedule(warmup_epochs=0, milestones=()), augment=Augment(pad=2, crop_keep=(0.5, 1)),
        ratio=Ratio(cycle=0.5), taps="predicted",
    )  # fmt: skip
    model = Model(backbone="resnet18", height=32, width=16, ratio=2, ratio_steps=2)
    train.run(
        3, settings, model, Ensemble(epochs=(1,)), data=folder / "photos", scratch=folder / "scratch",
        images=folder / "images.tsv", unlabelled=[], pretrained=[], attributes=[],
        checkpoints=[folder / "model.pt"],
        history=folder / "history.jsonl", threads=1, device="cpu",
    )  # fmt: skip
    ImageList(tuple(names[:2]), ("", "")).write(folder / "two.tsv")
    assert "ratio" in (folder / "history.jsonl").read_text()
    return folder


def test_extraction_spreads_taps_as_each_images_ratio_tells(made: Path, tmp_path: Path) -> None:
    features = tmp_path / "features.npz"
    extract.run(
        Extract(scale="predicted"), data=made / "photos", images=[made / "two.tsv"],
        checkpoint=made / "model.pt", features=[features], device="cpu",
    )  # fmt: skip
    found = Features.read(features).values
    extractor = Extractor.load(made / "model.pt", "cpu", scale="predicted")
    pixels = torch.randint(0, 256, (2, 32, 16, 3), dtype=torch.uint8)
    ratio = extractor.network.ratio
    assert ratio is not None and len(found) == 2
    torch.nn.init.zeros_(ratio.linear.weight)
    for log_ratio, scale in ((0.0, None), (math.log(2) / 2, (2.0, 1.0))):  # in each of two steps
        torch.nn.init.constant_(ratio.linear.bias, log_ratio)
        by_hand = Extractor.load(made / "model.pt", "cpu", **({"scale": scale} if scale else {}))
        torch.testing.assert_close(extractor(pixels), by_hand(pixels), atol=1e-5, rtol=0)


def test_networks_and_recipes_that_do_not_fit_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house.model(tmp_path / "plain.pt", Architecture(backbone="resnet18", height=64, width=32))
    with pytest.raises(ReidError, match=r"plain\.pt tells no ratio"):
        Extractor.load(tmp_path / "plain.pt", "cpu", scale="predicted")
    with pytest.raises(ReidError, match="stretches no picture"):
        Extractor.load(made / "model.pt", "cpu", scale="predicted", geometry="crop")
    Extractor.load(made / "model.pt", "cpu", scale="predicted").save(tmp_path / "saved")
    assert cli.main(["export", str(tmp_path / "saved"), "--onnx", str(tmp_path / "model.onnx")]) == 2
    assert "a graph's kernels are fixed" in capsys.readouterr().err
    with pytest.raises(ValueError, match="ratio_steps: 2 cannot be had with backbone resnet18 and no ratio"):
        Architecture(backbone="resnet18", height=64, width=32, ratio_steps=2)
    with pytest.raises(ReidError, match=r"train\.taps: not with resnet18_ibn_a"):
        train.run(
            3, Train(taps="known", batch=4, augment=Augment(crop_keep=(0.5, 1))),
            Model(backbone="resnet18_ibn_a", height=32, width=16), Ensemble(epochs=(1,)),
            data=made / "photos", scratch=tmp_path, images=made / "images.tsv", unlabelled=[], pretrained=[],
            attributes=[], checkpoints=[tmp_path / "m.pt"], history=tmp_path / "h.jsonl", threads=1,
            device="cpu",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "words", "asked", "message"),
    [
        ({}, {"ratio": {"loss": "direct"}}, {}, "need it: give it a layer"),
        ({}, {"taps": "predicted"}, {}, "need it: give it a layer"),
        ({"ratio": 2}, {}, {}, "nothing teaches it"),
        ({}, {}, {"scale": "predicted"}, "has no ratio"),
        ({}, {"taps": "known"}, {}, "crop_keep stretches no part"),
        (
            {},
            {"augment": {"crop_keep_x": [0.9, 0.5]}},
            {},
            "crop_keep_x 0.9, 0.5: the least share comes first",
        ),
        (
            {},
            {"augment": {"crop_keep_x": [0.5, 1], "crop_head": 0.2}},
            {},
            "crop_head: crop_keep keeps every row",
        ),
        ({}, {"augment": {"crop_then": "blank"}}, {}, "keep every row and column: lower one"),
        (
            {},
            {"taps": "known", "augment": {"crop_keep_x": [0.5, 1], "crop_then": "blank"}},
            {},
            "stretches no part",
        ),
        ({"ratio_sides": 2}, {}, {}, "ratio_sides: 2 cannot be had .* no ratio"),
        ({"ratio": 2}, {"ratio": {}, "taps": "predicted", "teacher": 0.9}, {}, "leave one out"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(
    tmp_path: Path, model: dict[str, object], words: dict[str, object], asked: dict[str, object], message: str
) -> None:
    raw = yaml.safe_load((HOME / "benchmarks" / "experiments.yaml").read_text())
    raw["models"] = {
        "plain": {"backbone": "resnet18", "height": 64, "width": 32, "recipe": {"batch": 32}} | model
    }
    raw["train"] |= words
    raw["extract"] |= asked
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ReidError, match=message):
        load(tmp_path / "config.yaml")


def test_widths_alone_are_parts_and_no_record_names_what_keeps_every_column() -> None:
    narrow = Augment(crop_keep_x=(0.5, 1), crop_then="blank")
    assert "crop_keep_x" in narrow.model_dump() and "crop_keep_x" not in Augment().model_dump()
    assert Augment(crop_keep_x=(0.5, 1)).stretches and not narrow.stretches and not Augment().stretches
