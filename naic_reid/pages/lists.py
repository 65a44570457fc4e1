"""Ranked lists as a page's script reads them: the worst queries, what was found for them, their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from naic_reid.artifacts import Heads, Ranking


@dataclass
class Domain:
    """The lists of one domain."""

    name: str
    rankings: list[tuple[str, str]]
    """Member, and `plain` or `re-ranked`."""
    queries: Sequence[str]
    queried: Sequence[str]
    """Who is on them; empty where nobody knows."""
    gallery: Sequence[str]
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


@dataclass
class Shown:
    """What a page shows of all domains."""

    domains: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Key of a picture → path as listed, the most wanted first."""
    queries: int = 0
    of: int = 0
    """Queries there are."""


def of_heads(
    name: str, heads: Heads, precisions: Sequence[Sequence[float]], firsts: Sequence[Sequence[int]]
) -> Domain:
    """The lists where answers are known."""
    return Domain(
        name, heads.rankings, heads.queries, heads.queried, heads.gallery, heads.shown, heads.indices,
        heads.distances, heads.marks, precisions, firsts,
    )  # fmt: skip


def of_ranking(name: str, ranking: Ranking, queries: Sequence[str], gallery: Sequence[str]) -> Domain:
    """The shipped lists, where nobody knows the answers; `queries` and `gallery` are paths."""
    one = (ranking.indices[None], ranking.distances[None])
    nobody = ("",) * len(queries), ("",) * len(gallery)
    return Domain(name, [("fusion", "re-ranked")], queries, nobody[0], gallery, nobody[1], *one)


def shown(domains: Sequence[Domain], num_queries: int, best: int) -> Shown:
    """The worst `num_queries` queries of all domains, as evenly as there are, and their first `best`."""
    sizes = [len(domain.queries) if domain.rankings else 0 for domain in domains]
    found = Shown(of=sum(sizes))
    keys: dict[str, str] = {}
    for domain, number in zip(domains, _evenly(sizes, num_queries), strict=True):
        chosen = domain.worst_first[:number]
        found.queries += len(chosen)
        if chosen:
            found.domains.append(_told(domain, chosen, best, keys))
    for told in found.domains:  # what only other rankings show is the first to be left out
        told["keys"] = {image: _key(path, keys) for image, path in told.pop("paths").items()}
    found.files = {key: path for path, key in keys.items()}
    return found


def _evenly(sizes: Sequence[int], most: int) -> list[int]:
    """How many of each size, as equal as they allow, `most` in all."""
    taken = [0] * len(sizes)
    for at in sorted(range(len(sizes)), key=lambda at: sizes[at]):
        open_ones = sum(1 for other in range(len(sizes)) if taken[other] == 0 and sizes[other])
        taken[at] = min(sizes[at], -(-(most - sum(taken)) // max(1, open_ones)))
    return taken


def _key(path: str, keys: dict[str, str]) -> str:
    return keys.setdefault(path, f"p{len(keys)}")


def _told(domain: Domain, chosen: Sequence[int], best: int, keys: dict[str, str]) -> dict[str, Any]:
    """The domain as the script reads it; pictures that its last ranking shows get their keys."""
    gallery: set[int] = set()
    queries = []
    for query in chosen:
        path = domain.queries[query]
        told: dict[str, Any] = {
            "name": Path(path).name,
            "person": domain.queried[query],
            "key": _key(path, keys),
        }
        if len(domain.precisions):
            told["ap"] = [round(float(own[query]), 4) for own in domain.precisions]
        if len(domain.firsts):
            told["first"] = [int(own[query]) for own in domain.firsts]
        told["found"] = [_found(domain, ranking, query, best) for ranking in range(len(domain.rankings))]
        for image, *_ in told["found"][-1]:
            _key(domain.gallery[image], keys)
        gallery.update(image for hits in told["found"] for image, *_ in hits)
        queries.append(told)
    paths = {image: domain.gallery[image] for image in sorted(gallery)}
    named = {image: [Path(path).name, domain.shown[image]] for image, path in paths.items()}
    return {"name": domain.name, "rankings": domain.rankings, "queries": queries, "gallery": named,
            "paths": paths}  # fmt: skip


def _found(domain: Domain, ranking: int, query: int, best: int) -> list[list[Any]]:
    """[image, mark, distance] of the first."""
    images = domain.indices[ranking, query, :best].tolist()
    marks = [None] * len(images) if domain.marks is None else domain.marks[ranking, query, :best].tolist()
    far = [round(value, 4) for value in domain.distances[ranking, query, :best].tolist()]
    return [list(hit) for hit in zip(images, marks, far, strict=True)]
