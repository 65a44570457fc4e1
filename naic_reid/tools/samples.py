"""Short measurements on this machine: what a start, an image, a training step and a ranking cost."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from naic_reid.architecture import Architecture
from naic_reid.config import Config, Extract, Model, Rerank

if TYPE_CHECKING:  # torch, which --help need not wait for
    from torch import Tensor

    from naic_reid.data.batches import Batch

_P = ParamSpec("_P")
_T = TypeVar("_T")
_IMAGES = 48  # looked at, and extracted
_BATCH = 32  # images of a training step that is measured on a processor
_STEPS = 4
_COMPILING = 2.0  # seconds; to load what is compiled takes less, to compile it more
_SECONDS = 20  # after which no further step is measured


@dataclass(frozen=True)
class Cost:
    """What a piece of work takes, told so that others on the machine while it is measured count little."""

    alone: float
    """Seconds that its computing thread needs: on a processor its own time there, else what passes."""
    busy: float
    """Seconds of all processors together."""


@dataclass(frozen=True)
class Network:
    """What one model costs."""

    step_image: Cost
    """Of an image of a training step; it is decoded already where all images fit into memory."""
    read_image: float
    """Seconds of a processor to read an image the first time, where it is kept decoded; else 0."""
    first_step: float
    """Seconds that the first step takes beyond another."""
    extract_image: Cost
    """Of an image's feature."""
    extract_bytes: int
    """Memory of an extraction beyond its imports."""
    train_bytes: int
    """Memory of a training with its whole batch."""
    checkpoint_bytes: int
    dimension: int


class Start(NamedTuple):
    """What a Python process takes that imports what a step needs, and does nothing else."""

    seconds: float
    """Of a processor."""
    bytes: int
    """Of memory."""


def start(module: str) -> Start:
    """A process that imports a module: the quicker of two."""
    script = f"import {module}; from naic_reid.tools import samples; print(samples.resident())"

    def once() -> Start:
        before = os.times()
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        after = os.times()  # its end, too: unloading libraries takes long
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        return Start(spent, int(done.stdout))

    return min(once(), once())


def look(data: Path, paths: Sequence[str]) -> float:
    """Seconds of a processor to read, check and hash an image."""
    from naic_reid.data.looks import looks

    chosen = _spread(paths, _IMAGES)
    return _spent(lambda: list(looks(data, chosen))).busy / len(chosen)


def drawing() -> float:
    """Processor seconds of one of the report's drawings."""
    from naic_reid.pages import charts

    def once() -> str:
        places = range(1, 21)
        return charts.lines("sample", "a curve", ("k", "%"), {"one": (places, places)})

    once()  # which loads what draws
    return _spent(once).busy


def rank(num: int, dimension: int, rerank: Rerank) -> tuple[float, float]:
    """Processor seconds of a process's first ranking of `num` rows, with what it loads, and of its second.

    An installation compiles once, which is not counted: where it did so, another process is asked.
    """
    first, second = _alone(_rank, num, dimension, rerank)
    return (first, second) if first - second < _COMPILING else _alone(_rank, num, dimension, rerank)


