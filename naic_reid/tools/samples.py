"""Short measurements on this machine: what a start, an image, a training step and a ranking cost."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from naic_reid import machine
from naic_reid.architecture import Architecture
from naic_reid.config import Config, Extract, Model, Rerank

_IMAGES = 48  # looked at, and extracted
_BATCH = 32  # images of a training step that is measured on a processor
_STEPS = 4
_SECONDS = 20  # after which no further step is measured


@dataclass(frozen=True)
class Network:
    """What one model costs."""

    step_image: float
    """Seconds of wall time for an image of a training step, when nothing else runs."""
    step_busy: float
    """Seconds of all processors together, the same."""
    extract_image: float
    """Seconds for an image's feature."""
    train_bytes: int
    """Memory of a training with its whole batch."""
    checkpoint_bytes: int
    dimension: int


def start(module: str) -> float:
    """Seconds from the start of a Python process to the end of its imports, the better of two."""
    command = [sys.executable, "-c", f"import {module}"]
    return min(_seconds(lambda: subprocess.run(command, check=True)) for _ in range(2))


def look(data: Path, paths: Sequence[str]) -> float:
    """Seconds of a processor to read, check and hash an image."""
    from naic_reid.data.looks import looks

    chosen = _spread(paths, _IMAGES)
    return _seconds(lambda: list(looks(data, chosen))) / len(chosen)


def rank(num: int, dimension: int, rerank: Rerank) -> tuple[float, float]:
    """Seconds of a first ranking, with what is compiled for it, and of a second: `num` rows in all."""
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

    return _seconds(once), _seconds(once)


def network(config: Config, model: Model, data: Path, paths: Sequence[str], num_classes: int) -> Network:
    """Trains a few steps and extracts a few images with a network of this model, from random weights."""
    import torch

    from naic_reid import models, recipe
    from naic_reid.artifacts import MadeBy
    from naic_reid.extractor import chosen
    from naic_reid.models.weights import Checkpoint

    train = config.train.adapted(model.recipe)
    device = chosen("auto")
    with _one_thread(device.type == "cpu"):
        torch.manual_seed(0)
        before = _resident()
        architecture = Architecture.within(model.model_dump())
        embedder = models.build(architecture)
        learner = recipe.learner(train, embedder, num_classes).to(device).train()
        learner.to(memory_format=torch.channels_last)
        optimizer = recipe.optimizer(train, learner)
        batch = train.batch if device.type == "cuda" else min(train.batch, _BATCH)
        step = _Steps(train, model, learner, optimizer, data, paths, num_classes, batch, device)
        wall, busy = step.measured()
        weights = sum(p.numel() for p in learner.parameters())
        fixed = weights * 4 * 4  # weights, gradients and the optimizer's two or three states
        grown = max(_resident() - before - fixed, 0)
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        names = tuple(f"{number:09}" for number in range(num_classes))
        kept = Checkpoint.of(embedder, learner.classifier, 1, names, architecture, MadeBy())
        size = 4 * sum(values.numel() for values in learner.state_dict().values())
        return Network(
            wall / batch, busy / batch, _extraction(kept, config.extract, data, paths),
            peak or before + fixed + grown * train.batch // batch, size, embedder.dimension,
        )  # fmt: skip


class _Steps:
    """Training steps on images of the data, under labels that mean nothing."""

    def __init__(self, train, model, learner, optimizer, data, paths, num_classes, batch, device) -> None:  # type: ignore[no-untyped-def]
        from naic_reid import recipe
        from naic_reid.data.augment import Recipe
        from naic_reid.data.batches import TrainingImages, TrainingList
        from naic_reid.data.geometry import Geometry
        from naic_reid.data.sampler import identity_batches

        group = train.num_instances
        identities = max(2, min(batch // group, num_classes))
        chosen = list(islice(cycle(_spread(paths, identities * group)), identities * group))
        labels = [row // group for row in range(len(chosen))]
        fits = len(paths) * model.height * model.width * 3 <= 1 << 31
        memory = None if fits else 0
        self.source = TrainingImages(
            data, TrainingList(chosen, labels), Geometry(model.height, model.width), memory=memory
        )
        order = identity_batches(self.source.labels, identities, group, 0, 0)
        self.order = np.repeat(order[:1], _STEPS + 1, axis=0)
        self.recipe = Recipe(**train.augment.model_dump())
        self.terms = recipe.terms(train, learner.embedder)
        self.train, self.learner, self.optimizer, self.device = train, learner, optimizer, device

    def measured(self) -> tuple[float, float]:
        """Wall seconds and processor seconds of a step, after the first."""
        walls, busy = [], []
        began = time.monotonic()
        last, used = began, time.process_time()
        for _ in self._taken():
            now, spent = time.monotonic(), time.process_time()
            walls.append(now - last)
            busy.append(spent - used)
            last, used = now, spent
            if len(walls) > 1 and now - began > _SECONDS:
                break
        return float(np.median(walls[1:])), float(np.median(busy[1:]))

    def _taken(self) -> Iterator[None]:
        from naic_reid import precision

        made = self.source.batches(self.order, self.recipe, 0, 0, workers=machine.processors())
        for batch in made:
            pixels, labels = batch.finished(self.device)
            with precision.autocast(self.train.precision, self.device):
                losses = self.learner(pixels, labels).losses
                total = sum(weight * losses[name] for name, weight in self.terms.items())
            total.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            float(total.detach())  # waits for a GPU
            yield


def _extraction(checkpoint, extract: Extract, data: Path, paths: Sequence[str]) -> float:  # type: ignore[no-untyped-def]
    from naic_reid.data.images import read
    from naic_reid.extractor import Extractor

    extractor = Extractor(checkpoint, **extract.model_dump())
    files = [data / path for path in _spread(paths, _IMAGES)]
    list(extractor.blocks(files[:16], read))
    return _seconds(lambda: list(extractor.blocks(files, read))) / len(files)


@contextmanager
def _one_thread(wanted: bool) -> Iterator[None]:
    """As the workflow's steps compute on a processor."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1 if wanted else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _spread(paths: Sequence[str], number: int) -> list[str]:
    """So many of the paths at most, evenly spread."""
    step = max(1, len(paths) // number)
    return list(paths[::step][:number])


def _resident() -> int:
    """Bytes this process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _seconds(work) -> float:  # type: ignore[no-untyped-def]
    began = time.monotonic()
    work()
    return time.monotonic() - began
