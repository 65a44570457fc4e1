"""Images to train on by the batch: P identities × K images.

A training batch is determined by (seed, epoch, number): the sampler lays out an epoch before it
begins, and each batch draws its own augmentation. Workers are threads, since decoding and resizing
release the interpreter's lock; how many there are changes nothing but the speed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import permutations
from pathlib import Path
from typing import Self, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from naic_reid import machine
from naic_reid.data import augment, images
from naic_reid.data.cache import ImageCache
from naic_reid.data.geometry import Geometry

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def resized(path: Path, height: int, width: int, digest: str = "", resize: str = "area") -> NDArray[np.uint8]:
    """One image file, of that digest if there is one, as uint8 [height, width, 3], R, G, B."""
    return Geometry(height, width, resize).fitted(images.read(path, digest))


@dataclass(frozen=True)
class Batch:
    """Varied images of P identities, K of each side by side, not yet on the device."""

    number: int
    """From 0 in its epoch."""
    pixels: Tensor
    """uint8 [B, H, W, 3]."""
    erase: Tensor
    """int64 [B, 4], rectangles to erase: `augment.Draws.erase`."""
    noise: Tensor | None
    """What fills them: `augment.noise`."""
    labels: Tensor
    """int64 [B], class indices."""
    paths: tuple[str, ...]
    erased: tuple[float, float, float] = augment.MEAN
    """What rectangles become without noise, R, G, B in normalised space."""
    frames: Tensor | None = None
    """int64 [B, 4], outside of which images are blank; None: nowhere."""

    def pinned(self) -> Self:
        """The same in memory from which a GPU copies while the host goes on."""
        noise = None if self.noise is None else self.noise.pin_memory()
        frames = None if self.frames is None else self.frames.pin_memory()
        pixels, erase, labels = (each.pin_memory() for each in (self.pixels, self.erase, self.labels))
        return replace(self, pixels=pixels, erase=erase, noise=noise, labels=labels, frames=frames)

    def finished(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised images float32 [B, 3, H, W], channels last, and labels int64 [B], on the device.

        Of a pinned batch the copies go on while the host does.
        """
        sent = (each.to(device, non_blocking=True) for each in (self.pixels, self.erase, self.labels))
        pixels, erase, labels = sent
        noise = None if self.noise is None else self.noise.to(device, non_blocking=True)
        frames = None if self.frames is None else self.frames.to(device, non_blocking=True)
        return augment.finish(pixels, erase, noise, self.erased, frames), labels


