"""The P×K sampler: which images each batch of an epoch shows, P identities with K images of each.

An epoch is determined by (seed, epoch) and laid out before it begins.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, count, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from naic_reid.errors import ReidError

KNOWN = "known"
"""In the place of a pattern: the cameras that the training list knows."""
_Ints = NDArray[np.int64]
_Labels = Sequence[int] | _Ints
_Pass = Callable[[list[_Ints], int, int, _Ints, np.random.Generator], Iterator[_Ints]]
"""Batches of one pass: of the rows of each class, P, K, and the camera of each image."""
_NAIVE = (0, 1)  # a stream of its own beside those of `identity_batches` and of the batches' variations
_SHUFFLED = (0, 2)
LONGEST = 2
"""An epoch shows at most so many times the groups of K images that there are."""

_log = logging.getLogger(__name__)


class Sampler:
    """Epochs of P×K batches; while one is trained on, a thread lays out the next."""

    def __init__(
        self,
        labels: _Labels,
        identities: int,
        images: int,
        seed: int,
        *,
        cameras: _Ints | None = None,
        steps: int | None = None,
        kind: str = "every_image",
    ) -> None:
        """`steps`: most batches of an epoch (None: all); `kind`: a key of `SAMPLERS`."""
        self._lay_out = SAMPLERS[kind]
        self._what = (np.asarray(labels, np.int64), identities, images, seed)
        self._cameras, self._steps = cameras, steps
        self._thread = ThreadPoolExecutor(1, "sampler")
        self._laid: dict[int, Future[_Ints]] = {}

    def rows(self, epoch: int) -> _Ints:
        """Of each batch of an epoch, from 0: rows into the labels, int64 [batches, identities × images]."""
        for number in (epoch, epoch + 1):
            if number not in self._laid:
                self._laid[number] = self._thread.submit(self._lay, number)
        for number in self._laid.keys() - {epoch, epoch + 1}:
            del self._laid[number]
        return self._laid[epoch].result()

    def _lay(self, epoch: int) -> _Ints:
        return self._lay_out(*self._what, epoch, cameras=self._cameras)[: self._steps]


def identity_batches(
    labels: _Labels, identities: int, images: int, seed: int, epoch: int, *, cameras: _Ints | None = None
) -> _Ints:
    """An epoch laid out: rows into `labels`, int64 [number of batches, identities × images].

    Every batch shows `identities` different classes, `images` of each side by side. Every image occurs
    at least once: a class whose count is no multiple of `images` fills its last group from its own
    others (repeating only when it has too few), and the last batches are filled with further groups of
    other classes. Only where some classes have so many images that this would make the epoch longer than
    `LONGEST` times what its groups fill do some of theirs wait for other epochs. Determined by (seed,
    epoch). With `cameras` [N], numbers, the images of a group come from as many of them as its class allows.

    Differs from the original, which drops the images that fill no group and the classes left over when
    fewer than P have groups, so that its length was not what it said.
    """
    classes = np.asarray(labels, np.int64)
    assert 0 < identities <= len(np.unique(classes)), (identities, len(np.unique(classes)))
    rng = np.random.default_rng((seed, epoch))
    groups, owners = _groups(classes, images, rng, cameras)
    most = LONGEST * -(-len(groups) // identities)
    laid = groups[_laid_out(owners.tolist(), identities, rng, most)].reshape(-1, identities * images)
    if len(laid) == most and (missing := len(classes) - len(np.unique(laid))):
        _log.log(
            logging.DEBUG if epoch else logging.WARNING,
            "sampler: %d of %d images, of the largest identities, wait for other epochs: to show all in one "
            "would repeat those of the others more than %d times; a smaller train.batch shows more of them",
            missing, len(classes), LONGEST,
        )  # fmt: skip
    return laid


def _laid_out(owners: list[int], identities: int, rng: np.random.Generator, most: int) -> _Ints:
    """Groups of different classes for each of at most `most` batches, int64 [batches, identities].

    `owners` is the class of each group. A group whose class is in the batch already goes first into the
    next one; batches that cannot be filled otherwise repeat groups.
    """
    line = iter(rng.permutation(len(owners)).tolist())
    waiting: list[int] = []
    laid: list[list[int]] = []
    left = len(owners)
    while left and len(laid) < most:
        chosen: dict[int, int] = {}  # class → group
        waiting = [group for group in waiting if not _taken(group, owners, chosen, identities)]
        while len(chosen) < identities and (group := next(line, None)) is not None:
            if not _taken(group, owners, chosen, identities):
                waiting.append(group)
        left -= len(chosen)
        if len(chosen) < identities:
            for group in map(int, rng.permutation(len(owners))):
                _taken(group, owners, chosen, identities)
                if len(chosen) == identities:
                    break
        laid.append(list(chosen.values()))
    return np.array(laid, np.int64)


def _taken(group: int, owners: list[int], chosen: dict[int, int], identities: int) -> bool:
    """Whether the group's class was not in the batch, and is now."""
    if len(chosen) == identities or owners[group] in chosen:
        return False
    chosen[owners[group]] = group
    return True


