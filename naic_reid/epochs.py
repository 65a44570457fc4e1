"""What a training shows: its images and classes, its batches, and how each step is taken."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from naic_reid import recipe
from naic_reid.artifacts import ImageList
from naic_reid.config import Model, Train
from naic_reid.data import augment
from naic_reid.data import unlabelled as unlabelled_images
from naic_reid.data.attributes import Attributes
from naic_reid.data.attributes import read as read_attributes
from naic_reid.data.batches import Batch as VariedBatch
from naic_reid.data.batches import TrainingImages, TrainingList, with_shuffled_channels
from naic_reid.data.geometry import Geometry
from naic_reid.data.sampler import Sampler, cameras_of, shuffled_pairs
from naic_reid.errors import ReidError
from naic_reid.models.embedder import Embedder
from naic_reid.training import attack
from naic_reid.training.freezing import freeze, frozen_by
from naic_reid.training.learner import Learner
from naic_reid.training.state import State
from naic_reid.training.step import Batch, Plan, Record
from naic_reid.training.team import Team

_APART = 1 << 64
"""Of the seeds of labelled batches and of those of images without labels: no two draws are the same."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What is trained on what, by whom."""

    seed: int
    train: Train
    model: Model
    source: TrainingImages
    classes: tuple[str, ...]
    team: Team
    workers: int
    further: unlabelled_images.Rows
    """Images without labels."""
    tables: list[Path]
    """Of attributes."""

    @cached_property
    def unlabelled(self) -> tuple[TrainingImages, int] | None:
        """Images without labels, and how many a batch of the whole team has of them."""
        if not self.further:
            return None
        shown = TrainingList([path for path, _ in self.further], [0] * len(self.further))
        # Read whenever they are shown: there may be very many.
        found = TrainingImages(self.source.data, shown, self.source.geometry, memory=0)
        batch = self.identities * self.train.num_instances
        return found, recipe.unlabelled(batch, self.train.accumulate * self.team.size)

    @cached_property
    def attributes(self) -> Attributes | None:
        """What is known of what the classes wear, where that is learnt."""
        return _worn(self.train, self.tables, self.classes)

    @cached_property
    def identities(self) -> int:
        """P of the P × K images in a batch of the whole team."""
        cuts = self.train.accumulate * self.team.size
        return recipe.identities(self.train.batch, self.train.num_instances, len(self.classes), cuts)

    @property
    def micro_batches(self) -> list[int]:
        """Images that may go through the network at once; those of a team cannot begin a step anew."""
        own = self.identities // self.team.size
        sizes = recipe.micro_batches(own, self.train.num_instances, self.train.accumulate)
        return sizes if self.train.accumulate_to_fit and self.team.size == 1 else sizes[:1]


def further_images(train: Train, data: Path, tables: list[Path]) -> unlabelled_images.Rows:
    """The images without labels that the recipe asks for, if it does."""
    if train.unlabelled is None:
        return []
    folder = train.unlabelled.images
    return unlabelled_images.read(tables[0]) if tables else unlabelled_images.found(data, folder)


def labelled(
    data: Path, images: Path, model: Model, train: Train, seed: int, memory: int | None
) -> tuple[TrainingImages, tuple[str, ...]]:
    """The images with their class indices; and the identities in their order, whose ranks these are."""
    listed = ImageList.read(images)
    unknown = [path for path, identity in zip(listed.paths, listed.identities, strict=True) if not identity]
    if unknown:
        raise ReidError(f"{images}: no identity for {unknown[0]}: training needs a labelled list")
    paths, identities, channels = listed.paths, listed.identities, None
    if train.channel_shuffles:
        paths, identities, channels = with_shuffled_channels(paths, identities, train.channel_shuffles, seed)
    classes = tuple(sorted(set(identities)))
    if len(classes) < 2:
        raise ReidError(
            f"{images}: shows {len(classes)} identities, and training needs 2: "
            "lower holdout.share or dedupe.min_images, or add sources"
        )
    rank = {identity: index for index, identity in enumerate(classes)}
    shown = TrainingList(
        paths, [rank[identity] for identity in identities], channels,
        cameras=dict(zip(listed.paths, listed.cameras, strict=True)),
        digests=dict(zip(listed.paths, listed.digests, strict=True)),
    )  # fmt: skip
    source = TrainingImages(data, shown, Geometry(model.height, model.width, model.resize), memory=memory)
    return source, classes


def _worn(train: Train, tables: list[Path], classes: tuple[str, ...]) -> Attributes | None:
    """What the table knows of the classes.

    Raises:
        ReidError: it knows nothing, or a table is given and not asked for, or the other way round.
    """
    if len(tables) != bool(train.attributes):
        raise ReidError(
            f"train: {len(tables)} tables of attributes were given, and train.attributes asks for "
            f"{int(bool(train.attributes))}: give --attributes once for it"
        )
    if not tables:
        return None
    found = read_attributes(tables[0])
    known = (found.of(classes) > 0).any(1)
    if not known.any():
        raise ReidError(
            f"{tables[0]}: knows none of the {len(classes)} persons, such as {classes[0]}: it must name them "
            "by source/label, or by the label alone"
        )
    _log.info(
        "train: %s: %d of %d persons, %s", tables[0], known.sum(), len(classes), ", ".join(found.values)
    )
    return found