class TrainingImages:
    """Labelled images from which the batches of an epoch are made; decoded ones are kept while they fit."""

    def __init__(
        self,
        data: Path,
        paths: Sequence[str],
        labels: Sequence[int],
        height: int,
        width: int,
        *,
        channels: NDArray[np.int64] | None = None,
        cameras: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
        memory: int | None = None,
        resize: str = "area",
    ) -> None:
        """Of label lists, read when they are asked for.

        Args:
            data: the folder that the paths start from.
            paths: of N images; one may stand there several times.
            labels: class indices [N].
            height: of the batches' images, in pixels.
            width: likewise.
            channels: int [N, 3], the order in which each image's channels are shown; None: as they are.
            cameras: those that the list knows, by path.
            digests: of the files, by path; each is checked when its file is read the first time.
            memory: bytes of decoded images to keep; None: what is free, see `ImageCache`.
            resize: a word of `Geometry`.
        """
        self._resize = resize
        self.cameras = cameras or {}
        self._digests = dict(digests or {})
        self.data, self.paths, self.height, self.width = data, tuple(paths), height, width
        self.labels = np.asarray(labels, np.int64)
        self._channels = channels
        places = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        self._place = [places[path] for path in paths]
        self._decoded = ImageCache(memory)

    def batches(
        self, order: NDArray[np.int64], recipe: augment.Recipe, seed: int, epoch: int, *,
        first: int = 0, part: slice = slice(None), workers: int = 0, pinned: bool = False,
    ) -> Iterator[Batch]:  # fmt: skip
        """The batches of one epoch from number `first` on.

        Args:
            order: rows of each batch, as the sampler laid them out.
            recipe: of the augmentation.
            seed: the run's.
            epoch: from 0.
            first: number of the batch to begin with.
            part: of each batch only these images are made, to the same bits as in the whole batch.
            workers: threads that make batches; 0: one for each processor.
            pinned: they also copy them to where a GPU reads without the host.

        Raises:
            ReidError: an image cannot be read; the message names it.
        """

        erased = (0.0, 0.0, 0.0) if recipe.erasing_fill == "zero" else augment.MEAN

        def make(number: int) -> Batch:
            # 1 + number, for (seed, epoch, 0) is the stream of (seed, epoch), and that is the sampler's.
            rng = np.random.default_rng((seed, epoch, 1 + number))
            draws = augment.draw(recipe, order.shape[1], self.height, self.width, rng)[part]
            rows = order[number, part]
            given = np.stack([self._image(int(row)) for row in rows])
            varied = augment.vary(given, draws, recipe.policy, recipe.crop_then)
            blanks = draws.crop is not None and recipe.crop_then == "blank"
            batch = Batch(
                number, torch.from_numpy(varied), torch.from_numpy(draws.erase), augment.noise(draws),
                torch.from_numpy(self.labels[rows]), tuple(self.paths[row] for row in rows), erased,
                torch.from_numpy(draws.crop) if blanks else None,
            )  # fmt: skip
            return batch.pinned() if pinned else batch

        return _ahead(make, range(first, len(order)), workers)

    def _image(self, row: int) -> NDArray[np.uint8]:
        place = self._place[row]
        pixels = self._decoded.get(place)
        if pixels is None:
            pixels = self._read(row)
            self._decoded.keep(place, pixels)
        if self._channels is None:
            return pixels
        return np.ascontiguousarray(pixels[..., self._channels[row]])

    def _read(self, row: int) -> NDArray[np.uint8]:
        path = self.paths[row]
        digest = self._digests.get(path, "")
        pixels = resized(self.data / path, self.height, self.width, digest, self._resize)
        if digest:
            self._digests[path] = ""  # the sum costs a tenth of the decoding: once is enough
        return pixels


def with_shuffled_channels(
    paths: Sequence[str], identities: Sequence[str], times: int, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.int64]]:
    """The images, and again for each of `times` permutations of R, G, B drawn for their identity.

    Returns paths, identities and the order of channels [N, 3]. An identity shown in another order is a
    new one, named `source/label#brg`; its permutations are distinct, never the plain one, and
    determined by (seed, its name). Source: the NAIC 2020 champions' channel shuffle, which is offline.
    """
    orders = [np.array(order) for order in permutations(range(3))][1:]
    all_paths, all_identities = list(paths), list(identities)
    channels = [np.arange(3)] * len(paths)
    chosen = {}
    for identity in set(identities):
        key = int.from_bytes(blake2b(identity.encode(), digest_size=8).digest())
        chosen[identity] = np.random.default_rng((seed, key)).permutation(len(orders))[:times]
    for time in range(times):
        for path, identity in zip(paths, identities, strict=True):
            order = orders[int(chosen[identity][time])]
            all_paths.append(path)
            all_identities.append(f"{identity}#{''.join('rgb'[channel] for channel in order)}")
            channels.append(order)
    return tuple(all_paths), tuple(all_identities), np.stack(channels)


def _ahead(work: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[_Out]:
    """`work` of each item, in order, with `workers` threads at most two items each ahead of the reader.

    0 threads: one for each processor that this process may use.
    """
    workers = workers or machine.processors()
    cv2.setNumThreads(1)  # these threads are the parallel ones; each of OpenCV's calls would start more
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