def shuffled_pairs(images: int, size: int, steps: int, seed: int, epoch: int) -> _Ints:
    """An epoch of batches without classes: rows int64 [steps, 2 · size], each twice, side by side.

    Shuffled passes through all images, one after another. Determined by (seed, epoch).
    """
    rng = np.random.default_rng((seed, epoch))
    passes = [rng.permutation(images) for _ in range(-(-steps * size // images))]
    return np.concatenate(passes)[: steps * size].reshape(steps, size).repeat(2, axis=1)


def cameras_of(paths: Sequence[str], pattern: str, known: Mapping[str, str] | None = None) -> _Ints:
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


def _groups(
    classes: _Ints, images: int, rng: np.random.Generator, cameras: _Ints | None
) -> tuple[_Ints, _Ints]:
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


def _spread(rows: _Ints, cameras: _Ints, images: int) -> _Ints:
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


def _naive_pass(
    rows_of: list[_Ints], identities: int, images: int, _seen_by: _Ints, rng: np.random.Generator
) -> Iterator[_Ints]:
    decks = [rng.permutation(rows) if len(rows) >= images else rng.choice(rows, images) for rows in rows_of]
    left = list(range(len(decks)))
    while len(left) >= identities:
        drawn = rng.choice(left, identities, replace=False)
        yield np.concatenate([decks[one][:images] for one in drawn])
        for one in drawn:
            decks[one] = decks[one][images:]
        left = [one for one in left if len(decks[one]) >= images]


def _balanced_pass(
    rows_of: list[_Ints], identities: int, images: int, seen_by: _Ints, rng: np.random.Generator
) -> Iterator[_Ints]:
    order = rng.permutation(len(rows_of))
    for start in range(0, len(order) - identities + 1, identities):
        chosen = order[start : start + identities]
        yield np.concatenate([_across(rows_of[one], images, seen_by, rng) for one in chosen])


def _in_passes(
    one_pass: _Pass, labels: _Labels, identities: int, images: int, seed: int, epoch: int,
    *, cameras: _Ints | None = None,
) -> _Ints:  # fmt: skip
    """As many batches as the images fill, one at least, of as many passes over the classes as that takes."""
    classes = np.asarray(labels, np.int64)
    seen_by = np.zeros(len(classes), np.int64) if cameras is None else cameras
    rng = np.random.default_rng((seed, epoch, *_NAIVE))
    rows_of = [np.flatnonzero(classes == one) for one in np.unique(classes)]
    endless = chain.from_iterable(one_pass(rows_of, identities, images, seen_by, rng) for _ in count())
    return np.stack(list(islice(endless, max(1, len(classes) // (identities * images)))))


def _across(rows: _Ints, images: int, cameras: _Ints, rng: np.random.Generator) -> _Ints:
    first = rng.choice(rows)
    others = rows[cameras[rows] != cameras[first]]
    if not len(others):
        others = rows[rows != first]
    if not len(others):
        others = rows
    return np.append(first, rng.choice(others, images - 1, replace=len(others) < images - 1))


def shuffled_batches(
    labels: _Labels, identities: int, images: int, seed: int, epoch: int, *, cameras: _Ints | None = None
) -> _Ints:
    """An epoch of images in random order, ⌊N / batch⌋ batches; what fills none waits for another epoch.

    No identity sampling, as plain classification: few batches show a person twice. Of fewer images than one
    batch some repeat. Arguments: as of `identity_batches`, whose cameras play no part.
    """
    batch = identities * images
    order = np.random.default_rng((seed, epoch, *_SHUFFLED)).permutation(len(labels))
    return np.resize(order, (max(1, len(order) // batch), batch))


naive_batches = partial(_in_passes, _naive_pass)
"""An epoch as FastReID's naive identity sampler lays it out: ⌊N / batch⌋ batches of whole passes.

A pass shuffles each class's images and deals them out in groups; a class of fewer than K has one group, drawn
with replacement. While P classes have a group left, so many are drawn, evenly. What fills no group, and the
last fewer than P classes, wait for another pass. Cameras play no part. Arguments: as of `identity_batches`.
"""

balanced_batches = partial(_in_passes, _balanced_pass)
"""An epoch as FastReID's balanced identity sampler lays it out: ⌊N / batch⌋ batches.

A pass visits each class once, in random order, P to a batch; of each an image, and the others of its group
from other cameras than that image's: without replacement where there are enough. Where all are from one
camera, from the class's other images by the same rule; a single one repeats.
"""

SAMPLERS: dict[str, Callable[..., _Ints]] = {
    "every_image": identity_batches,
    "naive": naive_batches,
    "balanced": balanced_batches,
    "shuffled": shuffled_batches,
}
"""Name → how an epoch is laid out, from the arguments of `identity_batches`."""
