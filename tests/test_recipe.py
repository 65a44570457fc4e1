"""Words of the recipe by themselves: what is frozen when, warm-up in steps, what metric losses judge."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from naic_reid import recipe
from naic_reid.config import Attributes as Worn
from naic_reid.config import Loss, Schedule, Train
from naic_reid.data.attributes import Attributes
from naic_reid.models import heads
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import Average
from naic_reid.training.learner import Learner, Scaled


def _when(train: Train) -> list[int]:
    """Steps, counted over epochs of 10, in which `freeze` is at work."""
    return [i for i in range(40) if recipe.frozen(train, i // 10, i % 10, 10)]


def test_what_is_frozen_thaws_after_its_steps_or_epochs_or_never() -> None:
    assert _when(Train(freeze=("backbone.*",), freeze_steps=13)) == list(range(13))
    assert _when(Train(freeze=("backbone.*",), freeze_epochs=2)) == list(range(20))
    assert _when(Train(freeze=("backbone.*",))) == list(range(40))


def test_all_may_be_frozen_for_a_while_and_not_for_good() -> None:
    for words in ({"freeze_steps": 13}, {"freeze_epochs": 2}):
        assert Train(freeze=("*",), epochs=40, **words).freeze == ("*",)  # type: ignore[arg-type]
    for words in ({}, {"freeze_epochs": 40}):
        with pytest.raises(ValueError, match="keeps every parameter: nothing is trained"):
            Train(freeze=("*",), epochs=40, **words)  # type: ignore[arg-type]


def test_the_last_epochs_weights_are_averaged_and_no_others() -> None:
    network = nn.Linear(1, 1, bias=False)
    kept = recipe.average(Train(epochs=5, swa_epochs=2), network)  # type: ignore[arg-type]
    assert kept is not None
    for epoch in range(5):
        nn.init.constant_(network.weight, 10.0**epoch)
        kept.after_step()
        kept.after_epoch(epoch)
    assert kept.count == 2 and float(kept.network.weight) == (10**3 + 10**4) / 2
    assert recipe.average(Train(), network) is None  # type: ignore[arg-type]


def test_two_ends_of_freezing_or_of_warm_up_are_refused() -> None:
    with pytest.raises(ValueError, match="freeze_steps and freeze_epochs"):
        Train(freeze=("backbone.*",), freeze_steps=3, freeze_epochs=1)
    with pytest.raises(ValueError, match="freeze_steps without freeze"):
        Train(freeze_steps=3)
    with pytest.raises(ValueError, match="warmup_steps 5 and warmup_epochs 1"):
        Schedule(warmup_steps=5, warmup_epochs=1)


def test_a_warm_up_in_steps_goes_on_over_the_end_of_an_epoch() -> None:
    schedule = Schedule(warmup_epochs=0, warmup_steps=15, warmup_factor=0.1, milestones=(), each="step")
    train = Train(schedule=schedule)
    found = [recipe.factor(train, i // 10, i % 10, 10) for i in range(20)]
    assert found == pytest.approx([min(1.0, 0.1 + 0.9 * i / 15) for i in range(20)])


def test_a_loss_warms_up_at_the_whole_rate_and_a_step_ahead() -> None:
    schedule = Schedule(warmup_epochs=2, warmup_factor=0.1, warmup_on="loss", milestones=(), each="step")
    train = Train(schedule=schedule)
    found = [recipe.loss_factor(train, i // 4, i % 4, 4) for i in range(10)]
    assert found[:4] == pytest.approx([0.2125, 0.325, 0.4375, 0.55])  # the published example, of n = 8
    assert found[6] < 1 and found[7:] == [1, 1, 1]
    assert {recipe.factor(train, i // 4, i % 4, 4) for i in range(10)} == {1}
    by_steps = schedule.model_copy(update={"warmup_epochs": 0, "warmup_steps": 8})
    assert [recipe.loss_factor(Train(schedule=by_steps), i // 4, i % 4, 4) for i in range(10)] == found
    assert recipe.loss_factor(Train(), 0, 0, 4) == 1 and "warmup_on" not in Schedule().model_dump()
    n = round(12_936 / 32) * 5  # Market-1501, batch 32, 5 epochs
    assert n == 2_020
    market = Train(schedule=Schedule(warmup_epochs=5, warmup_factor=0.1, warmup_on="loss"))
    w = 0.1
    for i in range(n + 2):
        w = min(1.0, w + 0.9 / n)
        assert recipe.loss_factor(market, i // 404, i % 404, 404) == pytest.approx(w)
    with pytest.raises(ValueError, match="nothing rises"):
        Schedule(warmup_epochs=0, warmup_on="loss")


def test_the_friendly_baselines_recipe_is_words() -> None:
    """SGD, Nesterov, the body at a tenth of the head's rate, of both a tenth after ⌊2E/3⌋ epochs."""
    network = Embedder(nn.Conv2d(3, 6, 1), heads.single(Average(), 6, 4, 0.5)).train()
    for epochs, falls in ((60, 40), (100, 66), (133, 88)):
        assert falls == 2 * epochs // 3
        train = Train(
            epochs=epochs, optimizer="sgd", nesterov=True, head_learning_rate=0.05, learning_rate=0.005,
            schedule=Schedule(warmup_epochs=5, warmup_factor=0.1, warmup_on="loss", milestones=(falls,)),
            identity_loss=Loss(name="linear", smoothing=0), metric_loss=None,
        )  # fmt: skip
        factors = [recipe.factor(train, epoch, 0, 10) for epoch in range(epochs)]
        assert factors == pytest.approx([1.0] * falls + [0.1] * (epochs - falls))
    optimizer = recipe.optimizer(train, recipe.learner(train, network, 3))
    groups = {group["group"]: group for group in optimizer.param_groups}
    rates = {name: group["base_rate"] for name, group in groups.items()}
    assert rates == {"body": 0.005, "body biases": 0.005, "head": 0.05, "head biases": 0.05}
    for group in groups.values():
        assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (True, 0.9, 5e-4)
    reduction = network.branches["whole"].reduction.weight
    assert any(parameter is reduction for parameter in groups["head"]["params"])
    with pytest.raises(ValueError, match="nesterov is a word of sgd, and optimizer is adam"):
        Train(optimizer="adam", nesterov=True)


