"""Two recipes side by side as one page: the numbers, and the queries that changed most."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from naic_reid import files, pages
from naic_reid.artifacts import NOT_MET, RIGHT, WRONG, Heads
from naic_reid.data.crops import Part
from naic_reid.pages import pictures
from naic_reid.runs import Comparison, Line, Run
from naic_reid.scores import POOLED

_QUERIES, _BEST = 24, 10
_MOST = 15_000_000  # bytes of pictures
_MARKS = {RIGHT: ("right", "✓", "right"), WRONG: ("wrong", "✗", "wrong"), NOT_MET: ("aside", "–", "not met")}


def write(path: Path, found: Sequence[Comparison], data: Path, level: float) -> None:
    """Write the page.

    Args:
        path: of the page.
        found: every other recipe against the first.
        data: the folder that image lists are relative to.
        level: of the intervals.
    """
    changed = [list(_changed(one, data)) for one in found]
    images = [image for queries in changed for query in queries for image in _images(query)]
    keys = {part: str(number) for number, part in enumerate(dict.fromkeys(image["part"] for image in images))}
    album = pictures.album({key: part for part, key in keys.items()}, _MOST).pictures
    for image in images:
        image["picture"] = album.get(keys[image["part"]], "")
    comparisons = [_told(one, queries, level) for one, queries in zip(found, changed, strict=True)]
    page = pages.rendered("compare.html.j2", comparisons=comparisons, level=f"{100 * level:g} %")
    with files.whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="replace")


def cells(line: Line, level: float) -> list[str]:
    """A line as the table shows it."""
    value, low, high, p = line.difference
    return [
        line.ranking, line.score, f"{100 * line.first:.1f}", f"{100 * line.other:.1f}", f"{100 * value:+.1f}",
        f"{100 * low:+.1f} … {100 * high:+.1f}", f"{p:.3f}", line.difference.verdict(level),
    ]  # fmt: skip


def _told(one: Comparison, queries: list[dict[str, Any]], level: float) -> dict[str, Any]:
    tables = [
        {"title": f"{domain}: {one.size(domain)}", "rows": [cells(line, level) for line in lines]}
        for domain, lines in groupby(one.lines, attrgetter("domain"))
    ]
    return {"first": one.first.name, "other": one.other.name, "tables": tables, "settings": one.settings,
            "ranking": one.lines[-1].ranking, "queries": queries}  # fmt: skip


def _images(query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for _, asked, hits in query["lists"]:
        yield asked
        yield from hits


def _changed(one: Comparison, data: Path) -> Iterator[dict[str, Any]]:
    """The queries of all domains whose average precision changed most, with both lists."""
    ranking = one.lines[-1].ranking
    domains = [domain for domain in dict.fromkeys(line.domain for line in one.lines) if domain != POOLED]
    changes = [(domain, change) for domain in domains for change in one.queries(domain, ranking)]
    changes.sort(key=lambda pair: -abs(pair[1].other - pair[1].first))
    firsts = [recipe.runs[0] for recipe in (one.first, one.other)]
    sides = {domain: [_Side(run, domain, ranking, data) for run in firsts] for domain in domains}
    for domain, change in changes[:_QUERIES]:
        if change.first != change.other:
            lists = [
                (letter, side.asked(change.name), side.found(change.name))
                for letter, side in zip("AB", sides[domain], strict=True)
            ]
            yield {
                "domain": domain, "name": Path(change.name).name,
                "person": f"Person {change.person}" if change.person else "",
                "first": f"{100 * change.first:.1f}", "other": f"{100 * change.other:.1f}", "lists": lists,
            }  # fmt: skip


class _Side:
    """What a run showed in one domain."""

    def __init__(self, run: Run, domain: str, ranking: str, data: Path) -> None:
        self._heads, self._ranking, self._data = run.heads(domain), ranking, data
        self._crops = {role: run.crops(domain, role) for role in ("query", "gallery")}

    def asked(self, name: str) -> dict[str, Any]:
        """The query of this name."""
        return {"part": self._part("query", name)}

    def found(self, name: str) -> list[dict[str, Any]]:
        """What was found for it; nothing where that was not kept."""
        heads = self._heads
        names = [", ".join(words) for words in heads.rankings] if heads else []
        if heads is None or self._ranking not in names:
            return []
        at, query = names.index(self._ranking), heads.queries.index(name)
        return [self._hit(heads, at, query, place) for place in range(min(_BEST, heads.indices.shape[2]))]

    def _hit(self, heads: Heads, at: int, query: int, place: int) -> dict[str, Any]:
        path = heads.gallery[heads.indices[at, query, place]]
        kind, sign, said = _MARKS[int(heads.marks[at, query, place])]
        distance = f"{heads.distances[at, query, place]:.3f}"
        return {"part": self._part("gallery", path), "name": Path(path).name, "kind": kind, "sign": sign,
                "said": said, "distance": distance}  # fmt: skip

    def _part(self, role: str, path: str) -> Part:
        return Part(self._data / path, crop=self._crops[role].get(path, ""))
