"""One model, trained at one resolution: the training list → checkpoints at the ensemble's epochs.

The work is done in a folder of its own under `scratch`, named after everything that decides the
trajectory. A run that was cut off goes on there from its last saved step, to the same bits; a finished
one only hands over its files. Every `checkpoint_every`-th epoch is kept there, so that another choice of
`ensemble.epochs` trains nothing again. Class indices are the ranks of the identities in lexicographic order.
"""

import contextlib
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from naic_reid import machine, models, precision, recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList, MadeBy, canonical
from naic_reid.config import Ensemble, Model, Train
from naic_reid.data import augment
from naic_reid.data import unlabelled as unlabelled_images
from naic_reid.data.attributes import Attributes
from naic_reid.data.attributes import read as read_attributes
from naic_reid.data.batches import Batch as VariedBatch
from naic_reid.data.batches import TrainingImages, TrainingList, with_shuffled_channels
from naic_reid.data.geometry import Geometry
from naic_reid.data.sampler import Sampler, cameras_of, shuffled_pairs
from naic_reid.errors import ReidError
from naic_reid.files import known_digest, whole
from naic_reid.heap import keep_freed_memory
from naic_reid.models import weights
from naic_reid.models.embedder import Embedder
from naic_reid.models.sight import require_plain
from naic_reid.progress import followed
from naic_reid.training import attack, loop, resume
from naic_reid.training.freezing import freeze, frozen_by
from naic_reid.training.history import History
from naic_reid.training.learner import Learner
from naic_reid.training.repeatable import repeatable
from naic_reid.training.saving import Pace, Writer
from naic_reid.training.state import State
from naic_reid.training.step import Batch, NotFiniteError, Plan, Record
from naic_reid.training.team import Team, joined

REVISION = 3

