"""The ranked lists of every domain, read back: with their answers where these are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from naic_reid.artifacts import Heads, ImageList, Ranking
from naic_reid.errors import ReidError
from naic_reid.scores import Scored


@dataclass
class Domain:
    """The lists of one domain."""

    name: str
    rankings: list[tuple[str, str]]
    """Member, and `plain` or `re-ranked`."""
    queries: ImageList
    queried: Sequence[str]
    """Who is on them; empty where nobody knows."""
    gallery: ImageList
    shown: Sequence[str]
    indices: Any
    """[E, Q, N] into the gallery."""
    distances: Any
    marks: Any = None
    """Right, wrong or not met; none: nobody knows."""
    precisions: Sequence[Sequence[float]] = ()
    """Average precision of every ranking and query [E, Q]; empty where nobody knows."""
    firsts: Sequence[Sequence[int]] = ()
    """Rank of the first right one, likewise."""

    @property
    def worst_first(self) -> list[int]:
        """The queries by the last ranking."""
        if not len(self.precisions):
            return list(range(len(self.queries)))
        last = self.precisions[-1]
        return sorted(range(len(self.queries)), key=lambda query: (last[query], query))


def judged(
    read: Mapping[str, Scored], heads: Sequence[Path], images: Mapping[str, ImageList]
) -> Iterator[Domain]:
    """Of domains whose answers are known.

    Args:
        read: their scores, by name.
        heads: the first of every ranking, in their order.
        images: the lists of all domains, `query_DOMAIN` and `gallery_DOMAIN`.

    Raises:
        ReidError: a file is of other images than the scores or the lists; the message names it.
    """
    for (name, domain), path in zip(read.items(), heads, strict=True):
        found = Heads.read(path)
        if found.queries != tuple(domain.names):
            raise ReidError(
                f"{path}: is of other queries than the scores: delete both and run evaluate again"
            )
        lists = _lists(name, images)
        if (lists[0].paths, lists[1].paths) != (found.queries, found.gallery):
            raise ReidError(f"{path}: is not of the images of its lists: delete it and run evaluate again")
        if not found.indices.shape[2]:  # of drawn trials there is no one list
            continue
        rows = domain.rows[: len(found.members)]
        times = [np.maximum(row.each["counted"], 1) for row in rows]
        precisions = [(row.each["mAP"] / number).tolist() for row, number in zip(rows, times, strict=True)]
        firsts = [hits.first.tolist() for hits in domain.found[: len(rows)]]
        yield Domain(
            name, found.rankings, lists[0], found.queried, lists[1], found.shown, found.indices,
            found.distances, found.marks, precisions, firsts,
        )  # fmt: skip


def unjudged(rankings: Sequence[Path], images: Mapping[str, ImageList]) -> Iterator[Domain]:
    """Of domains where nobody knows the answers: the lists as they are shipped.

    Args:
        rankings: each named like its domain.
        images: see `judged`.

    Raises:
        ReidError: a file is not of the images of its lists; the message names it.
    """
    for path in rankings:
        name, found = path.stem, Ranking.read(path)
        lists = _lists(name, images)
        ours = zip(lists, (found.queries, found.gallery), strict=True)
        if any(names not in (one.names, one.paths) for one, names in ours):
            raise ReidError(f"{path}: is not of the images of its lists: delete it and run fuse again")
        nobody = [("",) * len(one) for one in lists]
        ranked = (found.indices[None], found.distances[None])
        yield Domain(name, [("fusion", "re-ranked")], lists[0], nobody[0], lists[1], nobody[1], *ranked)


def _lists(name: str, images: Mapping[str, ImageList]) -> tuple[ImageList, ImageList]:
    return images[f"query_{name}"], images[f"gallery_{name}"]
