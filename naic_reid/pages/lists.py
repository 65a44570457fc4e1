"""Ranked lists as a page's script reads them: the worst queries, what was found for them, their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from naic_reid.artifacts import ImageList
from naic_reid.data.crops import Part
from naic_reid.pages.ranked import Domain


@dataclass
class Shown:
    """What a page shows of all domains."""

    domains: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    """Key of a picture → what it shows, the most wanted first."""
    queries: int = 0
    of: int = 0
    """Queries there are."""
    heated: dict[str, Part] = field(default_factory=dict)
    """Those of the parts whose heat is asked for."""


def shown(domains: Sequence[Domain], data: Path, num_queries: int, best: int, heat: int = 0) -> Shown:
    """The worst `num_queries` queries of all domains, as evenly as there are, and their first `best`.

    Args:
        domains: all of them.
        data: the folder that paths of lists are relative to.
        num_queries: of all domains together.
        best: gallery images of each ranking.
        heat: of these queries, the worst for whose pictures heat is asked for: their own and those of the
            last ranking.
    """
    sizes = [len(domain.queries) if domain.rankings else 0 for domain in domains]
    found = Shown(of=sum(sizes))
    keys = _Keys(data)
    shares = _evenly(sizes, num_queries), _evenly(sizes, min(heat, num_queries))
    heated: dict[str, None] = {}
    for domain, number, hot in zip(domains, *shares, strict=True):
        chosen = domain.worst_first[:number]
        found.queries += len(chosen)
        if chosen:
            told = _told(domain, chosen, best)
            for place, (query, own) in enumerate(zip(chosen, told["queries"], strict=True)):
                own["key"] = keys.of(domain.queries, query)
                mine = [own["key"], *(keys.of(domain.gallery, image) for image, *_ in own["found"][-1])]
                heated |= dict.fromkeys(mine if place < hot else [])
            found.domains.append(told)
    named = {domain.name: domain for domain in domains}
    for told in found.domains:  # what only other rankings show is the first to be left out
        gallery = named[told["name"]].gallery
        told["keys"] = {image: keys.of(gallery, image) for image in told["gallery"]}
    found.parts = {key: part for part, key in keys.known.items()}
    found.heated = {key: found.parts[key] for key in heated}
    return found


def _evenly(sizes: Sequence[int], most: int) -> list[int]:
    """How many of each size, as equal as they allow, `most` in all."""
    taken = [0] * len(sizes)
    for at in sorted(range(len(sizes)), key=lambda at: sizes[at]):
        open_ones = sum(1 for other in range(len(sizes)) if taken[other] == 0 and sizes[other])
        taken[at] = min(sizes[at], -(-(most - sum(taken)) // max(1, open_ones)))
    return taken


class _Keys:
    """What pictures are called: equal ones alike, whichever list asks for them."""

    def __init__(self, data: Path) -> None:
        self.known: dict[Part, str] = {}
        self._data = data

    def of(self, listed: ImageList, row: int) -> str:
        """Of a list's row."""
        return self.known.setdefault(Part.of(self._data, listed, row), f"p{len(self.known)}")


def _told(domain: Domain, chosen: Sequence[int], best: int) -> dict[str, Any]:
    """The domain as the script reads it, but for its pictures' keys."""
    gallery: set[int] = set()
    queries = []
    for query in chosen:
        name = domain.queries.paths[query].rpartition("/")[2]
        told: dict[str, Any] = {"name": name, "person": domain.queried[query]}
        if len(domain.precisions):
            told["ap"] = [round(float(own[query]), 4) for own in domain.precisions]
        if len(domain.firsts):
            told["first"] = [int(own[query]) for own in domain.firsts]
        told["found"] = [_found(domain, ranking, query, best) for ranking in range(len(domain.rankings))]
        gallery.update(image for hits in told["found"] for image, *_ in hits)
        queries.append(told)
    paths = domain.gallery.paths
    named = {image: [paths[image].rpartition("/")[2], domain.shown[image]] for image in sorted(gallery)}
    return {"name": domain.name, "rankings": domain.rankings, "queries": queries, "gallery": named}


def _found(domain: Domain, ranking: int, query: int, best: int) -> list[list[Any]]:
    """[image, mark, distance] of the first."""
    images = domain.indices[ranking, query, :best].tolist()
    marks = [None] * len(images) if domain.marks is None else domain.marks[ranking, query, :best].tolist()
    far = [round(value, 4) for value in domain.distances[ranking, query, :best].tolist()]
    return [list(hit) for hit in zip(images, marks, far, strict=True)]
