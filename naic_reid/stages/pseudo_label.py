"""Takes test images whose person is clear for training images, where the config asks for it.

The models of a first round say how near test images are to each other; what they agree on joins the
training list under names of its own, and a second round of the same stages trains on that. Rules of a
competition may forbid it: it is off unless the config has the section.
"""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from naic_reid import members
from naic_reid.artifacts import ImageList, MadeBy, write_table
from naic_reid.config import Ensemble, Model, PseudoLabel, Split
from naic_reid.errors import ReidError
from naic_reid.retrieval import pseudo_labels
from naic_reid.retrieval.distances import Member
from naic_reid.retrieval.memory import budget

REVISION = 2
PAIRS_HEADER = ["identity", "query", "image", "radians"]
_Row = tuple[str, str, str, str]
"""Identity, query, image and radians of a pseudo-labelled image."""
_log = logging.getLogger(__name__)


def run(
    models: dict[str, Model],
    ensemble: Ensemble,
    split: Split | None,
    pseudo_label: PseudoLabel,
    *,
    train: Path,
    query_lists: list[Path],
    gallery_lists: list[Path],
    query: list[Path],
    gallery: list[Path],
    images: Path,
    pairs: Path,
    threads: int = 0,
    memory: str = "",
) -> None:
    """Writes the training list with pseudo-labelled images, and which was taken for which query's person.

    Args:
        train: the list that the first round trained on.
        query_lists: one for each of the section's domains, or of all; so gallery_lists.
        query: `Features` of every domain's members: domains, then models in order, then epochs; so gallery.
        pairs: a row for each pseudo-labelled image: its new identity, the query it was nearest to, the angle.
        memory: such as 800MB, 6GB; by default half of what is free.
    """
    started = time.monotonic()
    known = ImageList.read(train)
    domains = pseudo_label.domains or (split.domains if split else ())
    named = members.names(models, ensemble)
    members.require_one_each("pseudo_label", named, members.Files(query, gallery), len(domains))
    weights = [name.weight for name in named]
    inputs = [train, *query_lists, *gallery_lists, *query, *gallery]
    settings = {"pseudo_label": pseudo_label, "domains": domains, "weights": weights}
    settings |= {"ensemble": ensemble, "models": list(models)}
    made_by = MadeBy.of("pseudo_label", REVISION, settings, inputs)
    _log.info(
        "pseudo_label: %d domains, %d members, %d training images", len(domains), len(weights), len(known)
    )
    training = _Training(train, known)
    rows: list[_Row] = []
    for number, domain in enumerate(domains):
        mine = slice(number * len(weights), (number + 1) * len(weights))
        lists = ImageList.read(query_lists[number]), ImageList.read(gallery_lists[number])
        files = members.Files(query[mine], gallery[mine])
        asked, _, _ = members.read(models, ensemble, files, made_by, lists=lists)
        new = _rows(_found(asked, pseudo_label, threads, memory), lists[0].paths, lists[1].paths)
        training.add(new, lists)
        rows += new
        persons = len({identity for identity, *_ in new})
        _log.info("pseudo_label: %s: %d persons in %d of %d images", domain, persons, len(new),
                  sum(map(len, lists)))  # fmt: skip
    training.list(made_by).write(images)
    write_table(pairs, "PseudoLabels", made_by, PAIRS_HEADER, ["\t".join(row) for row in rows])
    _log.info("pseudo_label: wrote %s and %s in %.1f s", images, pairs, time.monotonic() - started)


class _Training:
    """The training list as it grows."""

    def __init__(self, path: Path, known: ImageList) -> None:
        self._path = path
        self._identities = dict(zip(known.paths, known.identities, strict=True))
        self._digests = dict(zip(known.paths, known.digests, strict=True))

    def add(self, new: Iterable[_Row], lists: Iterable[ImageList]) -> None:
        """Pseudo-labelled images of these lists.

        Raises:
            ReidError: one of them is trained on already.
        """
        for shown in lists:
            self._digests |= dict(zip(shown.paths, shown.digests, strict=True))
        for identity, _, image, _ in new:
            if image in self._identities:
                raise ReidError(
                    f"{self._path}: {image} is a training image already: give other lists to pseudo_label"
                )
            self._identities[image] = identity

    def list(self, made_by: MadeBy) -> ImageList:
        """All of it."""
        paths = tuple(sorted(self._identities))
        identities, digests = (
            tuple(column[path] for path in paths) for column in (self._identities, self._digests)
        )
        return ImageList(paths, identities, made_by, digests=digests)


def _found(asked: list[Member], how: PseudoLabel, threads: int, memory: str) -> pseudo_labels.PseudoLabels:
    """The images of one domain that its members agree on, by the rule of the config."""
    gallery_rank = how.gallery_rank if how.rule == "mutual" else None
    return pseudo_labels.pseudo_labels(
        asked, how.threshold, gallery_rank=gallery_rank, max_queries=how.max_queries,
        memory=budget(memory), threads=threads,
    )  # fmt: skip


def _rows(
    found: pseudo_labels.PseudoLabels, queries: tuple[str, ...], galleries: tuple[str, ...]
) -> list[_Row]:
    """By person, its queries before its gallery images; a person is called by its first query."""
    kept = []
    for q in np.flatnonzero(found.person >= 0).tolist():
        kept.append((int(found.person[q]), 0, q, queries[q], queries[q], 0.0))
    for g in np.flatnonzero(found.owner >= 0).tolist():
        q = int(found.owner[g])
        if found.person[q] >= 0:
            kept.append((int(found.person[q]), 1, g, queries[q], galleries[g], float(found.radians[g])))
    return [
        (f"pseudo/{queries[first]}", query, image, f"{radians:.6f}")
        for first, _, _, query, image, radians in sorted(kept)
    ]
