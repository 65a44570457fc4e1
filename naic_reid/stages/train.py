"""One model, trained at one resolution: the training list → checkpoints at the ensemble's epochs.

The work is done in a folder of its own under `scratch` (`trajectory`), where a run that was cut off goes on.
"""

import contextlib
import logging
import signal
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from naic_reid import machine, models, precision, recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy
from naic_reid.config import Ensemble, Model, Train
from naic_reid.epochs import Epochs, Task, embedder_of, further_images, labelled, learner_of
from naic_reid.errors import ReidError
from naic_reid.heap import keep_freed_memory
from naic_reid.models import weights
from naic_reid.models.sight import require_plain
from naic_reid.progress import followed
from naic_reid.training import loop, resume
from naic_reid.training.freezing import freeze
from naic_reid.training.history import History
from naic_reid.training.learner import Learner
from naic_reid.training.repeatable import repeatable
from naic_reid.training.saving import Pace, Writer
from naic_reid.training.state import State
from naic_reid.training.step import NotFiniteError, Record
from naic_reid.training.teacher import Teacher
from naic_reid.training.team import Team, joined
from naic_reid.trajectory import Trajectory, contents_of

REVISION = 3

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
    train = train.adapted(model.recipe)
    further = further_images(train, data, unlabelled)
    contents = contents_of(images, pretrained, attributes, further)
    home = Trajectory(scratch / "train", seed, train, model, contents, REVISION)
    made_by = home.made_by([images, *pretrained, *unlabelled, *attributes])
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
            source, classes = labelled(data, images, model, train, seed, machine.amount(image_memory))
            task = Task(seed, train, model, source, classes, team, workers, further, attributes)
            _learn(task, home, {*ensemble.epochs}, made_by, _state(task, pretrained, compiled), save_seconds)
        if team.leads:
            home.hand_over(zip(ensemble.epochs, checkpoints, strict=True), history, made_by)
            _log.info("train: wrote %d checkpoints in %.1f s", len(checkpoints), time.monotonic() - started)
        team.first_says(True)  # none leaves before all is there


def _state(task: Task, pretrained: list[Path], compiled: bool) -> State:
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
        for teacher in (module for module in learner.modules() if isinstance(module, Teacher)):
            teacher.restart()
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
    task: Task, home: Trajectory, wanted: set[int], made_by: MadeBy, state: State, save_seconds: float
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
        epochs = Epochs(task, state, asked.flags)
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


def _gone_on(task: Task, home: Trajectory, state: State) -> dict[str, Any] | None:
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


def _announce(task: Task, state: State, steps: int) -> None:
    train, model, team = task.train, task.model, task.team
    _log.info(
        "train: %s at %d × %d on %s: %d images of %d identities, %d epochs of about %d steps of %d images",
        model.backbone, model.height, model.width, team.device, len(task.source.paths), len(task.classes),
        train.epochs, steps, task.identities * train.num_instances,
    )  # fmt: skip
    if precision.scales_losses(train.at(state.epoch, state.step).precision) and team.device.type == "cpu":
        _log.warning("train: fp16 is many times slower than bf16 on a processor: set train.precision")


def _keep(
    task: Task, state: State, epochs: Epochs, home: Trajectory, writer: Writer, made_by: MadeBy
) -> None:
    """Have the checkpoint of the epoch that has ended written."""
    if not task.team.leads:
        return
    learner, epoch, network = learner_of(state), state.epoch, embedder_of(state)
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


def _save(task: Task, state: State, home: Trajectory, writer: Writer, lines: History, **more: Any) -> None:
    """Have the state written from which the run goes on; all processes of a team give their generators."""
    kept = state.snapshot()
    kept["generators"] = [own for (own,) in task.team.all_of(kept["generators"])]
    kept |= {"history": lines.position(), "settings": home.trajectory, "classes": list(task.classes)} | more
    if task.team.leads:
        writer.write(kept, partial(resume.save, home.path / ("not_finite.pt" if more else "state.pt")))


def _kept_step(
    task: Task,
    state: State,
    home: Trajectory,
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


def _advice(task: Task, state: State) -> str:
    """What to do where a batch does not fit into memory."""
    train, team = task.train, task.team
    own, learner = task.identities // team.size, learner_of(state)
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
                judgement = learner(pixels, torch.arange(images, device=device) % 2)
            torch.stack(list(judgement.losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        return False
    return True


def _told(record: Record, overflows: int, epochs: int, processes: int) -> tuple[float, str]:
    """Epochs done, and what to say of the last step."""
    scaled = "" if record.scale is None else f"scale {record.scale:g} ({overflows} steps skipped) "
    return record.epoch + (record.step + 1) / record.steps, (
        f"epoch {record.epoch + 1}/{epochs} step {record.step + 1}/{record.steps} "
        f"loss {record.total:.3f} accuracy {record.accuracy:.0%} lr {record.rate:.2g} {scaled}"
        f"{processes * record.images / record.seconds:.0f} images/s"
    )
