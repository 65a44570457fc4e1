"""Images → training list, and a labelled query and gallery: one more domain, whose answers we have."""

import logging
from pathlib import Path

import numpy as np

from naic_reid.artifacts import ImageList, MadeBy
from naic_reid.config import Holdout
from naic_reid.errors import ReidError

REVISION = 1

_log = logging.getLogger(__name__)


def run(seed: int, holdout: Holdout, *, images: Path, train: Path, query: Path, gallery: Path) -> None:
    """Set whole identities aside: some images of each become queries, the rest the gallery."""
    every = ImageList.read(images)
    rows: dict[str, list[int]] = {}
    for row, identity in enumerate(every.identities):
        rows.setdefault(identity, []).append(row)
    _log.info("holdout: %d images of %d identities", len(every), len(rows))
    rng = np.random.default_rng([seed, *b"holdout"])
    chosen = _drawn(rows, holdout, rng, images) if holdout.share else []
    queries, answers = set(), set()
    for identity in chosen:
        order = rng.permutation(rows[identity]).tolist()
        queries |= set(order[: holdout.query_images])
        answers |= set(order[holdout.query_images :])
    made_by = MadeBy.of("holdout", REVISION, {"seed": seed, "holdout": holdout}, [images])
    for path, taken in (
        (query, queries), (gallery, answers), (train, set(range(len(every))) - queries - answers),
    ):  # fmt: skip
        kept = sorted(taken)
        names = tuple(every.identities[row] for row in kept)
        ImageList(tuple(every.paths[row] for row in kept), names, made_by).write(path)
    _log.info(
        "holdout: %d identities set aside: %d queries, %d in the gallery; %d images of %d to train on",
        len(chosen), len(queries), len(answers), len(every) - len(queries) - len(answers),
        len(rows) - len(chosen),
    )  # fmt: skip


def _drawn(rows: dict[str, list[int]], holdout: Holdout, rng: np.random.Generator, images: Path) -> list[str]:
    """The identities to set aside, drawn from those with an image left for the gallery."""
    able = sorted(name for name, found in rows.items() if len(found) > holdout.query_images)
    number = round(holdout.share * len(rows))
    if number < 1:
        raise ReidError(
            f"holdout.share: {holdout.share} of {len(rows)} identities is none: raise it, or switch the "
            "hold-out off with 0"
        )
    if number > len(able):
        raise ReidError(
            f"holdout: {number} identities shall be set aside, but only {len(able)} of {images} have more "
            f"than query_images = {holdout.query_images} images: lower holdout.share or query_images"
        )
    if len(rows) - number < 2:
        raise ReidError(
            f"holdout.share: {holdout.share} of {len(rows)} identities leaves {len(rows) - number} to train "
            "on, and at least 2 are needed: lower it"
        )
    return sorted(able[place] for place in rng.choice(len(able), number, replace=False))
