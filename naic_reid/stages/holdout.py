"""Images → training list, and a labelled query and gallery: one more domain, whose answers we have."""

import logging
from pathlib import Path

import numpy as np

from naic_reid.artifacts import ImageList, MadeBy
from naic_reid.config import Holdout
from naic_reid.errors import ReidError

REVISION = 2

_log = logging.getLogger(__name__)


def run(seed: int, holdout: Holdout, *, images: Path, train: Path, query: Path, gallery: Path) -> None:
    """Set whole identities aside: some images of each become queries, the rest the gallery."""
    every = ImageList.read(images)
    rows: dict[str, list[int]] = {}
    for row, identity in enumerate(every.identities):
        rows.setdefault(identity, []).append(row)
    _log.info("holdout: %d images of %d identities", len(every), len(rows))
    rng = np.random.default_rng([seed, *b"holdout"])
    able = _able(rows, every.cameras, holdout.query_images)
    if holdout.folds:
        chosen = _part(rows, able, holdout, rng)
    else:
        chosen = _drawn(rows, able, holdout, rng, images) if holdout.share else []
    queries, answers = set(), set()
    for identity in chosen:
        order = rng.permutation(rows[identity]).tolist()
        asked = _queries(order, every.cameras, holdout.query_images)
        queries |= set(asked)
        answers |= set(order) - set(asked)
    made_by = MadeBy.of("holdout", REVISION, {"seed": seed, "holdout": holdout}, [images])
    for path, taken in (
        (query, queries), (gallery, answers), (train, set(range(len(every))) - queries - answers),
    ):  # fmt: skip
        every.rows(sorted(taken), made_by).write(path)
    _log.info(
        "holdout: %d identities set aside: %d queries, %d in the gallery; %d images of %d to train on",
        len(chosen), len(queries), len(answers), len(every) - len(queries) - len(answers),
        len(rows) - len(chosen),
    )  # fmt: skip


def _able(rows: dict[str, list[int]], cameras: tuple[str, ...], num: int) -> list[str]:
    """The identities of which so many images can be queries."""
    return sorted(name for name, found in rows.items() if len(_queries(found, cameras, num)) == num)


def _queries(order: list[int], cameras: tuple[str, ...], num: int) -> list[int]:
    """The first so many images of a person that can be queries: each is answered by an image that is left.

    Under the same-camera rule that is one of another camera; an unknown camera is nobody else's. None where
    it cannot be.
    """
    seen_by = {row: cameras[row] or str(row) for row in order}
    alone = [row for row in order if list(seen_by.values()).count(seen_by[row]) == 1]
    if num <= len(order) - 2 and len(set(seen_by.values())) > 1:
        # Two of two cameras are left: one of them answers whatever is asked.
        left = {order[-1], next(row for row in reversed(order) if seen_by[row] != seen_by[order[-1]])}
    elif num == len(order) - 1 and alone:
        left = {alone[-1]}
    else:
        return []
    return [row for row in order if row not in left][:num]


def _part(
    rows: dict[str, list[int]], able: list[str], holdout: Holdout, rng: np.random.Generator
) -> list[str]:
    """One of the folds, which have nobody in common and together are all that can be set aside."""
    chosen = [able[place] for place in rng.permutation(len(able))[holdout.fold - 1 :: holdout.folds]]
    if not chosen or len(rows) - len(chosen) < 2:
        raise ReidError(
            f"holdout.folds: {holdout.folds} parts of the {len(able)} identities that can be set aside leave "
            f"{len(chosen)} for fold {holdout.fold} and {len(rows) - len(chosen)} to train on: give fewer"
        )
    return sorted(chosen)


def _drawn(
    rows: dict[str, list[int]], able: list[str], holdout: Holdout, rng: np.random.Generator, images: Path
) -> list[str]:
    """The identities to set aside, drawn from those that can be."""
    number = round(holdout.share * len(rows))
    if number < 1:
        raise ReidError(
            f"holdout.share: {holdout.share} of {len(rows)} identities is none: raise it, or switch the "
            "hold-out off with 0"
        )
    if number > len(able):
        raise ReidError(
            f"holdout: {number} identities shall be set aside, but only {len(able)} of {images} have more "
            f"than query_images = {holdout.query_images} images, by two cameras where these are known: lower "
            "holdout.share or query_images"
        )
    if len(rows) - number < 2:
        raise ReidError(
            f"holdout.share: {holdout.share} of {len(rows)} identities leaves {len(rows) - number} to train "
            "on, and at least 2 are needed: lower it"
        )
    return sorted(able[place] for place in rng.choice(len(able), number, replace=False))
