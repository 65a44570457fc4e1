"""Lists of images and one checkpoint → a feature for each image, written as they come.

A feature is the network's output after the bottleneck, of the image and of its mirror image added
(when `extract.flip`), scaled to length 1: what `naic_reid.extractor` gives for the same file. Only the
checkpoint and the images are read, the checkpoint once for all lists. Memory does not grow with the number
of images.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch

from naic_reid import parts
from naic_reid.artifacts import Floats, ImageList, MadeBy, saying_regions, streamed_features
from naic_reid.config import Extract
from naic_reid.data.crops import Part
from naic_reid.errors import ReidError
from naic_reid.extractor import BATCHES, Extractor
from naic_reid.heap import keep_freed_memory
from naic_reid.models.weights import Checkpoint
from naic_reid.progress import shown

REVISION = 2

_log = logging.getLogger(__name__)


def run(
    extract: Extract,
    *,
    data: Path,
    images: list[Path],
    checkpoint: Path,
    features: list[Path],
    workers: int = 0,
    device: str = "auto",
    threads: int = 0,
    batch: int = 0,
    shard: str = "",
) -> None:
    """Writes `Features` for the images of each list, in its order.

    Rows are called by file name, or by path where two folders of the list share a file name.

    Args:
        images: the lists.
        features: where each list's features go, in the order of the lists.
        workers: threads that read images; 0: as many as there are processors.
        device: auto, cpu, cuda or cuda:N.
        threads: of the computation on a CPU; 0: as many as torch takes.
        batch: images that go through the network together; 0: what suits the device.
        shard: I/N makes parts for `gather`: the features of the I-th of N ranges of each list's batches.
    """
    started = time.monotonic()
    if not len(images) == len(features) > 0:
        raise ReidError(
            f"extract: {len(images)} lists and {len(features)} files of features: give --images and "
            "--features once for each list, in one order"
        )
    trained = Checkpoint.read(checkpoint)
    settings = {"extract": extract, "model": trained.architecture.options, "epoch": trained.epoch}
    made_by = MadeBy.of("extract", REVISION, settings, [checkpoint, *images])
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    extractor = Extractor(trained, device=device, **extract.model_dump())
    batch = batch or BATCHES[extractor.device.type]
    model, *of_lists = made_by.inputs
    jobs = [
        _Job(ImageList.read(path), replace(made_by, inputs=(mine, model)), out, shard, batch)
        for path, mine, out in zip(images, of_lists, features, strict=True)
    ]
    total = sum(len(job.rows) for job in jobs)
    _log.info(
        "extract: %d images of %d lists through %s, epoch %d, on %s%s",
        total, len(jobs), trained.architecture, trained.epoch, extractor.device,
        f", part {shard}" if shard else "",
    )  # fmt: skip
    written = (row for job in jobs for row in job.written(extractor, data, batch, workers))
    for _ in shown(written, "extract", total):
        pass
    seconds = time.monotonic() - started
    _log.info("extract: wrote %d files in %.1f s, %.0f images/s", len(jobs), seconds, total / seconds)


class _Job:
    """One list, or a shard's rows of it, and where its features go."""

    def __init__(self, listed: ImageList, made_by: MadeBy, features: Path, shard: str, batch: int) -> None:
        # In whole batches: the last bits of a feature may depend on how many images are computed together.
        rows = parts.rows_of(shard, len(listed), batch)
        # File names, as submissions list them; whole paths where two folders share a file name.
        names = listed.names if len(set(listed.names)) == len(listed) else listed.paths
        self.rows = range(rows.start, rows.stop)
        self._listed = listed
        self._names = names[rows.start : rows.stop]
        self._features, self._made_by, self._part = features, made_by, rows if shard else None

    def written(self, extractor: Extractor, data: Path, batch: int, workers: int) -> Iterator[int]:
        """Each row when its feature is written; the file is whole after the last.

        Raises:
            ReidError: of the first image that cannot be read, or has changed since it was listed.
        """
        with self._opened(extractor) as append:
            sources = [Part.of(data, self._listed, row) for row in self.rows]
            for block in extractor.blocks(sources, Part.read, batch=batch, workers=workers):
                for _, error in block.faults:
                    raise error
                append(block.values)
                yield from block.rows

    def _opened(self, extractor: Extractor) -> AbstractContextManager[Callable[[Floats], None]]:
        """A function that appends rows to the file, which is whole when the block ends."""
        opened = self._features, self._names, extractor.dimension, self._made_by
        more = saying_regions(extractor.regions)
        if self._part is None:
            return streamed_features(*opened, more=more)
        return parts.streamed_features(*opened, self._part, more)
