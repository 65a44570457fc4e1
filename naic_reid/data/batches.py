"""Images to train on by the batch: P identities × K images.

A training batch is determined by (seed, epoch, number): the sampler lays out an epoch before it
begins, and each batch draws its own augmentation. Workers are threads, since decoding and resizing
release the interpreter's lock; how many there are changes nothing but the speed.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise, permutations
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from naic_reid import machine
from naic_reid.data import augment, images
from naic_reid.data.geometry import Geometry
from naic_reid.errors import ReidError

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
    draws: augment.Draws
    """For `augment.finish`."""
    labels: Tensor
    """int64 [B], class indices."""
    paths: tuple[str, ...]


class TrainingImages:
    """Labelled images from which the batches of an epoch are made; decoded ones are kept when they fit."""

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
        cache_bytes: int = 1 << 31,
        resize: str = "area",
    ) -> None:
        """`channels` [N, 3] is the order in which each image's channels are shown; none: as they are.

        `cameras` are those that the list knows, by path, and `digests` those of the files; each is checked
        when its file is read the first time. `resize` is a word of `Geometry`.
        """
        self._resize = resize
        self.cameras = cameras or {}
        self._digests = dict(digests or {})
        self.data, self.paths, self.height, self.width = data, tuple(paths), height, width
        self.labels = np.asarray(labels, np.int64)
        self._channels = channels
        places = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        self._place = [places[path] for path in paths]
        fits = len(places) * height * width * 3 <= cache_bytes
        # Pages of an empty array cost nothing until a picture is put there.
        self._kept = np.empty((len(places), height, width, 3), np.uint8) if fits else None
        self._is_kept = np.zeros(len(places), np.bool_)

    def batches(
        self, order: NDArray[np.int64], recipe: augment.Recipe, seed: int, epoch: int, *,
        first: int = 0, part: slice = slice(None), workers: int = 1,
    ) -> Iterator[Batch]:  # fmt: skip
        """The batches of one epoch from number `first` on; `order` is `identity_batches`' answer.

        Of each batch only the images in `part` are made, to the same bits as in the whole batch.

        Raises:
            ReidError: an image cannot be read; the message names it.
        """

        def make(number: int) -> Batch:
            rng = np.random.default_rng((seed, epoch, number))
            draws = augment.draw(recipe, order.shape[1], self.height, self.width, rng)[part]
            rows = order[number, part]
            pixels = np.stack([self._image(int(row)) for row in rows])
            paths = tuple(self.paths[row] for row in rows)
            varied = torch.from_numpy(augment.vary(pixels, draws, recipe.policy))
            return Batch(number, varied, draws, torch.from_numpy(self.labels[rows]), paths)

        return _ahead(make, range(first, len(order)), workers)

    def _image(self, row: int) -> NDArray[np.uint8]:
        place = self._place[row]
        if self._kept is None:
            pixels = self._read(row)
        else:
            if not self._is_kept[place]:
                self._kept[place] = self._read(row)
                self._is_kept[place] = True
            pixels = self._kept[place]
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


KNOWN = "known"


def cameras_of(
    paths: Sequence[str], pattern: str, known: Mapping[str, str] | None = None
) -> NDArray[np.int64]:
    """The camera of each image by number [N]: what the pattern's group finds in its path.

    With the word `known` in the place of a pattern, the camera that `known` has for the path.

    Raises:
        ReidError: a path's camera is not found; lists of the competition know no cameras.
    """
    if pattern == KNOWN:
        names = [(known or {}).get(path, "") for path in paths]
    else:
        found = [re.search(pattern, path) for path in paths]
        names = ["" if match is None else match[1] for match in found]
    unknown = [path for path, name in zip(paths, names, strict=True) if not name]
    if unknown:
        finds = "the training list knows" if pattern == KNOWN else f"{pattern} finds"
        raise ReidError(
            f"train.cameras: {finds} no camera in {len(unknown)} of {len(paths)} paths, as "
            f"{unknown[0]}: give a pattern that fits them, or leave it out where cameras are not known"
        )
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64)


def identity_batches(
    labels: Sequence[int] | NDArray[np.int64],
    identities: int,
    images: int,
    seed: int,
    epoch: int,
    *,
    cameras: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """An epoch laid out: rows into `labels`, int64 [number of batches, identities × images].

    Every batch shows `identities` different classes, `images` of each side by side. Every image occurs
    at least once: a class whose count is no multiple of `images` fills its last group from its own
    others (repeating only when it has too few), and the last batches are filled with further groups of
    other classes. Determined by (seed, epoch). With `cameras` [N], numbers, the images of a group come
    from as many of them as its class allows.

    Differs from the original, which drops the images that fill no group and the classes left over when
    fewer than P have groups, so that its length was not what it said.
    """
    classes = np.asarray(labels, np.int64)
    assert 0 < identities <= len(np.unique(classes)), (identities, len(np.unique(classes)))
    rng = np.random.default_rng((seed, epoch))
    groups, owners = _groups(classes, images, rng, cameras)
    line = rng.permutation(len(groups)).tolist()
    owner_of = owners.tolist()
    laid: list[list[int]] = []
    waiting: list[int] = []
    at = 0
    while at < len(line) or waiting:
        chosen: list[int] = []
        taken: set[int] = set()
        still: list[int] = []
        for group in waiting:  # whose class was in the batch before: they go first
            if len(chosen) < identities and owner_of[group] not in taken:
                chosen.append(group)
                taken.add(owner_of[group])
            else:
                still.append(group)
        while len(chosen) < identities and at < len(line):
            group = line[at]
            at += 1
            if owner_of[group] in taken:
                still.append(group)
            else:
                chosen.append(group)
                taken.add(owner_of[group])
        waiting = still
        if len(chosen) < identities:
            for group in rng.permutation(len(groups)).tolist():
                if owner_of[group] not in taken:
                    chosen.append(group)
                    taken.add(owner_of[group])
                if len(chosen) == identities:
                    break
        laid.append(chosen)
    rows: NDArray[np.int64] = groups[np.asarray(laid)].reshape(len(laid), -1)
    return rows


def _groups(
    classes: NDArray[np.int64], images: int, rng: np.random.Generator, cameras: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups int64 [groups, images] of rows of one class, all rows covered; and the class of each."""
    shuffled = rng.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    bounds = np.flatnonzero(np.diff(classes[by_class], prepend=-1, append=-1))
    parts = []
    for begin, end in pairwise(bounds.tolist()):
        if cameras is not None:
            parts.append(_spread(by_class[begin:end], cameras[by_class[begin:end]], images))
            continue
        places = np.arange(-(-(end - begin) // images) * images) % (end - begin)
        parts.append(by_class[begin + places].reshape(-1, images))
    groups = np.concatenate(parts)
    return groups, classes[groups[:, 0]]


def _spread(rows: NDArray[np.int64], cameras: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """The rows of a class in groups [·, images], the images of each camera dealt to as many as there are.

    Like cards: camera after camera, each to the next group, so that a camera comes twice to a group only
    when it has more images than there are groups. Groups then short of images take some of the others'.
    """
    _, camera, count = np.unique(cameras, return_inverse=True, return_counts=True)
    dealt = rows[np.lexsort((camera, -count[camera]))]
    num = -(-len(rows) // images)
    seen_by = dict(zip(rows.tolist(), cameras.tolist(), strict=True))
    groups = []
    for start in range(num):
        group = dealt[start::num].tolist()
        while len(group) < images:
            shown = [seen_by[row] for row in group]
            # Of images not yet here, or of all where the class has too few, one whose camera is rarest here.
            others = [row for row in rows.tolist() if row not in group] or rows.tolist()
            group.append(min(others, key=lambda row: (shown.count(seen_by[row]), group.count(row))))
        groups.append(group)
    return np.array(groups, np.int64)


def _ahead(work: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[_Out]:
    """`work` of each item, in order, with `workers` threads at most two items each ahead of the reader.

    0 threads: one for each processor that this process may use.
    """
    workers = workers or machine.processors()
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
