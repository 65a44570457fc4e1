"""One page to look at: score card, ranked lists, curves, distances, data, and what made all of it."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from naic_reid import __version__, files, pages
from naic_reid import scores as scored
from naic_reid.artifacts import ImageList, MadeBy, read_json, write_json
from naic_reid.config import Report
from naic_reid.pages import chain, curves, lists, pictures, ranked, tables

REVISION = 2
_log = logging.getLogger(__name__)


def run(
    report: Report,
    *,
    data: Path,
    card: list[Path],
    scores: list[Path],
    heads: list[Path],
    rankings: list[Path],
    tested: list[Path],
    trained: Path,
    histories: list[Path],
    counts: Path,
    dropped: Path,
    page: Path,
    record: Path,
) -> None:
    """Reads what a run ended with, writes the page and, beside it, its record.

    Args:
        card: none where no answers are known.
        scores: of each domain whose answers are known, named like its file.
        heads: likewise.
        rankings: of each domain whose answers are not known.
        tested: lists of all domains, `query_DOMAIN` and `gallery_DOMAIN`.
        histories: of every model, in a folder named like it.
    """
    started = time.monotonic()
    report = report or Report()
    inputs = [*card, *scores, *heads, *rankings, *tested, trained, *histories, counts, dropped]
    made_by = MadeBy.of("report", REVISION, {"report": report}, inputs)
    told = (
        read_json(card[0], "Card")[1]
        if card
        else {"sections": {}, "rules": {}, "protocols": {}, "trained_on": {}}
    )
    read = {path.stem: scored.read(path) for path in scores}
    images = {path.stem: ImageList.read(path) for path in tested}
    domains = [*ranked.judged(read, heads, images), *ranked.unjudged(rankings, images)]
    shown = lists.shown(domains, data, report.queries, report.best)
    links, settings = chain.told(made_by)
    content = {
        "title": f"Person re-identification: {', '.join(domain.name for domain in domains) or 'no queries'}",
        "summary": _summary(images),
        "warnings": _warnings(told["trained_on"]),
        "card": told["sections"],
        "rules": told["rules"],
        "protocols": told["protocols"],
        "headline": _headline(told["sections"]),
        "distance": scored.distance,
        "charts": {"training": curves.training(histories), "ranks": curves.ranks(read)},
        "tables": [
            tables.sizes({"training": ImageList.read(trained)} | images),
            *tables.problems(counts, dropped),
        ],
        "chain": links,
        "settings": settings,
        "footer": f"naic-reid {__version__}, from {len(links):,} files.",
        "numbers_json": _script({"sections": told["sections"], "trained_on": told["trained_on"]}),
    }
    text = _with_pictures(content, shown, report)
    with files.whole(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="replace")
    write_json(record, "Report", made_by, {"page": files.digest(page), "queries": shown.queries})
    _log.info("report: wrote %s, %.1f MB, in %.1f s", page, len(text) / 1e6, time.monotonic() - started)


def _summary(images: Mapping[str, ImageList]) -> str:
    asked, searched = (
        sum(len(one) for name, one in images.items() if name.startswith(f"{role}_"))
        for role in ("query", "gallery")
    )
    return f"{asked:,} queries, {searched:,} gallery images."


def _warnings(trained_on: Mapping[str, Sequence[int]]) -> list[str]:
    return [
        f"Trained on: {copies:,} of {total:,} images in {name} are copies of training images; a score is "
        "worth less for it."
        for name, (copies, total) in trained_on.items()
        if copies
    ]


def _headline(sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The row that is shown large: of the first domain with queries, the last single one."""
    for name, rows in sections.items():
        row = next((row for row in reversed(rows) if "multiple" not in row), None)
        if row and row.get("interval"):
            return {"name": name, "row": row, "distance": scored.distance(row)}
    return {}


def _script(value: Any) -> str:
    """JSON that may stand in a page's script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # so that nothing in it ends the element


def _with_pictures(content: dict[str, Any], shown: lists.Shown, report: Report) -> str:
    """The page, its pictures as large as the rest leaves room for."""
    content |= {
        "lists": shown,
        "lists_json": _script({"domains": shown.domains}),
        "pictures_json": _script({}),
    }
    notes = [
        f"The worst {shown.queries:,} of {shown.of:,} queries; report.queries in the config asks for more."
    ]
    content["lists_notes"] = notes if shown.queries < shown.of else []
    bare = len(pages.rendered("report.html.j2", **content).encode("utf-8", errors="replace"))
    room = max(0, int(1e6 * report.megabytes) - bare - 16 * len(shown.parts) - 400)
    found = pictures.album(shown.parts, room)
    if found.left_out:
        content["lists_notes"].append(
            f"{found.left_out:,} pictures had no room in {report.megabytes:g} MB; report.megabytes in the "
            "config gives more."
        )
    if found.missing:
        content["lists_notes"].append(
            f"{found.missing:,} images cannot be read any more, or are not what they were."
        )
    return pages.rendered("report.html.j2", **content | {"pictures_json": _script(found.pictures)})