@pytest.mark.parametrize("on", ["embedding", "feature"])
def test_metric_losses_judge_what_the_recipe_says(on: str) -> None:
    torch.manual_seed(0)
    network = Embedder(nn.Conv2d(3, 6, 1), heads.single(Average(), 6)).train()
    train = Train(metric_loss=Loss(name="hard_triplet"), metric_on=on)
    learner = recipe.learner(train, network, 2)
    images, labels = torch.randn(6, 3, 4, 2), torch.tensor([0, 0, 0, 1, 1, 1])
    found = learner(images, labels).losses["hard_triplet"]
    rows = getattr(network(images)["whole"], on)
    expected = learner.metrics[0](rows, labels)
    torch.testing.assert_close(found, expected)


def test_a_further_identity_loss_judges_features_by_class_rows_of_its_own_which_are_trained() -> None:
    torch.manual_seed(1)
    network = Embedder(nn.Conv2d(3, 6, 1), heads.single(Average(), 6)).train()
    train = Train(
        identity_loss=Loss(name="linear"), metric_loss=Loss(name="contrastive"),
        more_losses=(Loss(name="sphere", weight=0.5), Loss(name="instance")),
    )  # fmt: skip
    learner = recipe.learner(train, network, 2)
    assert recipe.terms(train, network) == {"linear": 1.0, "contrastive": 1.0, "sphere": 0.5, "instance": 1.0}
    images, labels = torch.randn(4, 3, 4, 2), torch.tensor([0, 0, 1, 1])
    found = learner(images, labels)
    assert list(found.losses) == ["linear", "sphere", "contrastive", "instance"]
    linear, sphere = learner.identity
    rows = network(images)["whole"].feature
    torch.testing.assert_close(found.losses["sphere"], sphere(rows, labels)[0])
    assert found.right == (linear(rows, labels)[1].argmax(1) == labels).float().mean()
    found.losses["sphere"].backward()
    held = {id(p) for group in recipe.optimizer(train, learner).param_groups for p in group["params"]}
    assert sphere.weight.grad.abs().max() > 0
    assert id(sphere.weight) in held


def test_attributes_weigh_what_the_recipe_says_also_where_the_branch_that_tells_them_is_one_of_eight() -> (
    None
):
    worn = Attributes({"hat": ("no", "yes")}, ("s/0", "s/1"), np.array([[1], [2]]))
    train = Train(attributes=Worn(table="worn.csv"))
    found = []
    for weight in (1.0, 1 / 8):
        torch.manual_seed(0)
        head = heads.single(Average(), 3)
        head = head._replace(identity=(heads.Group((heads.WHOLE,), weight),))
        learner = recipe.learner(train, Embedder(nn.Identity(), head), 2, worn, ("s/0", "s/1"))
        with torch.no_grad():
            losses = learner(torch.arange(48.0).sin().view(4, 3, 2, 2), torch.tensor([0, 0, 1, 1])).losses
        found.append((losses["attributes"], losses["arcface"]))
    (one, whole), (other, eighth) = found
    assert torch.equal(one, other) and torch.equal(whole / 8, eighth)


def test_a_scale_that_a_full_memory_interrupted_is_shown_to_no_other_batch() -> None:
    told: list[object] = []

    def full(images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    embedder = Embedder(nn.Identity(), heads.single(Average(), 3), full)
    scaled = Scaled(lambda images, parts: images, told.append)
    learner = Learner(embedder, [], [], scaled=scaled)
    images = torch.zeros(2, 3, 2, 2)
    with pytest.raises(torch.OutOfMemoryError):
        learner(images, torch.zeros(2, dtype=torch.int64))
    assert told == [images, None]