_APART = 1 << 64
"""Of the seeds of labelled batches and of those of images without labels: no two draws are the same."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_log = logging.getLogger(__name__)


def run(
    seed: int,
    train: Train,
    model: Model,
    ensemble: Ensemble,
    *,
    data: Path,
    scratch: Path,
    images: Path,
    unlabelled: list[Path],
    pretrained: list[Path],
    attributes: list[Path],
    checkpoints: list[Path],
    history: Path,
    workers: int = 0,
    image_memory: str = "",
    device: str = "auto",
    threads: int = 0,
    save_seconds: float = 10.0,
    compiled: bool = False,
) -> None:
    """Writes one `Checkpoint` for each of `ensemble.epochs`, and `history`, a JSON object per line.

    Args:
        train: the recipe; `model.recipe` holds the words that differ.
        images: the training list.
        unlabelled: at most one table of `train.unlabelled.images`; none: the folder is looked through.
        pretrained: at most one file of weights for the backbone to start from.
        attributes: the table of what persons wear, where `train.attributes` names one.
        scratch: where unfinished runs live.
        workers: threads that make batches; 0: one for each processor.
        image_memory: of decoded images, such as 6GB; by default what is free, but for half of it.
        device: auto, cpu, cuda or cuda:N.
        threads: of the computation on a CPU; 0: as many as torch takes.
        save_seconds: least time between two saved states.
        compiled: let torch.compile make the network faster; its sums may round otherwise.
    """
    started = time.monotonic()
    listed = ImageList.read(images)
    train = train.adapted(model.recipe)
    further = _further(train, data, unlabelled)
    home = _Home(scratch / "train", seed, train, model, _contents(images, pretrained, attributes, further))
    made_by = _made_by(home.settings(train), images, *pretrained, *unlabelled, *attributes)
    with contextlib.ExitStack() as stack:
        stack.enter_context(repeatable(threads, deterministic=train.deterministic))
        team = stack.enter_context(joined(device))
        keep_freed_memory()
        if team.leads:
            stack.enter_context(resume.run_folder(home.parent, home.name, home.trajectory))
        if team.first_says((home.path / "finished").exists()):
            _log.info("train: %s is finished: only its files are handed over", home.path)
            home.refuse_lost(ensemble.epochs, train.epochs)
        else:
            source, classes = _source(data, listed, images, model, train, seed, machine.amount(image_memory))
            task = _Task(seed, train, model, source, classes, team, workers, further, attributes)
            _learn(task, home, {*ensemble.epochs}, made_by, _state(task, pretrained, compiled), save_seconds)
        if team.leads:
            home.hand_over(zip(ensemble.epochs, checkpoints, strict=True), history, made_by)
            _log.info("train: wrote %d checkpoints in %.1f s", len(checkpoints), time.monotonic() - started)
        team.first_says(True)  # none leaves before all is there


def _made_by(settings: dict[str, Any], *inputs: Path) -> MadeBy:
    return MadeBy.of("train", REVISION, settings, list(inputs))


def _copy(path: Path, to: Path) -> None:
    with whole(to) as unfinished:
        shutil.copyfile(path, unfinished)


def _further(train: Train, data: Path, tables: list[Path]) -> unlabelled_images.Rows:
    """The images without labels that the recipe asks for, if it does."""
    if train.unlabelled is None:
        return []
    folder = train.unlabelled.images
    return unlabelled_images.read(tables[0]) if tables else unlabelled_images.found(data, folder)


def _contents(
    images: Path, pretrained: list[Path], attributes: list[Path], further: unlabelled_images.Rows
) -> dict[str, Any]:
    """Digests of what is read."""
    found: dict[str, Any] = {
        "images": known_digest(images),
        "pretrained": [known_digest(path) for path in pretrained],
    }
    more: dict[str, Any] = (
        {"unlabelled": blake2b(repr(further).encode(), digest_size=16).hexdigest()} if further else {}
    )
    more |= {"attributes": [known_digest(path) for path in attributes]} if attributes else {}
    return found | more


@dataclass(frozen=True)
class _Home:
    """Where a run lives, named after what decides its trajectory; and what lies there."""

    parent: Path
    seed: int
    train: Train
    model: Model
    contents: Mapping[str, Any]
    """Digests of the inputs."""

    @property
    def name(self) -> str:
        return f"{self.model.backbone.replace('/', '_')}_{self.model.height}x{self.model.width}"

    def settings(self, train: Train) -> dict[str, Any]:
        """All that decides a trajectory, but for the inputs; not which of its epochs are kept."""
        recipe = train.model_dump(mode="json", by_alias=True, exclude={"checkpoint_every"})
        network = self.model.model_dump(mode="json", exclude={"weight", "recipe"})
        return {"seed": self.seed, "train": recipe, "model": network}

    def trajectory_of(self, train: Train) -> str:
        return canonical({**self.settings(train), **self.contents, "revision": REVISION})

    @cached_property
    def trajectory(self) -> str:
        return self.trajectory_of(self.train)

    @cached_property
    def path(self) -> Path:
        return resume.folder_of(self.parent, self.name, self.trajectory)

    def kept(self, epoch: int) -> Path:
        """The checkpoint after that many epochs."""
        return self.path / f"epoch_{epoch}.pt"

    def load(self, *, leads: bool) -> dict[str, Any] | None:
        """The state to go on from: of this run or, before its last change, of the run without that."""
        if (found := resume.load(self.path / "state.pt", self.trajectory)) is not None:
            return found
        *earlier, last = self.train.changes or (None,)
        if last is None:
            return None
        before = replace(self, train=self.train.model_copy(update={"changes": tuple(earlier)}))
        found = before.load(leads=leads)
        if found is None or (found["epoch"], found["step"]) > (last.epoch - 1, last.step - 1):
            return None
        _log.info("train: takes over what %s trained before the change in epoch %d", before.path, last.epoch)
        if leads:
            for path in (*before.path.glob("epoch_*.pt"), before.path / "history.jsonl"):
                _copy(path, self.path / path.name)
        return found

    def refuse_lost(self, epochs: Iterable[int], passed: int) -> None:
        """Refuse epochs that the run has passed and not kept.

        Raises:
            ReidError: there are some; it names what was kept.
        """
        lost = [epoch for epoch in epochs if epoch <= passed and not self.kept(epoch).exists()]
        there = sorted(int(path.stem.removeprefix("epoch_")) for path in self.path.glob("epoch_*.pt"))
        if lost:
            raise ReidError(
                f"ensemble.epochs {lost} were trained and not kept; kept are {there}: choose among these, or "
                f"delete {self.path} to train again from the beginning"
            )

    def hand_over(self, wanted: Iterable[tuple[int, Path]], history: Path, made_by: MadeBy) -> None:
        """The checkpoints of these epochs, and the history.

        What a run left may lie there for months: nothing damaged is handed over.
        """
        for epoch, path in wanted:
            try:
                checkpoint = weights.Checkpoint.read(self.kept(epoch))
            except ReidError as error:
                raise ReidError(f"{error}; to train anew, delete {self.path}") from error
            replace(checkpoint, made_by=made_by).write(path)
        _copy(self.path / "history.jsonl", history)


@dataclass(frozen=True)
class _Task:
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


def _state(task: _Task, pretrained: list[Path], compiled: bool) -> State:
    """What training moves, at its beginning."""
    train, model, team = task.train, task.model, task.team
    torch.manual_seed(task.seed)
    architecture = Architecture.within(model.model_dump())
    if train.taps != "none":
        require_plain(architecture, "train.taps")
    embedder = models.build(architecture)
    for path in pretrained:
        _log.info("train: %s: %s", path, weights.load_pretrained(embedder.backbone, path))
    learner = recipe.learner(train, embedder, len(task.classes), task.attributes, task.classes)
    for path in pretrained if model.carry_classes else ():
        carried = weights.carry_classes(learner.classifier, embedder, task.classes, path)
        _log.info("train: %s: %d of %d classes are carried over", path, carried, len(task.classes))
    learner.to(team.device).to(memory_format=torch.channels_last).train()
    optimizer = recipe.optimizer(train, learner)
    average = recipe.average(train, embedder)
    for_a_while = train.freeze_epochs is not None or train.freeze_steps is not None
    freeze(embedder, train.freeze, norm=train.freeze_norm, gradients=team.size == 1 or not for_a_while)
    if not (for_a_while or any(parameter.requires_grad for parameter in embedder.parameters())):
        raise ReidError(
            f"train.freeze {list(train.freeze)} keep every parameter of this network: nothing is trained"
        )
    called = team.wrapped(recipe.compiled(learner) if compiled else learner, sync_norm=train.sync_norm)
    if team.rank:  # equal networks, and each process's own random draws
        torch.manual_seed(task.seed + (team.rank << 32))
    return State(learner, optimizer, called=called, average=average)


class _Epochs:
    """Which images each batch shows, and how each step is taken."""

    def __init__(self, task: _Task, state: State, asked: "_Asked") -> None:
        self._task, self._state, self._asked = task, state, asked
        train, source = task.train, task.source
        self._terms = recipe.terms(train, _embedder(state))
        cameras = cameras_of(source.paths, train.cameras, source.cameras) if train.cameras else None
        self._sampler = Sampler(
            source.labels, task.identities, train.num_instances, task.seed, cameras=cameras,
            steps=train.steps_per_epoch, kind=train.sampler,
        )  # fmt: skip
        self.rows = self._sampler.rows
        """Of each batch of an epoch: int64 [steps, images]."""
        self._variation = augment.Recipe(**train.augment.model_dump())
        attacks = train.adversarial and recipe.attack(train.adversarial.levels)
        self._attack = partial(attacks, _embedder(state)) if attacks else None
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
            train.clip, mean=self._task.team.mean, kept=self._kept, flags=self._asked.flags(),
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
        train, embedder, alone = self._task.train, _embedder(self._state), self._task.team.size == 1
        freeze(embedder, train.freeze, frozen=frozen, norm=train.freeze_norm, gradients=alone)
        self._kept = [] if alone or not frozen else frozen_by(embedder, train.freeze)

    def changed(self, record: Record) -> dict[str, Any]:
        """The words of the recipe that changed with the record's step."""
        place = (record.epoch + 1, record.step + 1)
        return next((c.words for c in self._task.train.changes if (c.epoch, c.step) == place), {})


