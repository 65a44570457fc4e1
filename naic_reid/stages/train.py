"""One model, trained at one resolution: the training list → checkpoints at the ensemble's epochs.

The work is done in a folder of its own under `scratch`, named after everything that decides the
result. A run that was cut off goes on there from its last saved step, to the same bits; a finished
one only hands over its files. Class indices are the ranks of the identities in lexicographic order.

Precision `fp16` needs a GPU; on a CPU `bf16` takes its place, and the log says so.
"""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from naic_reid import losses, models
from naic_reid.artifacts import ImageList, MadeBy, canonical
from naic_reid.config import Ensemble, Loss, Model, Schedule, Train
from naic_reid.data import augment
from naic_reid.data.batches import TrainingImages, identity_batches
from naic_reid.errors import ReidError
from naic_reid.files import digest, whole
from naic_reid.models import weights
from naic_reid.models.embedder import Embedder
from naic_reid.training import loop, optimizers, resume, schedule
from naic_reid.training.history import History

REVISION = 1

_LOG_SECONDS = 10.0
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
    workers: int = 1,
    device: str = "auto",
    threads: int = 0,
    save_seconds: float = 10.0,
) -> None:
    """Writes one `Checkpoint` for each of `ensemble.epochs`, and `history`, a JSON object per line.

    Args:
        images: the training list.
        pretrained: at most one file of weights for the backbone to start from.
        scratch: where unfinished runs live.
        workers: threads that make batches.
        device: auto, cpu, cuda or cuda:N.
        threads: of the computation on a CPU; 0: as many as torch takes.
        save_seconds: least time between two saved states.
    """
    started = time.monotonic()
    listed = ImageList.read(images)
    # The weight is for the fusion: another one is no reason to train again.
    network = model.model_dump(exclude={"weight"})
    settings = {"seed": seed, "train": train, "model": network, "ensemble": ensemble}
    contents = {"images": digest(images), "pretrained": [digest(path) for path in pretrained]}
    decisive = canonical({**settings, **contents, "revision": REVISION})
    made_by = MadeBy.of("train", REVISION, settings, [images, *pretrained])
    name = f"{model.backbone.replace('/', '_')}_{model.height}x{model.width}"
    with resume.run_folder(scratch / "train", name, decisive) as folder, _repeatable(threads):
        kept = {epoch: folder / f"epoch_{epoch}.pt" for epoch in ensemble.epochs}
        if (folder / "finished").exists():
            _log.info("train: %s is finished: only its files are handed over", folder)
            _check_kept(folder, kept.values())
        else:
            source, classes = _source(data, listed, images, model)
            learn = partial(_learn, seed, train, model, source, classes, pretrained, folder)
            for epoch, embedder, classifier in learn(_device(device), workers, save_seconds, set(kept)):
                done = weights.Checkpoint.of(embedder, classifier, epoch, classes, network, made_by)
                done.write(kept[epoch])
            (folder / "finished").touch()
        for epoch, path in zip(ensemble.epochs, checkpoints, strict=True):
            _hand_over(kept[epoch], path)
        _hand_over(folder / "history.jsonl", history)
    _log.info("train: wrote %d checkpoints in %.1f s", len(checkpoints), time.monotonic() - started)


