"""Images to train on by the batch: P identities × K images.

A training batch is determined by (seed, epoch, number): the sampler lays out an epoch before it
begins, and each batch draws its own augmentation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from itertools import permutations
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from naic_reid import machine
from naic_reid.data import augment, images
from naic_reid.data.cache import ImageCache
from naic_reid.data.geometry import Geometry
from naic_reid.data.read_ahead import in_order


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
    kept: Tensor | None = None
    """float32 [B, 3], the part that is stretched to the whole image: where it begins and how much it is, as
    shares of the height, and how much it is of the width; None: all of it."""

    def pinned(self) -> Self:
        """The same in memory from which a GPU copies while the host goes on."""
        return self._moved(Tensor.pin_memory)

    def finished(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised images float32 [B, 3, H, W], channels last, and labels int64 [B], on the device.

        Of a pinned batch the copies go on while the host does.
        """
        sent = self._moved(lambda tensor: tensor.to(device, non_blocking=True))
        return augment.finish(sent.pixels, sent.erase, sent.noise, sent.erased, sent.frames), sent.labels

    def parts(self, device: torch.device) -> Tensor | None:
        """`kept` on the device."""
        return None if self.kept is None else self.kept.to(device, non_blocking=True)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        """The same with each of its tensors moved."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        moved: dict[str, Any] = {
            name: move(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class TrainingList:
    """N images to train on, and what the list knows of their files."""

    paths: Sequence[str]
    """[N], from the data folder on; one may stand there several times."""
    labels: Sequence[int]
    """[N], class indices."""
    channels: NDArray[np.int64] | None = None
    """[N, 3], the order in which each image's channels are shown; none: as they are."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """Those that are known, by path."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of the files, by path; each is checked when its file is read the first time."""


class TrainingImages:
    """Labelled images from which the batches of an epoch are made; decoded ones are kept while they fit."""

    def __init__(
        self, data: Path, listed: TrainingList, geometry: Geometry, *, memory: int | None = None
    ) -> None:
        """Of a list, whose files are read when they are asked for.

        Args:
            data: the folder that the paths start from.
            listed: what is shown as what.
            geometry: of the batches' images.
            memory: bytes of decoded images to keep; None: what is free, see `ImageCache`.
        """
        self.data, self.geometry = data, geometry
        self.paths, self.labels = tuple(listed.paths), np.asarray(listed.labels, np.int64)
        self.cameras = listed.cameras
        self._channels, self._digests = listed.channels, dict(listed.digests)
        places = {path: place for place, path in enumerate(dict.fromkeys(self.paths))}
        self._place = [places[path] for path in self.paths]
        self._decoded = ImageCache(memory)

    def batches(
        self, order: NDArray[np.int64], recipe: augment.Recipe, seed: int, epoch: int, *,
        first: int = 0, own: slice = slice(None), workers: int = 0, pinned: bool = False,
    ) -> Iterator[Batch]:  # fmt: skip
        """The batches of one epoch from number `first` on.

        Args:
            order: rows of each batch, as the sampler laid them out.
            recipe: of the augmentation.
            seed: the run's.
            epoch: from 0.
            first: number of the batch to begin with.
            own: of each batch only these images are made, to the same bits as in the whole batch.
            workers: threads that make batches; 0: one for each processor.
            pinned: they also copy them to where a GPU reads without the host.

        Raises:
            ReidError: an image cannot be read; the message names it.
        """

        height, width = self.geometry.height, self.geometry.width
        erased = augment.FILLS.get(recipe.erasing_fill, augment.MEAN)

        def make(number: int) -> Batch:
            # 1 + number, for (seed, epoch, 0) is the stream of (seed, epoch), and that is the sampler's.
            rng = np.random.default_rng((seed, epoch, 1 + number))
            draws = augment.draw(recipe, order.shape[1], height, width, rng)[own]
            rows = order[number, own]
            given = np.stack([self._image(int(row)) for row in rows])
            varied = augment.vary(given, draws, recipe.policy, recipe.crop_then)
            blanks = recipe.crops and recipe.crop_then == "blank"
            kept = _kept(draws, height, width) if recipe.crops and not blanks else None
            batch = Batch(
                number, torch.from_numpy(varied), torch.from_numpy(draws.erase), augment.noise(draws),
                torch.from_numpy(self.labels[rows]), tuple(self.paths[row] for row in rows), erased,
                torch.from_numpy(draws.crop) if blanks else None, kept,
            )  # fmt: skip
            return batch.pinned() if pinned else batch

        workers = workers or machine.processors()
        return in_order(make, range(first, len(order)), workers, ahead=2 * workers)

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
        pixels = self.geometry.fitted(images.read(self.data / path, digest))
        if digest:
            self._digests[path] = ""  # the sum costs a tenth of the decoding: once is enough
        return pixels


def _kept(draws: augment.Draws, height: int, width: int) -> Tensor:
    """`Batch.kept`, float32 [B, 3]."""
    assert draws.crop is not None
    shares = draws.crop[:, [0, 2, 3]] / np.array((height, height, width))
    return torch.from_numpy(shares.astype(np.float32))


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
