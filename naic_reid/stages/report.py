"""One page to look at: score card, ranked lists, curves, distances, data, and what made all of it."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from naic_reid import __version__, files
from naic_reid import scores as scored
from naic_reid.artifacts import ImageList, MadeBy, read_json, write_json
from naic_reid.config import Extract, Report
from naic_reid.pages import chain, curves, lists, ranked, tables
from naic_reid.pages.fitted import fitted, script
from naic_reid.pages.looking import Looking, looking

REVISION = 4
_log = logging.getLogger(__name__)


def run(
    report: Report,
    extract: Extract,
    *,
    data: Path,
    card: list[Path],
    scores: list[Path],
    heads: list[Path],
    rankings: list[Path],
    checkpoint: list[Path],
    tested: list[Path],
    trained: Path,
    collected: Path,
    histories: list[Path],
    counts: Path,
    dropped: Path,
    page: Path,
    record: Path,
    threads: int = 0,
) -> None:
    """Reads what a run ended with, writes the page and, beside it, its record.

    Args:
        card: none where no answers are known.
        scores: of each domain whose answers are known, named like its file.
        heads: likewise.
        rankings: of each domain whose answers are not known.
        checkpoint: at most one, of the network of which it is shown where it looked.
        tested: lists of all domains, `query_DOMAIN` and `gallery_DOMAIN`.
        collected: the records of all listed images.
        histories: of every model, in a folder named like it.
        threads: of the network on the processor; 0: as many as torch takes.
    """
    started = time.monotonic()
    settings = {"report": report} | ({"extract": extract} if report.heat else {})
    networks = [path for path in checkpoint if report.heat and path.is_file()]
    inputs = [*card, *scores, *heads, *rankings, *networks, *tested, trained, collected, *histories]
    inputs += [counts, dropped]
    made_by = MadeBy.of("report", REVISION, settings, inputs)
    read = {path.stem: scored.read(path) for path in scores}
    images = {path.stem: ImageList.read(path) for path in tested}
    domains = [*ranked.judged(read, heads, images), *ranked.unjudged(rankings, images)]
    shown = lists.shown(domains, data, report.queries, report.best, report.heat)
    links, of_steps = chain.told(made_by)
    sizes = tables.sizes({"training": ImageList.read(trained)} | images, _known(domains))
    content = _score(card) | {
        "title": f"Person re-identification: {', '.join(domain.name for domain in domains) or 'no queries'}",
        "summary": _summary(images),
        "charts": {"training": curves.training(histories), "ranks": curves.ranks(read)},
        "tables": [sizes, *tables.problems(counts, dropped)],
        "findings": tables.findings(data, collected, dropped),
        "chain": links,
        "settings": of_steps,
        "footer": f"naic-reid {__version__}, from {len(links):,} files.",
    }
    text = fitted(content, shown, report, *_looked(shown, checkpoint, extract, threads))
    with files.whole(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="replace")
    write_json(record, "Report", made_by, {"page": files.digest(page), "queries": shown.queries})
    _log.info("report: wrote %s, %.1f MB, in %.1f s", page, len(text) / 1e6, time.monotonic() - started)


def _score(card: Sequence[Path]) -> dict[str, Any]:
    """What the card says, if there is one."""
    nothing: dict[str, Any] = {"sections": {}, "rules": {}, "protocols": {}, "trained_on": {}}
    told = read_json(card[0], "Card")[1] if card else nothing
    return {
        "warnings": _warnings(told["trained_on"]),
        "card": told["sections"],
        "rules": told["rules"],
        "protocols": told["protocols"],
        "headline": _headline(told["sections"]),
        "distance": scored.distance,
        "numbers_json": script({"sections": told["sections"], "trained_on": told["trained_on"]}),
    }


def _summary(images: Mapping[str, ImageList]) -> str:
    asked, searched = (
        sum(len(one) for name, one in images.items() if name.startswith(f"{role}_"))
        for role in ("query", "gallery")
    )
    return f"{asked:,} queries, {searched:,} gallery images."


def _known(domains: Sequence[ranked.Domain]) -> dict[str, Sequence[str]]:
    """Who is on the images of all lists, by the lists' names; nobody knows of some."""
    return {
        f"{role}_{domain.name}": persons
        for domain in domains
        for role, persons in (("query", domain.queried), ("gallery", domain.shown))
    }


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


def _looked(
    shown: lists.Shown, checkpoint: Sequence[Path], extract: Extract, threads: int
) -> tuple[Looking | None, str]:
    """Where the network looked in the pictures for which that is asked, or why nobody knows."""
    if not shown.heated:
        return None, ""
    if not checkpoint:
        return None, "Where the network looked is not shown: no checkpoint was given."
    if not checkpoint[0].is_file():
        return None, f"Where the network looked is not shown: {checkpoint[0]} is not there."
    return looking(shown.heated, checkpoint[0], extract, threads), ""