def _learn(
    seed: int,
    train: Train,
    model: Model,
    source: TrainingImages,
    classes: tuple[str, ...],
    pretrained: list[Path],
    folder: Path,
    device: torch.device,
    workers: int,
    save_seconds: float,
    wanted: set[int],
) -> Iterator[tuple[int, Embedder, nn.Module]]:
    """Train to the last epoch; yields each wanted epoch, from 1, with the network and classifier after it."""
    torch.manual_seed(seed)
    embedder = models.build(
        model.backbone, height=model.height, width=model.width, pooling=model.pooling,
        last_stride=model.last_stride,
    )  # fmt: skip
    for path in pretrained:
        _log.info("train: starts from %s: %s", path, weights.load_pretrained(embedder.backbone, path))
    terms = _terms(train, len(classes), embedder.dimension)
    learner = nn.ModuleDict({"embedder": embedder, **{name: module for name, (module, _) in terms.items()}})
    learner.to(device).to(memory_format=torch.channels_last).train()
    optimizer = _optimizer(train, learner)
    autocast, scaler = _precision(train.precision, device)
    recipe = augment.Recipe(**train.augment.model_dump())
    identities = _identities(model.batch or train.batch, train.images_per_identity, len(classes))

    @lru_cache(maxsize=1)
    def order(epoch: int) -> NDArray[np.int64]:
        laid = identity_batches(source.labels, identities, train.images_per_identity, seed, epoch)
        return laid[: train.steps_per_epoch]

    def batches(epoch: int, first: int) -> Iterator[loop.Step]:
        for batch in source.batches(order(epoch), recipe, seed, epoch, first=first, workers=workers):
            pixels, labels = (_sent(tensor, device) for tensor in (batch.pixels, batch.labels))
            yield augment.finish(pixels, batch.draws), labels, batch.paths

    start, position = (0, 0), None
    if (state := resume.load(folder / "state.pt")) is not None:
        start, position = (state["epoch"], state["step"]), state["history"]
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        _set_generators(state["generators"])
        _log.info("train: goes on from epoch %d, step %d", start[0] + 1, start[1] + 1)
    _log.info(
        "train: %s at %d × %d on %s: %d images of %d identities, %d epochs of about %d steps of %d images",
        model.backbone, model.height, model.width, device, len(source.paths), len(classes), train.epochs,
        len(order(start[0])) if start[0] < train.epochs else 0, identities * train.images_per_identity,
    )  # fmt: skip

    records = loop.run(
        embedder, {name: (_judge(module), weight) for name, (module, weight) in terms.items()}, optimizer,
        batches, partial(_factor, train.schedule, train.epochs), epochs=train.epochs,
        steps=lambda epoch: len(order(epoch)), start=start, autocast=autocast, scaler=scaler,
    )  # fmt: skip
    pace = resume.Pace(save_seconds)
    with History(folder, position) as lines, resume.stop_signals() as stop, _shown(train.epochs) as show:
        for record in records:
            lines.add(record)
            show(record)
            epoch, step = (record.epoch + 1, 0) if record.ends_epoch else (record.epoch, record.step + 1)
            if record.ends_epoch and epoch in wanted:
                yield epoch, embedder, terms[train.identity_loss.name][0]
            if pace.due or stop:
                with pace.saving():
                    state = {
                        "epoch": epoch, "step": step, "learner": learner.state_dict(),
                        "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict(),
                        "generators": _generators(), "history": lines.position(),
                    }  # fmt: skip
                    resume.save(folder / "state.pt", state)
            if stop:
                _log.warning("train: stopped by signal %d after saving: run again to go on", stop[0])
                raise SystemExit(128 + stop[0])


def _source(
    data: Path, listed: ImageList, images: Path, model: Model
) -> tuple[TrainingImages, tuple[str, ...]]:
    unknown = [path for path, identity in zip(listed.paths, listed.identities, strict=True) if not identity]
    if unknown:
        raise ReidError(f"{images}: no identity for {unknown[0]}: training needs a labelled list")
    classes = tuple(sorted(set(listed.identities)))
    if len(classes) < 2:
        raise ReidError(
            f"{images}: shows {len(classes)} identities, and training needs 2: "
            "lower holdout.share or dedupe.min_images, or add sources"
        )
    rank = {identity: index for index, identity in enumerate(classes)}
    labels = [rank[identity] for identity in listed.identities]
    return TrainingImages(data, listed.paths, labels, model.height, model.width), classes


def _identities(batch: int, images_per_identity: int, classes: int) -> int:
    wanted = batch // images_per_identity
    if classes < wanted:
        _log.warning("train: %d identities fill no batch of %d: it shrinks to them", classes, wanted)
    return min(wanted, classes)


