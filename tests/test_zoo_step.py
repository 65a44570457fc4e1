"""FastReID's zoo: a training step of each method is that of a plain twin, to the optimizer's moments.

All is computed in float64: Adam's first steps have the length of the rate whatever a gradient's size, so that
rounding in float32 would turn round every parameter whose gradient is small. The ResNet-50 has fewer blocks.
"""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from naic_reid import config, models, recipe, zoo
from naic_reid.architecture import Architecture
from naic_reid.data.augment import MEAN, STD
from naic_reid.models import build, fastreid
from naic_reid.models.resnet_ibn import Bottleneck, ResNet
from naic_reid.training.freezing import freeze, frozen_by
from naic_reid.training.learner import Learner
from naic_reid.training.state import State
from naic_reid.training.step import Batch, Plan, settle, step
from tests.oracles import fastreid as files
from tests.oracles.fastreid_step import FROZEN, Twin, factor

CLASSES, STEPS, BLOCKS = 5, 200, (1, 2, 3, 1)
LABELS = torch.tensor([0, 0, 4, 4])
BACKBONES = {"bot": "resnet50", "agw": "resnet50", "sbs": "resnet50_ibn_a", "mgn": "resnet50_ibn_a"}
EPOCHS = {"bot": [11], "agw": [45], "sbs": [0, 11], "mgn": [35]}
"""Whose first steps are taken: after the warm-up, after a fall; while frozen and then, or in the cosine."""
MADE = {
    "bot": {},
    "agw": {"non_local": True, "learnt": True},
    "sbs": {"non_local": True, "learnt": True, "ibn": True},
}


@pytest.fixture(autouse=True)
def float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is widened to float32 where it may be half stays as it is where it is wider."""
    narrow = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x if x.dtype == torch.float64 else narrow(x))


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven blocks instead of sixteen, of which those that non-local blocks follow are left."""
    for name, ibn in (("resnet50", ""), ("resnet50_ibn_a", "a")):
        make = partial(ResNet, Bottleneck, BLOCKS, ibn=ibn)
        monkeypatch.setitem(models.BACKBONES, name, partial(models._resnet, make))
    monkeypatch.setitem(files.BLOCKS, 50, BLOCKS)
    monkeypatch.setitem(files.NON_LOCAL, 50, {2: (0, 1), 3: (0, 1, 2)})


def _drawn(method: str) -> dict[str, Tensor]:
    """A published file's tensors in float64."""
    if method == "mgn":
        made = files.mgn(5, published=True, classes=CLASSES)
    else:
        made = files.single(3, names="zoo", classes=CLASSES, **MADE[method])  # type: ignore[arg-type]
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in made.items()}


def _names(method: str, tensors: dict[str, Tensor], size: dict[str, int]) -> dict[str, str]:
    """What the file calls each of the learner's tensors."""
    known = {tensor.data_ptr(): name for name, tensor in tensors.items() if not name.startswith("pixel_")}
    file = {name: tensors[name] for name in known.values()}
    converted = fastreid.convert(file, Path(f"market_{method}.pth"), **size).checkpoint.weights
    found = {f"embedder.{ours}": known.get(tensor.data_ptr(), "") for ours, tensor in converted.items()}
    rows = [name for name in file if name.endswith("classifier.weight")]
    return found | {f"identity.{n}.weight": name for n, name in enumerate(rows)}


def _state(method: str, size: dict[str, int]) -> tuple[State, config.Train]:
    """The row's network, its losses and its optimizer, as training begins."""
    found = config.parse(zoo.written(zoo.row(f"market1501/{method}/{BACKBONES[method]}")), method)
    network = build(Architecture.within(found.models[method].model_dump() | size))
    learner = recipe.learner(found.train, network, CLASSES).double()
    return State(learner.train(), recipe.optimizer(found.train, learner)), found.train


def _stepped(state: State, train: config.Train, images: Tensor, epoch: int) -> float:
    """The loss of a step at the head of an epoch."""
    learner = state.learner
    assert isinstance(learner, Learner)
    freeze(learner.embedder, train.freeze, frozen=recipe.frozen(train, epoch, 0, STEPS))
    plan = Plan(recipe.terms(train, learner.embedder), STEPS, recipe.factor(train, epoch, 0, STEPS))
    step(state, Batch(images, LABELS, [str(n) for n in range(len(LABELS))]), plan)
    record = settle(state)
    assert record is not None
    return record.total


def _away(found: Tensor, expected: Tensor) -> float:
    """The length of the difference beside what was expected."""
    return ((found - expected.view_as(found)).norm() / expected.norm().clamp(min=1e-12)).item()


@pytest.mark.parametrize("method", EPOCHS)
def test_a_training_step_is_that_of_the_plain_twin(method: str) -> None:
    size = {"height": 80 if method == "mgn" else 32, "width": 16}
    shape = (len(LABELS), 3, size["height"], size["width"])
    pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).double()
    mean, deviation = (torch.tensor(x, dtype=torch.float64).view(1, 3, 1, 1) for x in (MEAN, STD))
    start = _drawn(method)
    names = _names(method, start, size)
    state, train = _state(method, size)
    counted = "num_batches_tracked"
    ours = {name: t for name, t in state.learner.state_dict().items() if not name.endswith(counted)}
    for name, tensor in ours.items():
        tensor.copy_(start[names[name]].view_as(tensor))
    twin = Twin(method, start)
    for epoch in EPOCHS[method]:
        loss = twin.step(pixels, LABELS, factor(method, epoch), frozen=epoch < 10)
        assert _stepped(state, train, (pixels / 255 - mean) / deviation, epoch) == pytest.approx(loss)
    for name, tensor in ours.items():
        before, after = (of[names[name]].detach().view_as(tensor) for of in (start, twin.tensors))
        assert _away(tensor - before, after - before) < 2e-3, name
    parameters = dict(state.learner.named_parameters())
    moments = {name: state.optimizer.state[p]["exp_avg"] for name, p in parameters.items() if p.requires_grad}
    assert {names[name] for name in moments} == twin.moments.keys()
    for name, moment in moments.items():
        assert _away(moment, twin.moments[names[name]][0]) < 1e-4, name


def test_the_twin_freezes_what_the_row_freezes() -> None:
    size = {"height": 80, "width": 16}
    start = _drawn("mgn")
    names = _names("mgn", start, size)
    state, train = _state("mgn", size)
    held = {p.data_ptr() for p in frozen_by(state.learner.get_submodule("embedder"), train.freeze)}
    kept = {names[name] for name, p in state.learner.named_parameters() if p.data_ptr() in held}
    assert kept == {name for name in start if name in names.values() and name.startswith(FROZEN["mgn"])} - {
        name for name in start if "running" in name or "num_batches" in name
    }
