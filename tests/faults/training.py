"""Recipes and lists with which nothing can be trained."""

from typing import Any

from naic_reid.artifacts import ImageList
from tests.faults.case import Case
from tests.faults.world import Command, World, with_settings

_LIST = "results/holdout/train.tsv"


def _train(world: World, **sections: dict[str, Any]) -> list[Command]:
    return [with_settings(world.command("train", "train/large"), **sections)]


def _passed(world: World) -> None:
    """A run that kept its second epoch and not its first."""
    (command,) = _train(world, train={"epochs": 2, "checkpoint_every": 2}, ensemble={"epochs": [2]})
    status, printed = world.run(command)
    assert status == 0, printed


def _one_person(world: World) -> None:
    listed = ImageList.read(world.path(_LIST))
    rows = [row for row, identity in enumerate(listed.identities) if identity == listed.identities[0]]
    listed.rows(rows, listed.made_by).write(world.path(_LIST))


CASES = [
    Case("Training", "a learning rate at which nothing stays finite", lambda world: None,
         lambda world: _train(world, train={"learning_rate": 1e30}),
         says="not finite any more in epoch .* nothing was changed by this step; .* to go on from it"),
    Case("Training", "an epoch that the run has passed and not kept", _passed,
         lambda world: _train(world, train={"epochs": 2, "checkpoint_every": 2}, ensemble={"epochs": [1]}),
         says=r"ensemble.epochs \[1\] were trained and not kept; kept are \[2\]"),
    Case("Training", "more persons to a batch than there are", lambda world: None,
         lambda world: _train(world, train={"batch": 512}), says="train.batch 512 is .* at most"),
    Case("Training", "a list that shows one person", _one_person, _train,
         says="shows 1 identities, and training needs 2"),
    Case("Training", "a pattern that freezes nothing", lambda world: None,
         lambda world: _train(world, train={"freeze": ["backbone.layer9.*"]}),
         says=r"train.freeze: backbone.layer9.\* matches no parameter; names are like"),
    Case("Training", "images without labels that lie nowhere", lambda world: None,
         lambda world: _train(world, train={"unlabelled": {"images": "more", "after": 0}}),
         says="train.unlabelled.images: there is no .*more: name a folder of images in the data folder"),
    Case("Training", "a folder of images without labels that holds none",
         lambda world: world.path("results/toy/MyDataSet/more").mkdir(),
         lambda world: _train(world, train={"unlabelled": {"images": "more", "after": 0}}),
         says="train.unlabelled.images: no image .* lies in .*more: name a folder"),
]  # fmt: skip
