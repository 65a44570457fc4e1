"""The teacher: what it follows, what it gives, and that it is saved with the rest."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from naic_reid import recipe
from naic_reid.architecture import Architecture
from naic_reid.config import Train, typed
from naic_reid.errors import ReidError
from naic_reid.losses import build_metric
from naic_reid.models import build
from naic_reid.training.state import State
from naic_reid.training.step import Batch, Plan, settle, step
from naic_reid.training.teacher import Teacher

TINY = Architecture(backbone="timm/test_resnet", height=32, width=16)


def _train(**words: object) -> Train:
    raw = {
        "batch": 8, "num_instances": 2, "optimizer": "sgd", "precision": "fp32", "teacher": 0.9,
        "identity_loss": {"name": "linear"}, "metric_loss": {"name": "relative_triplet", "margin": 0.6},
    }  # fmt: skip
    found: Train = typed({"train": Train}, {"train": raw | words}, "test")["train"]
    return found


def _state(train: Train) -> State:
    torch.manual_seed(0)
    learner = recipe.learner(train, build(TINY), 4)
    return State(learner.train(), recipe.optimizer(train, learner))


def _batch(seed: int) -> Batch:
    images = torch.randn(8, 3, 32, 16, generator=torch.Generator().manual_seed(seed))
    return Batch(images, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), [str(number) for number in range(8)])


def _stepped(state: State, seeds: list[int]) -> None:
    plan = Plan(recipe.terms(_train(), state.learner.embedder), 9, precision="fp32")
    for seed in seeds:
        step(state, _batch(seed), plan)
    settle(state)


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in (*network.parameters(), *network.buffers())]


def test_it_is_the_moving_average_of_the_network_after_each_step() -> None:
    state = _state(_train())
    expected = _tensors(state.learner.embedder)
    for seed in range(3):
        _stepped(state, [seed])
        live = _tensors(state.learner.embedder)
        expected = [
            0.9 * a + 0.1 * b if a.is_floating_point() else b for a, b in zip(expected, live, strict=True)
        ]
    for found, wanted in zip(_tensors(state.learner.teacher.network), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    names = {id(p) for group in state.optimizer.param_groups for p in group["params"]}
    assert not names & {id(p) for p in state.learner.teacher.parameters()}


@pytest.mark.parametrize("decay", [0.0, 1 - 1e-9])
def test_without_a_memory_it_is_the_network_and_with_an_endless_one_it_stays(decay: float) -> None:
    network = build(TINY)
    before = copy.deepcopy(network)
    teacher = Teacher(network, decay)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    teacher.follow(torch.tensor(False))
    images = torch.randn(2, 3, 32, 16)
    assert torch.equal(teacher(images)["whole"].feature, before.eval()(images)["whole"].feature)
    teacher.follow(torch.tensor(True))
    expected = network if decay == 0 else before
    torch.testing.assert_close(teacher(images)["whole"].feature, expected.eval()(images)["whole"].feature)
    assert not teacher.train().network.training


def test_it_starts_again_as_the_network_is() -> None:
    network = nn.BatchNorm1d(2)
    teacher = Teacher(network, 0.9)
    nn.init.constant_(network.weight, 3.0)
    network(torch.randn(4, 2))
    teacher.restart()
    assert all(map(torch.equal, _tensors(teacher.network), _tensors(network)))


@pytest.mark.parametrize("training", [True, False])
def test_the_learner_compares_with_its_teacher_while_it_is_trained(training: bool) -> None:
    learner, batch = _state(_train()).learner.train(training), _batch(0)
    (group,), judge = learner.embedder.metric_groups, learner.metrics[0]
    with torch.no_grad():
        for parameter in learner.teacher.parameters():
            parameter.mul_(1.5)
        rows, others = (
            group.rows(network(batch.images), "embedding") for network in (learner.embedder, learner.teacher)
        )
        taught, alone = judge(rows, batch.labels, others), judge(rows, batch.labels)
        found = learner(batch.images, batch.labels).losses["relative_triplet"]
    assert abs(taught - alone) > 1e-3
    torch.testing.assert_close(found, group.weight * (taught if training else alone))


def test_a_run_that_is_cut_off_goes_on_with_its_teacher_to_the_same_bits() -> None:
    whole = _state(_train())
    _stepped(whole, [0, 1, 2, 3])
    first, then = _state(_train()), _state(_train())
    _stepped(first, [0, 1])
    then.load(copy.deepcopy(first.snapshot()))
    _stepped(then, [2, 3])
    for one, other in zip(_tensors(whole.learner), _tensors(then.learner), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["hard_triplet", "pull_triplet", "relative_triplet"])
def test_triplets_compare_with_the_teachers_rows_which_have_no_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(6, 4, generator=generator, requires_grad=True)
    others = torch.randn(6, 4, generator=generator, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = build_metric(name, 3, 4, margin=0.3)
    found = loss(rows, labels, others.detach())
    expected = []
    for row, label in zip(rows, labels, strict=True):
        own = max((row - other).norm() for other, of in zip(others, labels, strict=True) if of == label)
        rest = min((row - other).norm() for other, of in zip(others, labels, strict=True) if of != label)
        expected.append(F.relu(own / rest - 0.3 if name == "relative_triplet" else own - rest + 0.3))
    torch.testing.assert_close(found, torch.stack(expected).mean())
    same = loss(rows, labels, rows.detach())
    torch.testing.assert_close(same, loss(rows, labels))


def test_losses_that_compare_with_no_teacher_are_refused() -> None:
    sphere = [{"name": "sphere"}]  # an identity loss, which compares with nobody and need not
    for words in ({"metric_loss": {"name": "center"}}, {"metric_loss": None, "more_losses": sphere}):
        with pytest.raises(ReidError, match=r"teacher: (center|no metric loss) compares with none"):
            _train(**words)
    assert _train(more_losses=sphere).teacher is not None