class _Asked:
    """What any process asks of all: to save, or to stop. Flags travel with a step's numbers and are heard by
    all processes with them."""

    def __init__(self, team: Team, signals: list[int], pace: Pace, writer: Writer) -> None:
        self._team, self._signals, self._pace, self._writer = team, signals, pace, writer
        self.save, self.stop = False, 0
        """Whether to save; the signal to stop by, or 0."""

    def flags(self) -> Tensor:
        due = self._team.leads and self._pace.due and self._writer.idle
        mine = [due, *(number in self._signals for number in _SIGNALS)]
        numbers = torch.tensor(mine, dtype=torch.float32, pin_memory=self._team.device.type == "cuda")
        return numbers.to(self._team.device, non_blocking=True)

    def hear(self, record: Record) -> None:
        save, *stops = record.flags
        self.save |= save > 0
        self.stop = self.stop or next((n for n, asked in zip(_SIGNALS, stops, strict=True) if asked > 0), 0)


def _learn(
    task: _Task, home: _Home, wanted: set[int], made_by: MadeBy, state: State, save_seconds: float
) -> None:
    """Train to the last epoch, keeping checkpoints, the history and states to go on from."""
    train, team = task.train, task.team
    position = _gone_on(task, home, state)
    home.refuse_lost(wanted, state.epoch)
    wanted = {*wanted, *range(train.checkpoint_every, train.epochs + 1, train.checkpoint_every), train.epochs}
    with contextlib.ExitStack() as stack:
        folder = home.path if team.leads else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        writer = stack.enter_context(Writer().finishing())
        lines = stack.enter_context(History(folder, position, processes=team.size))
        signals = stack.enter_context(resume.stop_signals())
        show = stack.enter_context(followed("training", train.epochs, on=team.leads))
        pace = Pace(save_seconds)
        asked = _Asked(team, signals, pace, writer)
        epochs = _Epochs(task, state, asked)
        _announce(task, state, len(epochs.rows(min(state.epoch, train.epochs - 1))))
        records = loop.run(
            state, epochs.batches, epochs.plan, epochs=train.epochs, micro_batches=task.micro_batches,
            pause=lambda: asked.save or bool(asked.stop),
        )  # fmt: skip
        try:
            for record in records:
                lines.add(record, epochs.changed(record))
                show(*_told(record, state.overflows, train.epochs, team.size))
                asked.hear(record)
                if record.settled and record.ends_epoch and state.epoch in wanted:
                    _keep(task, state, epochs, home, writer, made_by)
                if record.settled and (asked.save or asked.stop):
                    with pace.saving():
                        _save(task, state, home, writer, lines)
                    asked.save = False
                if record.settled and asked.stop:
                    _log.warning("train: stopped by signal %d after saving: run again to go on", asked.stop)
                    raise SystemExit(128 + asked.stop)
        except NotFiniteError as error:
            rows = torch.from_numpy(epochs.rows(error.epoch)[error.step])
            raise _kept_step(task, state, home, writer, lines, rows, error) from error
        except loop.TooLargeError as error:
            raise ReidError(f"{error}{_advice(task, state)}") from error
    if team.leads:
        (home.path / "finished").touch()


