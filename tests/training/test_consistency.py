"""Images without labels: what the learner is shown of them, and who judges their second variation."""

import copy

import pytest
import torch

from naic_reid import recipe
from naic_reid.architecture import Architecture
from naic_reid.config import Train, Unlabelled
from naic_reid.losses import CONSISTENCIES, build_identity
from naic_reid.models import build
from naic_reid.training.learner import Learner

TINY = Architecture(backbone="timm/test_resnet", height=32, width=16, pooling="average", stripes=2)


def _learner(form: str, identity: str = "arcface") -> Learner:
    torch.manual_seed(0)
    words = {
        "batch": 8, "identity_loss": {"name": identity}, "metric_loss": None,
        "unlabelled": {"images": "more", "form": form},
    }  # fmt: skip
    return recipe.learner(Train.model_validate(words), build(TINY), 4).train()


def _shown() -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    images = torch.randn(16, 3, 32, 16, generator=torch.Generator().manual_seed(1))
    return images[:8], torch.arange(8) // 2, (images[8:12], images[12:])


@pytest.mark.parametrize("identity", ["linear", "arcface"])
@pytest.mark.parametrize("form", ["teacher", "twin"])
def test_the_term_compares_the_logits_of_the_recipes_own_loss(form: str, identity: str) -> None:
    learner = _learner(form, identity)
    other = copy.deepcopy(learner)
    images, labels, views = _shown()
    found = learner(images, labels, views=views)
    plain = other(images, labels)
    judge, (group, *_) = other.identity[0], other.embedder.identity_groups
    network = other.embedder
    one = judge(group.rows(network(views[0]), "feature"), torch.zeros(4, dtype=torch.int64))[1]
    if form == "teacher":  # in evaluation mode, as it was before the statistics moved
        network = copy.deepcopy(learner.consistency.teacher.network.embedder)
        assert not network.training
    second = judge(group.rows(network(views[1]), "feature"), torch.zeros(4, dtype=torch.int64))[1]
    torch.testing.assert_close(found.losses["unlabelled"], CONSISTENCIES[form](one, second))
    assert {**found.losses, "unlabelled": None} == {**plain.losses, "unlabelled": None}


@pytest.mark.parametrize("form", ["teacher", "twin"])
def test_gradients_reach_the_network_and_never_its_teacher(form: str) -> None:
    learner = _learner(form)
    images, labels, views = _shown()
    learner(images, labels, views=views).losses["unlabelled"].backward()
    assert learner.embedder.backbone.conv1[0].weight.grad.abs().max() > 0
    assert learner.classifier.weight.grad.abs().max() > 0
    optimizer = recipe.optimizer(Train(), learner)
    moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    taught = list(learner.consistency.parameters())
    assert bool(taught) == (form == "teacher") and not moved & {id(parameter) for parameter in taught}
    assert all(parameter.grad is None for parameter in taught)
    own = {name for name in learner.state_dict() if not name.startswith("consistency.teacher.")}
    assert own == recipe.learner(Train(metric_loss=None), build(TINY), 4).state_dict().keys()


def test_logits_are_those_that_losses_judge_summed_over_the_groups_of_one_term() -> None:
    embedder = build(Architecture(backbone="resnet18", height=80, width=16, head="mgn", last_stride=1))
    train = Train.model_validate({"unlabelled": {"images": "more", "form": "twin"}, "metric_loss": None})
    learner = recipe.learner(train, embedder, 3).eval()
    (logits,) = learner.consistency._logits
    images, labels = torch.randn(2, 3, 80, 16), torch.tensor([0, 1])
    with torch.no_grad():
        seen = embedder(images)
        expected = sum(
            judge(group.rows(seen, "feature"), labels)[1]
            for judge, group in zip(learner.identity, embedder.identity_groups, strict=True)
        )
        torch.testing.assert_close(logits(images), expected)
    assert len(embedder.identity_groups) > 1


@pytest.mark.parametrize("name", ["linear", "arcface", "cosface", "circle", "sphere", "linear_fastreid"])
def test_every_identity_loss_tells_its_logits(name: str) -> None:
    judge, rows = build_identity(name, 5, 8), torch.randn(4, 8)
    torch.testing.assert_close(judge.logits(rows), judge(rows, torch.arange(4))[1])
    assert judge.logits(rows).requires_grad


def test_it_begins_after_its_share_of_the_epochs() -> None:
    def begins(after: float, epochs: int) -> int:
        words = Unlabelled(images="more", after=after)
        return next(epoch for epoch in range(epochs) if words.at(epoch, epochs))

    assert [begins(0.8, 60), begins(0.1, 60), begins(0, 60)] == [49, 7, 0]  # today, published, at once
    with pytest.raises(ValueError, match=r"unlabelled\.after: of 5 epochs none is left"):
        Train.model_validate({"epochs": 5, "unlabelled": {"images": "more", "after": 0.8}})
    with pytest.raises(ValueError, match="decay is a word of form teacher"):
        Unlabelled(images="more", form="twin", decay=0.5)
    with pytest.raises(ValueError, match="leaves the data folder"):
        Unlabelled(images="../more")


def test_half_as_many_as_the_batch_has_and_eight_at_least() -> None:
    assert [recipe.unlabelled(batch, 1) for batch in (8, 16, 32, 33)] == [8, 8, 16, 16]
    assert recipe.unlabelled(20, 4) == 12
