"""Two recipes side by side as one page: the numbers, and the queries that changed most."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from naic_reid import files, pages
from naic_reid.artifacts import NOT_MET, RIGHT, WRONG, Heads
from naic_reid.pages import pictures
from naic_reid.runs import Comparison, Line
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
    changed = [list(_changed(one)) for one in found]
    wanted = dict.fromkeys(
        name for queries in changed for query in queries for name in (query["path"], *query["paths"])
    )
    album = pictures.album({name: data / name for name in wanted}, _MOST).pictures
    comparisons = [_told(one, queries, album, level) for one, queries in zip(found, changed, strict=True)]
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


def _told(
    one: Comparison, queries: list[dict[str, Any]], album: Mapping[str, str], level: float
) -> dict[str, Any]:
    for query in queries:
        query["picture"] = album.get(query["path"], "")
        for hit in (hit for _, hits in query["lists"] for hit in hits):
            hit["picture"] = album.get(hit["path"], "")
    tables = [
        {"title": f"{domain}: {one.size(domain)}", "rows": [cells(line, level) for line in lines]}
        for domain, lines in groupby(one.lines, attrgetter("domain"))
    ]
    return {"first": one.first.name, "other": one.other.name, "tables": tables, "settings": one.settings,
            "ranking": one.lines[-1].ranking, "queries": queries}  # fmt: skip


def _changed(one: Comparison) -> Iterator[dict[str, Any]]:
    """The queries of all domains whose average precision changed most, with both lists."""
    ranking = one.lines[-1].ranking
    domains = [domain for domain in dict.fromkeys(line.domain for line in one.lines) if domain != POOLED]
    changes = [(domain, change) for domain in domains for change in one.queries(domain, ranking)]
    changes.sort(key=lambda pair: -abs(pair[1].other - pair[1].first))
    kept = {domain: [recipe.runs[0].heads(domain) for recipe in (one.first, one.other)] for domain in domains}
    for domain, change in changes[:_QUERIES]:
        if change.first != change.other:
            lists = [
                (letter, _list(heads, ranking, change.name))
                for letter, heads in zip("AB", kept[domain], strict=True)
            ]
            yield {
                "domain": domain, "name": Path(change.name).name, "path": change.name,
                "person": f"Person {change.person}" if change.person else "",
                "first": f"{100 * change.first:.1f}", "other": f"{100 * change.other:.1f}", "lists": lists,
                "paths": [hit["path"] for _, hits in lists for hit in hits],
            }  # fmt: skip


def _list(heads: Heads | None, ranking: str, name: str) -> list[dict[str, Any]]:
    """What a recipe's first run found for the query of this name; nothing where it was not kept."""
    names = [", ".join(words) for words in heads.rankings] if heads else []
    if heads is None or ranking not in names:
        return []
    at, query = names.index(ranking), heads.queries.index(name)
    return [_hit(heads, at, query, place) for place in range(min(_BEST, heads.indices.shape[2]))]


def _hit(heads: Heads, at: int, query: int, place: int) -> dict[str, Any]:
    path = heads.gallery[heads.indices[at, query, place]]
    kind, sign, said = _MARKS[int(heads.marks[at, query, place])]
    distance = f"{heads.distances[at, query, place]:.3f}"
    return {"path": path, "name": Path(path).name, "kind": kind, "sign": sign, "said": said,
            "distance": distance}  # fmt: skip