def _rank(num: int, dimension: int, rerank: Rerank) -> tuple[float, float]:
    from naic_reid.retrieval import ranking
    from naic_reid.retrieval.rerank import Reranking

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(1, num // 8), dimension))
    rows = centres[rng.integers(len(centres), size=num)] + 0.7 * rng.standard_normal((num, dimension))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    cut = max(1, num // 10)
    how = Reranking(min(rerank.k1, num - cut - 1), rerank.k2, rerank.lambda_)

    def once() -> None:
        ranking.rank(rows[:cut], rows[cut:], rerank=how)

    return _spent(once).busy, _spent(once).busy


def network(config: Config, model: Model, data: Path, paths: Sequence[str], num_classes: int) -> Network:
    """Trains a few steps and extracts a few images with a network of this model, from random weights.

    In a process of its own, as the steps do it: memory that another took is not counted.
    """
    return _alone(_network, config, model, data, paths, num_classes)


def _network(config: Config, model: Model, data: Path, paths: Sequence[str], num_classes: int) -> Network:
    import torch

    from naic_reid import models, recipe
    from naic_reid.artifacts import MadeBy
    from naic_reid.extractor import chosen
    from naic_reid.heap import keep_freed_memory
    from naic_reid.models.size import parameters
    from naic_reid.models.weights import Checkpoint

    train = config.train.adapted(model.recipe)
    device = chosen("auto")
    keep_freed_memory()
    if device.type == "cpu":
        torch.set_num_threads(1)  # as the workflow's steps compute
    torch.manual_seed(0)
    before = resident()
    architecture = Architecture.within(model.model_dump())
    embedder = models.build(architecture)
    learner = recipe.learner(train, embedder, num_classes).to(device).train()
    learner.to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer(train, learner)
    names = tuple(f"{number:09}" for number in range(num_classes))
    kept = Checkpoint.of(embedder, learner.classifier, 1, names, architecture, MadeBy())
    extraction = _extraction(kept, config.extract, data, paths)
    extracting = resident() - before
    batch = train.batch if device.type == "cuda" else min(train.batch, _BATCH)
    step = _Steps(train, model, learner, optimizer, (data, paths, num_classes), batch, device)
    cost, reading, first = step.measured()
    fixed = parameters(learner) * 4 * 4  # weights, gradients and the optimizer's two or three states
    grown = max(resident() - before - fixed, 0)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    size = 4 * sum(values.numel() for values in learner.state_dict().values())
    return Network(
        cost, reading, first, extraction, extracting,
        peak or before + fixed + grown * train.batch // batch, size, embedder.dimension,
    )  # fmt: skip


class _Steps:
    """Training steps on images of the data, under labels that mean nothing."""

    def __init__(self, train, model, learner, optimizer, images, batch, device) -> None:  # type: ignore[no-untyped-def]
        """`images`: their folder, their paths and how many classes they are said to be of."""
        from naic_reid import recipe
        from naic_reid.data.augment import Recipe
        from naic_reid.data.batches import TrainingImages, TrainingList
        from naic_reid.data.geometry import Geometry
        from naic_reid.data.sampler import identity_batches

        data, paths, num_classes = images
        group = train.num_instances
        identities = max(2, min(batch // group, num_classes))
        chosen = list(islice(cycle(_spread(paths, identities * group)), identities * group))
        labels = [row // group for row in range(len(chosen))]
        self.fits = len(paths) * model.height * model.width * 3 <= 1 << 31
        memory = None if self.fits else 0
        self.source = TrainingImages(
            data, TrainingList(chosen, labels), Geometry(model.height, model.width), memory=memory
        )
        order = identity_batches(self.source.labels, identities, group, 0, 0)
        self.order = np.repeat(order[:1], _STEPS + 1, axis=0)
        self.recipe = Recipe(**train.augment.model_dump())
        self.terms = recipe.terms(train, learner.embedder)
        self.train, self.learner, self.optimizer, self.device = train, learner, optimizer, device

    def measured(self) -> tuple[Cost, float, float]:
        """What an image of a step takes; what more it takes the first time; what more the first step takes.

        Threads make batches ahead of the steps, so the two are measured one after the other.
        """
        made = [_spent(lambda n=n: list(self._made(self.order[:n]))).busy for n in (1, len(self.order))]  # type: ignore[misc]
        making = made[1] / len(self.order)
        steps = self._steps()
        first, usual = steps[0], float(np.median(steps[1:]))
        for more, share in self._shares():
            (longer,) = self._steps(more)
            usual += share * max(longer - usual, 0.0)
        images = self.order.shape[1]
        reading = max(made[0] - making, 0.0) if self.fits else 0.0
        return Cost(usual / images, (usual + making) / images), reading / images, max(first - usual, 0.0)

    def _shares(self) -> Iterator[tuple[str, float]]:
        """What some steps see beside their images, as the learner calls it, and the share of these steps."""
        if self.train.adversarial:
            yield "attacked", 1 / self.train.adversarial.every
        if self.train.unlabelled:
            epochs = range(self.train.epochs)
            yield "views", sum(self.train.unlabelled.at(n, len(epochs)) for n in epochs) / len(epochs)

    def _steps(self, more: str = "") -> list[float]:
        """Seconds of the computing thread in each step; in one that sees more, too."""
        clock = time.thread_time if self.device.type == "cpu" else time.monotonic
        found: list[float] = []
        began, last = time.monotonic(), clock()
        for _ in self._taken(self.order[:1] if more else self.order, more):
            now = clock()
            found.append(now - last)
            last = now
            if len(found) > 1 and time.monotonic() - began > _SECONDS:
                break
        return found

    def _made(self, order: NDArray[np.int64]) -> Iterator["Batch"]:
        return self.source.batches(order, self.recipe, 0, 0, workers=1)

    def _taken(self, order: NDArray[np.int64], more: str) -> Iterator[None]:
        from naic_reid import precision

        for batch in self._made(order):
            pixels, labels = batch.finished(self.device)
            given = {more: self._attacked(pixels) if more == "attacked" else pixels.chunk(2)} if more else {}
            with precision.autocast(self.train.precision, self.device):
                losses = self.learner(pixels, labels, **given).losses
                total = sum(self.terms[name] * loss for name, loss in losses.items())
            total.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            float(total.detach())  # waits for a GPU
            yield

    def _attacked(self, pixels: "Tensor") -> "Tensor":
        """The images as a training against attacks shows them."""
        from naic_reid import recipe
        from naic_reid.training import attack

        start = attack.drawn(pixels.shape, 0).to(self.device)
        return recipe.attack(self.train.adversarial.levels)(self.learner.embedder, pixels, start)


def _extraction(checkpoint, extract: Extract, data: Path, paths: Sequence[str]) -> Cost:  # type: ignore[no-untyped-def]
    from naic_reid.data.images import read
    from naic_reid.extractor import Extractor

    extractor = Extractor(checkpoint, **extract.model_dump())
    files = [data / path for path in _spread(paths, _IMAGES)]
    list(extractor.blocks(files[:16], read))
    cost = _spent(lambda: list(extractor.blocks(files, read)), processor=extractor.device.type == "cpu")
    return Cost(cost.alone / len(files), cost.busy / len(files))


def _alone(function: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
    """What a function gives in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments, **options).result()


def _spread(paths: Sequence[str], number: int) -> list[str]:
    """So many of the paths at most, evenly spread."""
    step = max(1, len(paths) // number)
    return list(paths[::step][:number])


def resident() -> int:
    """Bytes this process has had in memory at most, and none that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024  # type: ignore[index]


def _spent(work: Callable[[], object], *, processor: bool = True) -> Cost:
    """What the work took; `processor`: its computing thread is the calling one."""
    clock = time.thread_time if processor else time.monotonic
    began, used = clock(), time.process_time()
    work()
    return Cost(clock() - began, time.process_time() - used)