def _terms(train: Train, num_classes: int, dimension: int) -> dict[str, tuple[nn.Module, float]]:
    """The terms of the loss by name, with their weights."""

    def options(loss: Loss) -> dict[str, float | None]:
        return loss.model_dump(include={"scale", "margin", "smoothing"})

    loss = train.identity_loss
    terms = {
        loss.name: (losses.build_identity(loss.name, num_classes, dimension, **options(loss)), loss.weight)
    }
    if (loss := train.metric_loss) is not None:  # type: ignore[assignment]
        terms[loss.name] = (
            losses.build_metric(loss.name, num_classes, dimension, **options(loss)),
            loss.weight,
        )
    return terms


def _judge(module: nn.Module) -> loop.Loss:
    """Identity losses look at features and have logits; metric losses look at embeddings."""

    def judge(embeddings: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        if isinstance(module, tuple(losses.METRIC_LOSSES.values())):  # type: ignore[arg-type]
            return module(embeddings, labels), None
        loss, logits = module(features, labels)
        return loss, logits

    return judge


def _optimizer(train: Train, learner: nn.ModuleDict) -> torch.optim.Optimizer:
    """The body's parameters, and the head's: the bottleneck and what the losses hold per class."""
    named = [(name, p) for name, p in learner.named_parameters() if p.requires_grad]
    body = [p for name, p in named if name.startswith("embedder.") and "embedder.bottleneck." not in name]
    head = [p for name, p in named if not name.startswith("embedder.") or "embedder.bottleneck." in name]
    rates = (train.learning_rate, train.head_learning_rate or train.learning_rate)
    return optimizers.build(train.optimizer, zip((body, head), rates, strict=True), train.weight_decay)


def _factor(settings: Schedule, epochs: int, epoch: float) -> float:
    s = settings
    warm = schedule.warmup(epoch, s.warmup_epochs, s.warmup_factor)
    if s.kind == "cosine":
        return warm * schedule.cosine(epoch, s.warmup_epochs, epochs)
    return warm * schedule.multistep(epoch, s.milestones, s.gamma)


def _precision(
    precision: str, device: torch.device
) -> tuple[Callable[[], contextlib.AbstractContextManager[Any]], torch.amp.GradScaler]:
    if precision == "fp16" and device.type == "cpu":
        _log.info("train: fp16 needs a GPU: bf16 instead")
        precision = "bf16"
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    autocast = partial(torch.autocast, device.type, dtype=dtype, enabled=precision != "fp32")
    return autocast, torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ReidError(f"device {name}: not usable here ({error}); give auto, cpu or cuda") from error
    return device


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; a copy to a GPU goes on while the host prepares the next."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@contextlib.contextmanager
def _repeatable(threads: int) -> Iterator[None]:
    """Equal seeds give equal bits; torch's switches are put back afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(threads or before[0])
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _generators() -> list[Tensor]:
    """States of torch's generators: the CPU's, then each GPU's."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_generators(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) - 1 == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states[1:])


def _check_kept(folder: Path, kept: Iterable[Path]) -> None:
    """What a finished run left may lie there for months: nothing damaged is handed over."""
    for path in kept:
        try:
            weights.Checkpoint.read(path)
        except ReidError as error:
            raise ReidError(f"{error}; to train anew, delete {folder}") from error


def _hand_over(kept: Path, path: Path) -> None:
    with whole(path) as part:
        shutil.copyfile(kept, part)


@contextlib.contextmanager
def _shown(epochs: int) -> Iterator[Callable[[loop.Record], None]]:
    """A function that shows each record: a bar on a terminal, else a line every few seconds."""
    console = Console(stderr=True)
    last = [time.monotonic()]
    columns = (
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=epochs)

        def show(record: loop.Record) -> None:
            text = (
                f"epoch {record.epoch + 1}/{epochs} step {record.step + 1}/{record.steps} "
                f"loss {record.total:.3f} accuracy {record.accuracy:.0%} rate {record.rate:.2g} "
                f"{record.images / record.seconds:.0f} images/s"
            )
            progress.update(task, description=text, completed=record.epoch + (record.step + 1) / record.steps)
            if not console.is_terminal and time.monotonic() - last[0] >= _LOG_SECONDS:
                left = progress.tasks[0].time_remaining
                _log.info("train: %s, %s left", text, "?" if left is None else f"{left:.0f} s")
                last[0] = time.monotonic()

        yield show
