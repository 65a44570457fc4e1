"""Puts all domains' scores on one card: each member plain and re-ranked, and their fusion."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from naic_reid import files
from naic_reid.artifacts import MadeBy, read_json, write_json
from naic_reid.config import HOLDOUT
from naic_reid.errors import ReidError
from naic_reid.retrieval.metrics import Hits, score

REVISION = 2
POOLED = "pooled"
COLUMNS = ("R1", "R5", "R10", "mAP", "mAP@200", "mINP")
RULES = {
    "junk": "none: all cameras are equal, so images of the query's own camera count (NAIC has one camera)",
    "AP": "mean over hits of the precision at the hit; AP@200 sums hits in the first 200 over min(R, 200)",
    "denominator": "queries with at least one positive",
    "mINP": "mean of R / rank of the last hit",
    "pooled": "all queries of the competition's domains, each ranked against its own domain's gallery; "
    "positives in another domain's gallery count in R and are never found",
    "alone": "a domain by itself: only its own gallery's positives count",
}
_log = logging.getLogger(__name__)


def run(*, scores: list[Path], card: Path, table: Path) -> None:
    """Reads the scores of each domain (named like its file), writes the card as JSON and as text."""
    read = {path.stem: _read(path) for path in scores}
    sections = {domain: _section([one], pooled=False) for domain, one in read.items()}
    competition = [one for domain, one in read.items() if domain != HOLDOUT]
    if competition:
        sections = {POOLED: _section(competition, pooled=True), **sections}
    made_by = MadeBy.of("card", REVISION, {}, scores)
    with files.whole(table) as part:
        part.write_text(_text(sections), encoding="utf-8")
    content = {"sections": sections, "rules": RULES, "table": files.digest(table)}
    write_json(card, "Card", made_by, content)
    _log.info("card: wrote %s and %s", card, table)


def _read(path: Path) -> dict[str, Any]:
    try:
        _, found = read_json(path, "Scores")
        _hits(found["entries"][0])
        return found
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ReidError(f"{path}: not a file of scores: {error!r}; run evaluate again") from error


def _section(domains: list[dict[str, Any]], *, pooled: bool) -> list[dict[str, Any]]:
    """One row of scores for each ranking; the hits of all given domains are put together."""
    rows = []
    for entries in zip(*(domain["entries"] for domain in domains), strict=True):
        kinds = {(entry["member"], entry["reranked"]) for entry in entries}
        if len(kinds) > 1:
            raise ReidError(
                "the domains' scores were made with different members: run evaluate again for all"
            )
        hits = Hits.joined([_hits(entry) for entry in entries])
        elsewhere = np.concatenate([np.asarray(domain["elsewhere"], np.int64) for domain in domains])
        member, reranked = kinds.pop()
        rows.append({"member": member, "reranked": reranked, **score(hits, elsewhere if pooled else None)})
    return rows


def _hits(entry: dict[str, Any]) -> Hits:
    kinds = Hits.empty()
    return Hits(
        **{name: np.asarray(values, getattr(kinds, name).dtype) for name, values in entry["hits"].items()}
    )


def _text(sections: dict[str, list[dict[str, Any]]]) -> str:
    if not sections:
        return "No score card: the truth about these images is not known.\n"
    out = io.StringIO()
    console = Console(file=out, width=110, color_system=None, highlight=False)
    for name, rows in sections.items():
        table = Table(title=f"{name} ({rows[0]['queries']} queries)", box=SIMPLE_HEAD, title_justify="left")
        table.add_column("ranking")
        table.add_column("distance")
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for row in rows:
            kind = "re-ranked" if row["reranked"] else "plain"
            table.add_row(row["member"], kind, *(f"{100 * row[column]:.1f}" for column in COLUMNS))
        console.print(table)
    console.print("Per cent. Rules:")
    for rule, meaning in RULES.items():
        console.print(f"  {rule}: {meaning}.")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