class Epochs:
    """Which images each batch shows, and how each step is taken."""

    def __init__(self, task: Task, state: State, flags: Callable[[], Tensor]) -> None:
        """`flags`: of this process, which travel with each step's numbers."""
        self._task, self._state, self._flags = task, state, flags
        train, source = task.train, task.source
        self._terms = recipe.terms(train, embedder_of(state))
        cameras = cameras_of(source.paths, train.cameras, source.cameras) if train.cameras else None
        self._sampler = Sampler(
            source.labels, task.identities, train.num_instances, task.seed, cameras=cameras,
            steps=train.steps_per_epoch, kind=train.sampler,
        )  # fmt: skip
        self.rows = self._sampler.rows
        """Of each batch of an epoch: int64 [steps, images]."""
        self._variation = augment.Recipe(**train.augment.model_dump())
        attacks = train.adversarial and recipe.attack(train.adversarial.levels, task.team.device)
        self._attack = partial(attacks, embedder_of(state)) if attacks else None
        self._frozen: bool | None = None
        self._kept: list[Tensor] = []
        own = task.identities // task.team.size * train.num_instances
        self._slice = slice(task.team.rank * own, (task.team.rank + 1) * own)

    def images(self, epoch: int) -> Iterator[tuple[Tensor]]:
        """Labelled images of an epoch's batches, normalised."""
        for batch in self._made(epoch, 0):
            yield (batch.finished(self._task.team.device)[0],)

    def _made(self, epoch: int, first: int) -> Iterator[VariedBatch]:
        return self._task.source.batches(
            self.rows(epoch), self._variation, self._task.seed, epoch, first=first, own=self._slice,
            workers=self._task.workers, pinned=self._task.team.device.type == "cuda",
        )  # fmt: skip

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Those of an epoch from a step on, this process's slice of each."""
        device, made = self._task.team.device, self._made(epoch, first)
        for batch, views in zip(made, self._views(epoch, first), strict=False):
            start, parts = self._start(epoch, batch.number), batch.parts(device)
            yield Batch(*batch.finished(device), batch.paths, start, parts, views)

    def _views(self, epoch: int, first: int) -> Iterator[Tensor | None]:
        """Of each batch this process's images without labels, each varied twice; none: the epoch has none."""
        words, unlabelled = self._task.train.unlabelled, self._task.unlabelled
        if words is None or unlabelled is None or not words.at(epoch, self._task.train.epochs):
            return repeat(None)
        return self._varied_twice(*unlabelled, epoch, first)

    def _varied_twice(self, images: TrainingImages, number: int, epoch: int, first: int) -> Iterator[Tensor]:
        """float32 [U, 2, 3, H, W] for each batch, in which the team has so many images."""
        team, seed = self._task.team, self._task.seed + _APART
        order = shuffled_pairs(len(images.paths), number, len(self.rows(epoch)), seed, epoch)
        own = 2 * number // team.size
        made = images.batches(
            order, self._variation, seed, epoch, first=first, workers=self._task.workers,
            own=slice(team.rank * own, (team.rank + 1) * own), pinned=team.device.type == "cuda",
        )  # fmt: skip
        for batch in made:
            varied, _ = batch.finished(team.device)
            yield varied.reshape(-1, 2, *varied.shape[1:])

    def _start(self, epoch: int, step: int) -> Tensor | None:
        """The first step of an attack on this process's images, where the recipe attacks them."""
        train, geometry, device = self._task.train, self._task.source.geometry, self._task.team.device
        if not recipe.attacked(train, step):
            return None
        shape = (self._task.identities * train.num_instances, 3, geometry.height, geometry.width)
        drawn = attack.drawn(shape, self._task.seed, epoch, 1 + step, 1)[self._slice]
        return (drawn.pin_memory() if device.type == "cuda" else drawn).to(device, non_blocking=True)

    def plan(self, epoch: int, step: int) -> Plan:
        """How a step is taken; sets the learning rates that the recipe has then."""
        train, steps = self._task.train.at(epoch, step), len(self.rows(epoch))
        recipe.set_rates(train, self._state.optimizer)
        self._freeze(recipe.frozen(train, epoch, step, steps))
        return Plan(
            self._terms, steps, recipe.factor(train, epoch, step, steps), train.precision,
            train.clip, mean=self._task.team.mean, kept=self._kept, flags=self._flags(),
            loss_factor=recipe.loss_factor(train, epoch, step, steps), attack=self._attack,
        )  # fmt: skip

    def _freeze(self, frozen: bool) -> None:
        """Keep, or let go, what the recipe freezes.

        A team's processes have agreed on whose gradients they share: what is frozen for a while has some in
        them, which the step then drops.
        """
        if frozen == self._frozen:
            return
        self._frozen = frozen
        train, embedder, alone = self._task.train, embedder_of(self._state), self._task.team.size == 1
        freeze(embedder, train.freeze, frozen=frozen, norm=train.freeze_norm, gradients=alone)
        self._kept = [] if alone or not frozen else frozen_by(embedder, train.freeze)

    def changed(self, record: Record) -> dict[str, Any]:
        """The words of the recipe that changed with the record's step."""
        changes = self._task.train.changes
        place = before = (record.epoch + 1, record.step + 1)
        if changes and record.step:
            before = (record.epoch + 1, record.step)
        elif changes:  # what was to change with a step that the epoch before did not have changes now
            before = (record.epoch, len(self.rows(record.epoch - 1)) if record.epoch else 0)
        found: dict[str, Any] = {}
        for change in changes:
            if before < (change.epoch, change.step) <= place:
                found |= change.words
        return found


def learner_of(state: State) -> Learner:
    """What learns in a state."""
    return cast(Learner, state.learner)


def embedder_of(state: State) -> Embedder:
    """The network that is kept of it."""
    return cast(Embedder, learner_of(state).embedder)
