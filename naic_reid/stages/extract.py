"""One list of images and one checkpoint → a feature for each image, written as they come.

A feature is the network's output after the bottleneck, of the image and of its mirror image added
(when `extract.flip`), scaled to length 1. Only the checkpoint and the images are read. Memory does
not grow with the number of images.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from naic_reid import parts, precision
from naic_reid.artifacts import ImageList, MadeBy, streamed_features
from naic_reid.config import Extract
from naic_reid.data import augment
from naic_reid.data.batches import test_pixels
from naic_reid.errors import ReidError
from naic_reid.heap import keep_freed_memory
from naic_reid.models.branches import summed
from naic_reid.models.embedder import Embedder
from naic_reid.models.inference import fused, halved
from naic_reid.models.weights import Checkpoint
from naic_reid.progress import shown

REVISION = 1

# On a CPU what passes between layers should stay in the cache; a GPU wants to be filled.
_BATCH = {"cpu": 16, "cuda": 256}

_log = logging.getLogger(__name__)


def run(
    extract: Extract,
    *,
    data: Path,
    images: Path,
    checkpoint: Path,
    features: Path,
    workers: int = 1,
    device: str = "auto",
    threads: int = 0,
    batch: int = 0,
    shard: str = "",
) -> None:
    """Writes `Features` for the images of a list, in its order.

    Rows are called by file name, or by path where two folders of the list share a file name.

    Args:
        workers: threads that read images.
        device: auto, cpu, cuda or cuda:N.
        threads: of the computation on a CPU; 0: as many as torch takes.
        batch: images that go through the network together; 0: what suits the device.
        shard: I/N makes a part for `gather`: the features of the I-th of N ranges of whole batches.
    """
    started = time.monotonic()
    listed = ImageList.read(images)
    trained = Checkpoint.read(checkpoint)
    settings = {"extract": extract, "model": trained.architecture.options, "epoch": trained.epoch}
    made_by = MadeBy.of("extract", REVISION, settings, [images, checkpoint])
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    place = _device(device)
    batch = batch or _BATCH[place.type]
    embedder = prepared(trained.embedder(), extract.precision, place)
    height, width = trained.architecture.height, trained.architecture.width
    # In whole batches: the last bits of a feature may depend on how many images are computed together.
    rows = parts.rows_of(shard, len(listed), batch)
    paths, names = (of_all[rows.start : rows.stop] for of_all in (listed.paths, _names(listed)))
    _log.info(
        "extract: %d images through %s, epoch %d, on %s%s",
        len(paths), trained.architecture, trained.epoch, place,
        f", {rows}" if shard else "",
    )  # fmt: skip
    opened = (
        parts.streamed_features(features, names, embedder.dimension, made_by, rows)
        if shard
        else streamed_features(features, names, embedder.dimension, made_by)
    )
    with opened as append:

        def written() -> Iterator[None]:
            for pixels in test_pixels(data, paths, height, width, batch, workers=workers):
                with torch.inference_mode():
                    rows = unit_features(
                        embedder, pixels.to(place), flip=extract.flip, stripes_weight=extract.stripes_weight,
                        word=extract.precision,
                    )  # fmt: skip
                append(rows.cpu().numpy())
                yield from (None for _ in rows)

        for _ in shown(written(), "extract", len(paths)):
            pass
    seconds = time.monotonic() - started
    _log.info("extract: wrote %s in %.1f s, %.0f images/s", features, seconds, len(paths) / seconds)


def prepared(embedder: Embedder, word: str, device: torch.device) -> Embedder:
    """The embedder as it is quickest: folded, channels last, in the precision asked for, on the device."""
    quick = fused(embedder)
    if (dtype := precision.dtype(word)) != torch.float32:
        quick = halved(quick, dtype)
    return quick.to(device).to(memory_format=torch.channels_last)


def unit_features(
    embedder: Embedder, pixels: Tensor, *, flip: bool, word: str, stripes_weight: float = 1.0
) -> Tensor:
    """Features float32 [B, D] of length 1, of uint8 [B, H, W, 3] on the embedder's device.

    `word` is the precision that the embedder was prepared for.
    """
    inputs = augment.normalised(pixels)
    with precision.forward(word, pixels.device):
        seen = embedder(inputs)
        if flip:
            seen = summed(seen, embedder(inputs.flip(3)))
    return embedder.unit(seen, stripes_weight)


def _names(listed: ImageList) -> tuple[str, ...]:
    """File names, as submissions list them; whole paths where two folders share a file name."""
    return listed.names if len(set(listed.names)) == len(listed) else listed.paths


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ReidError(f"--device {name}: no such device; use auto, cpu, cuda or cuda:N") from error
    if device.type not in _BATCH:
        raise ReidError(f"--device {name}: only a CPU or an NVIDIA GPU will do; use auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ReidError(f"--device {name}: no usable GPU here; use auto or cpu")
    return device