def _gone_on(task: _Task, home: _Home, state: State) -> dict[str, Any] | None:
    """Put the state where a cut-off run left it, if there is one; where its history stood then."""
    found = home.load(leads=task.team.leads)
    if found is None:
        return None
    state.load(found, task.team.rank)
    if len(found["generators"]) != task.team.size:
        _log.warning(
            "train: was saved by %d processes and goes on with %d: dropout is another than without the cut",
            len(found["generators"]), task.team.size,
        )  # fmt: skip
    _log.info("train: goes on from epoch %d, step %d", state.epoch + 1, state.step + 1)
    position: dict[str, Any] = found["history"]
    return position if task.team.leads else None


def _announce(task: _Task, state: State, steps: int) -> None:
    train, model, team = task.train, task.model, task.team
    _log.info(
        "train: %s at %d × %d on %s: %d images of %d identities, %d epochs of about %d steps of %d images",
        model.backbone, model.height, model.width, team.device, len(task.source.paths), len(task.classes),
        train.epochs, steps, task.identities * train.num_instances,
    )  # fmt: skip
    if precision.scales_losses(train.at(state.epoch, state.step).precision) and team.device.type == "cpu":
        _log.warning("train: fp16 is many times slower than bf16 on a processor: set train.precision")


def _keep(task: _Task, state: State, epochs: _Epochs, home: _Home, writer: Writer, made_by: MadeBy) -> None:
    """Have the checkpoint of the epoch that has ended written."""
    if not task.team.leads:
        return
    learner, epoch, network = _learner(state), state.epoch, _embedder(state)
    if state.average is not None and state.average.count:
        with precision.float32_products(task.train.at(epoch - 1, 0).precision):
            network = state.average.settled(epochs.images(epoch - 1))
    architecture, heads = Architecture.within(task.model.model_dump()), recipe.attribute_heads(learner)

    def write(tensors: tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]) -> None:
        own, classes, worn = tensors
        told = recipe.trained_attributes(task.train, task.attributes, worn) if task.attributes else None
        kept = weights.Checkpoint(own, classes, epoch, task.classes, architecture, made_by, attributes=told)
        kept.write(home.kept(epoch))

    worn = heads.state_dict() if heads else {}
    writer.write((network.state_dict(), learner.classifier.state_dict(), worn), write)


