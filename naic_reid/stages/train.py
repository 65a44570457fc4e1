"""One model, trained at one resolution: the training list → checkpoints at the ensemble's epochs.

The work is done in a folder of its own under `scratch`, named after everything that decides the
result. A run that was cut off goes on there from its last saved step, to the same bits; a finished
one only hands over its files. Class indices are the ranks of the identities in lexicographic order.
"""

import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from naic_reid import machine, models, precision, recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList, MadeBy, canonical
from naic_reid.config import Ensemble, Model, Train
from naic_reid.data import augment
from naic_reid.data.batches import TrainingImages, with_shuffled_channels
from naic_reid.data.sampler import Sampler, cameras_of
from naic_reid.errors import ReidError
from naic_reid.files import known_digest, whole
from naic_reid.heap import keep_freed_memory
from naic_reid.models import weights
from naic_reid.models.embedder import Embedder
from naic_reid.progress import followed
from naic_reid.training import loop, resume
from naic_reid.training.freezing import freeze
from naic_reid.training.history import History
from naic_reid.training.learner import Learner
from naic_reid.training.repeatable import generators, repeatable, set_generators
from naic_reid.training.team import Team, joined

REVISION = 2

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
    pretrained: list[Path],
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
        pretrained: at most one file of weights for the backbone to start from.
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
    # The weight is for the fusion: another one is no reason to train again.
    network = model.model_dump(exclude={"weight", "recipe"})
    settings = {"seed": seed, "train": train, "model": network, "ensemble": ensemble}
    contents = {"images": known_digest(images), "pretrained": [known_digest(path) for path in pretrained]}
    decisive = canonical({**settings, **contents, "revision": REVISION})
    made_by = MadeBy.of("train", REVISION, settings, [images, *pretrained])
    name = f"{model.backbone.replace('/', '_')}_{model.height}x{model.width}"
    home = resume.folder_of(scratch / "train", name, decisive)
    kept = {epoch: home / f"epoch_{epoch}.pt" for epoch in ensemble.epochs}
    with contextlib.ExitStack() as stack:
        stack.enter_context(repeatable(threads))
        stack.enter_context(precision.float32_products(train.precision))
        team = stack.enter_context(joined(device))
        keep_freed_memory()
        if team.leads:
            folder = stack.enter_context(resume.run_folder(scratch / "train", name, decisive))
        else:  # what the others write nobody reads
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if team.largest(int((home / "finished").exists())):
            _log.info("train: %s is finished: only its files are handed over", home)
            _check_kept(home, kept.values())
        else:
            source, classes = _source(data, listed, images, model, train, seed, machine.amount(image_memory))
            learnt = _learn(
                seed, train, model, source, classes, pretrained, home / "state.pt", folder, team, workers,
                save_seconds, compiled, set(kept), decisive,
            )  # fmt: skip
            for epoch, embedder, classifier in learnt:
                if team.leads:
                    done = weights.Checkpoint.of(
                        embedder, classifier, epoch, classes, Architecture.within(network), made_by
                    )
                    done.write(kept[epoch])
            if team.leads:
                (home / "finished").touch()
        if team.leads:
            for epoch, path in zip(ensemble.epochs, checkpoints, strict=True):
                _hand_over(kept[epoch], path)
            _hand_over(home / "history.jsonl", history)
            _log.info("train: wrote %d checkpoints in %.1f s", len(checkpoints), time.monotonic() - started)