def _save(task: _Task, state: State, home: _Home, writer: Writer, lines: History, **more: Any) -> None:
    """Have the state written from which the run goes on; all processes of a team give their generators."""
    kept = state.snapshot()
    kept["generators"] = [own for (own,) in task.team.all_of(kept["generators"])]
    kept |= {"history": lines.position(), "settings": home.trajectory, "classes": list(task.classes)} | more
    if task.team.leads:
        writer.write(kept, partial(resume.save, home.path / ("not_finite.pt" if more else "state.pt")))


def _kept_step(
    task: _Task,
    state: State,
    home: _Home,
    writer: Writer,
    lines: History,
    rows: Tensor,
    error: NotFiniteError,
) -> ReidError:
    """Save a step that is not finite, as it begins; and how to go on from it."""
    _save(task, state, home, writer, lines)
    _save(
        task, state, home, writer, lines, rows=rows, paths=[task.source.paths[row] for row in rows.tolist()]
    )
    return ReidError(
        f"{error}; {home.path / 'not_finite.pt'} keeps the step, and the same command begins with it; to go "
        "on from it with other words, add to train or to this model's recipe "
        f"changes: [{{epoch: {error.epoch + 1}, step: {error.step + 1}, learning_rate: …}}], or precision: …"
    )


def _advice(task: _Task, state: State) -> str:
    """What to do where a batch does not fit into memory."""
    train, team = task.train, task.team
    own, learner = task.identities // team.size, _learner(state)
    sizes = recipe.micro_batches(own, train.num_instances, train.accumulate)
    if team.size > 1:  # no trials here: the others would wait for this process
        cut = f"train.accumulate to {own * train.num_instances // sizes[1]}, or " if sizes[1:] else ""
        return f", as {team.called}: set {cut}a smaller batch in this model's recipe"
    fits = sizes[0]
    while fits > 2:
        fits //= 2
        if _fits(learner, fits, task.model, train.precision):
            break
    return (
        f": a batch of {own * train.num_instances} images at {task.model.height} × {task.model.width} needs "
        f"more than there is, and {fits} would fit: set train.accumulate to "
        f"{-(-own * train.num_instances // fits)} (or accumulate_to_fit: true), or a smaller batch in this "
        "model's recipe"
    )


def _fits(learner: Learner, images: int, model: Model, word: str) -> bool:
    """Whether so many images can go forward and backward at once. The learner is of no use afterwards."""
    device = next(learner.parameters()).device
    learner.zero_grad(set_to_none=True)
    try:
        with precision.float32_products(word):
            with precision.autocast(word, device):
                pixels = torch.zeros(images, 3, model.height, model.width, device=device)
                judgement = learner(pixels, torch.arange(images, device=device) // 2)
            torch.stack(list(judgement.losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        return False
    return True


def _source(
    data: Path, listed: ImageList, images: Path, model: Model, train: Train, seed: int, memory: int | None
) -> tuple[TrainingImages, tuple[str, ...]]:
    """The images with their class indices, and the identities in their order."""
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


def _told(record: Record, overflows: int, epochs: int, processes: int) -> tuple[float, str]:
    """Epochs done, and what to say of the last step."""
    scaled = "" if record.scale is None else f"scale {record.scale:g} ({overflows} steps skipped) "
    return record.epoch + (record.step + 1) / record.steps, (
        f"epoch {record.epoch + 1}/{epochs} step {record.step + 1}/{record.steps} "
        f"loss {record.total:.3f} accuracy {record.accuracy:.0%} lr {record.rate:.2g} {scaled}"
        f"{processes * record.images / record.seconds:.0f} images/s"
    )


def _learner(state: State) -> Learner:
    return cast(Learner, state.learner)


def _embedder(state: State) -> Embedder:
    return cast(Embedder, _learner(state).embedder)