def _learn(
    seed: int,
    train: Train,
    model: Model,
    source: TrainingImages,
    classes: tuple[str, ...],
    pretrained: list[Path],
    saved: Path,
    folder: Path,
    team: Team,
    workers: int,
    save_seconds: float,
    compiled: bool,
    wanted: set[int],
    decisive: str,
) -> Iterator[tuple[int, Embedder, nn.Module]]:
    """Train to the last epoch; yields each wanted epoch, from 1, with the network and classifier after it."""
    if team.size > 1 and train.freeze_epochs:
        raise ReidError("train.freeze_epochs needs one process: start the stage without torchrun")
    torch.manual_seed(seed)
    embedder = models.build(Architecture.within(model.model_dump()))
    for path in pretrained:
        _log.info("train: %s: %s", path, weights.load_pretrained(embedder.backbone, path))
    learner = recipe.learner(train, embedder, len(classes))
    for path in pretrained if model.carry_classes else ():
        carried = weights.carry_classes(learner.classifier, embedder, classes, path)
        _log.info("train: %s: %d of %d classes are carried over", path, carried, len(classes))
    device = team.device
    learner.to(device).to(memory_format=torch.channels_last).train()
    optimizer = recipe.optimizer(train, learner)
    autocast = partial(precision.autocast, train.precision, device)
    scaler = precision.scaler(train.precision, device)
    if scaler.is_enabled() and device.type == "cpu":
        _log.warning("train: fp16 is many times slower than bf16 on a processor: set train.precision")
    average = recipe.average(train, embedder)
    variation = augment.Recipe(**train.augment.model_dump())
    group = train.num_instances
    identities = recipe.identities(train.batch, group, len(classes), train.accumulate * team.size)
    own = identities // team.size * group
    part = slice(team.rank * own, (team.rank + 1) * own)
    cameras = cameras_of(source.paths, train.cameras, source.cameras) if train.cameras else None

    sampler = Sampler(source.labels, identities, group, seed, cameras=cameras, steps=train.steps_per_epoch)
    order = sampler.rows

    def batches(epoch: int, first: int) -> Iterator[loop.Step]:
        kept = train.freeze_epochs is None or epoch < train.freeze_epochs
        freeze(embedder, train.freeze, frozen=kept, norm=train.freeze_norm)
        made = source.batches(
            order(epoch), variation, seed, epoch, first=first, part=part, workers=workers,
            pinned=device.type == "cuda",
        )  # fmt: skip
        for batch in made:
            yield *batch.finished(device), batch.paths

    keepers: dict[str, Any] = {"learner": learner, "optimizer": optimizer, "scaler": scaler}
    if average is not None:
        keepers["average"] = average
    start, position = (0, 0), None
    if (found := resume.load(saved, decisive)) is not None:
        start, position = (found["epoch"], found["step"]), found["history"] if team.leads else None
        for name, keeper in keepers.items():
            keeper.load_state_dict(found[name])
        set_generators(found["generators"])
        _log.info("train: goes on from epoch %d, step %d", start[0] + 1, start[1] + 1)
    freeze(embedder, train.freeze, norm=train.freeze_norm)
    _log.info(
        "train: %s at %d × %d on %s: %d images of %d identities, %d epochs of about %d steps of %d images",
        model.backbone, model.height, model.width, device, len(source.paths), len(classes), train.epochs,
        len(order(min(start[0], train.epochs - 1))), identities * group,
    )  # fmt: skip

    trained = team.wrapped(recipe.compiled(learner) if compiled else learner, sync_norm=train.sync_norm)

    def steps(begin: tuple[int, int], part: int) -> Iterator[loop.Record]:
        return loop.run(
            trained, recipe.terms(train, embedder), optimizer, batches,
            lambda epoch, step: recipe.factor(train, epoch, step / len(order(epoch))), epochs=train.epochs,
            steps=lambda epoch: len(order(epoch)), start=begin, autocast=autocast, scaler=scaler,
            clip=train.clip, part=part, mean=team.mean,
        )  # fmt: skip

    parts = recipe.parts(identities // team.size, group, train.accumulate)
    # Processes that train together would wait for one that begins its step anew.
    parts = parts if train.accumulate_to_fit and team.size == 1 else parts[:1]
    records = _within_memory(steps, start, parts, learner, model, identities * group, autocast)
    pace = resume.Pace(save_seconds)
    shown = followed("training", train.epochs, on=team.leads)
    with History(folder, position) as lines, resume.stop_signals() as asked, shown as show:

        def state(epoch: int, step: int) -> dict[str, Any]:
            kept = {name: keeper.state_dict() for name, keeper in keepers.items()}
            kept |= {"epoch": epoch, "step": step, "generators": generators(), "history": lines.position()}
            return kept | {"settings": decisive, "classes": list(classes)}

        def keep_step(epoch: int, step: int) -> Path:
            rows = order(epoch)[step]
            images = {"rows": torch.from_numpy(rows), "paths": [source.paths[row] for row in rows]}
            for path in (saved, folder / "not_finite.pt"):
                resume.save(path, state(epoch, step) | images)
            return path

        for record in _kept_when_not_finite(records, keep_step if team.leads else None):
            lines.add(record)
            show(*_told(record, train.epochs))
            if average is not None:
                average.update_parameters(embedder)
            epoch, step = record.following
            if record.ends_epoch and epoch in wanted:
                network = embedder if average is None else cast(Embedder, average.module)
                yield epoch, network, learner.classifier
            stop = team.largest(asked[0] if asked else 0)
            if team.leads and (pace.due or stop):
                with pace.saving():
                    resume.save(saved, state(epoch, step))
            if stop:
                _log.warning("train: stopped by signal %d after saving: run again to go on", stop)
                raise SystemExit(128 + stop)


def _kept_when_not_finite(
    records: Iterator[loop.Record], keep: Callable[[int, int], Path] | None
) -> Iterator[loop.Record]:
    """The records; a step that is not finite is kept before the error goes on, which then names the file."""
    try:
        yield from records
    except loop.NotFiniteError as error:
        if keep is None:
            raise
        path = keep(error.epoch, error.step)
        raise ReidError(f"{error}; {path} keeps the step, and the same command begins with it") from error


def _within_memory(
    steps: Callable[[tuple[int, int], int], Iterator[loop.Record]],
    start: tuple[int, int],
    parts: list[int],
    learner: Learner,
    model: Model,
    batch: int,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]],
) -> Iterator[loop.Record]:
    """The records; a step that a GPU has no memory for is begun anew in the next smaller parts.

    When there are none left, an error says how much would fit. Tested with an error raised for it, not yet
    on a GPU that was full.
    """
    for part in parts:
        try:
            for record in steps(start, part):
                yield record
                start = record.following
            return
        except torch.OutOfMemoryError:
            _log.warning(
                "train: no memory for %d images at once, in epoch %d, step %d",
                part,
                start[0] + 1,
                start[1] + 1,
            )
        # Outside of that block, what the failed step held is free again.
    fits = batch
    device = next(learner.parameters()).device
    while fits > 2:
        fits //= 2
        learner.zero_grad(set_to_none=True)
        try:
            with autocast():
                images = torch.zeros(fits, 3, model.height, model.width, device=device)
                judgement = learner(images, torch.arange(fits, device=device) // 2)
                sum(judgement.losses.values()).backward()
            break
        except torch.OutOfMemoryError:
            continue
    raise ReidError(
        f"a batch of {batch} images at {model.height} × {model.width} needs more memory than {device} has; "
        f"{fits} would fit: set train.accumulate to {-(-batch // fits)} (or accumulate_to_fit: true), or a "
        "smaller batch in this model's recipe"
    )


def _source(
    data: Path,
    listed: ImageList,
    images: Path,
    model: Model,
    train: Train,
    seed: int,
    memory: int | None,
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
    labels = [rank[identity] for identity in identities]
    cameras = dict(zip(listed.paths, listed.cameras, strict=True))
    digests = dict(zip(listed.paths, listed.digests, strict=True))
    source = TrainingImages(
        data, paths, labels, model.height, model.width, channels=channels, cameras=cameras, digests=digests,
        resize=model.resize, memory=memory,
    )  # fmt: skip
    return source, classes


def _told(record: loop.Record, epochs: int) -> tuple[float, str]:
    """Epochs done, and what to say of the last step."""
    return record.epoch + (record.step + 1) / record.steps, (
        f"epoch {record.epoch + 1}/{epochs} step {record.step + 1}/{record.steps} "
        f"loss {record.total:.3f} accuracy {record.accuracy:.0%} rate {record.rate:.2g} "
        f"{record.images / record.seconds:.0f} images/s"
    )


def _check_kept(home: Path, kept: Iterable[Path]) -> None:
    """What a finished run left may lie there for months: nothing damaged is handed over."""
    for path in kept:
        try:
            weights.Checkpoint.read(path)
        except ReidError as error:
            raise ReidError(f"{error}; to train anew, delete {home}") from error


def _hand_over(kept: Path, path: Path) -> None:
    with whole(path) as part:
        shutil.copyfile(kept, part)
