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
from naic_reid.artifacts import ImageList, MadeBy, read_json, write_json
from naic_reid.errors import ReidError
from naic_reid.retrieval.metrics import Hits, score

REVISION = 2
POOLED = "pooled"
COLUMNS = ("R1", "R5", "R10", "mAP", "mAP@200", "mINP")
RULES = {
    "AP@200": "hits in the first 200 over min(R, 200)",
    "mINP": "mean of R / rank of the last hit",
    "TPR at FPR": "share of a person's pairs nearer than the distance below which that share of the pairs of "
    "two persons lies; in the file also fast-reid's number of this name, which swaps the two",
}
POOLED_RULES = {
    "pooled": "all queries of the competition's domains, each ranked against its own domain's gallery; "
    "positives in another domain's gallery count in R and are never found",
    "alone": "a domain by itself: only its own gallery's positives count",
}
_log = logging.getLogger(__name__)


def run(*, scores: list[Path], trained: Path, tested: list[Path], card: Path, table: Path) -> None:
    """Reads the scores of each domain (named like its file), writes the card as JSON and as text.

    With the training list and the lists of queries and galleries it says how many test images were
    trained on.
    """
    read = {path.stem: _read(path) for path in scores}
    sections = {domain: _scored(one) for domain, one in read.items()}
    competition = [one for one in read.values() if one["protocol"] == "naic"]
    if competition:
        sections = {POOLED: _pooled(competition), **sections}
    rules = {domain: {"protocol": one["protocol"], **one["rules"]} for domain, one in read.items()}
    known = _trained_on(trained, tested)
    made_by = MadeBy.of("card", REVISION, {}, [*scores, trained, *tested])
    general = RULES | (POOLED_RULES if competition else {})
    with files.whole(table) as part:
        part.write_text(_text(sections, rules, general) + _warning(known), encoding="utf-8")
    content = {
        "sections": sections,
        "rules": general,
        "protocols": rules,
        "trained_on": known,
        "table": files.digest(table),
    }
    write_json(card, "Card", made_by, content)
    _log.info("card: wrote %s and %s", card, table)


def _trained_on(trained: Path, tested: list[Path]) -> dict[str, list[int]]:
    """List of test images → how many have a file's bytes that the training list has, too; and of how many."""
    digests = set(ImageList.read(trained).digests) - {""}
    found = {path.stem: ImageList.read(path) for path in tested}
    return {
        name: [sum(one in digests for one in images.digests), len(images)] for name, images in found.items()
    }


def _warning(known: dict[str, list[int]]) -> str:
    told = [f"{copies} of {total} in {name}" for name, (copies, total) in known.items() if copies]
    return (
        f"TRAINED ON: {', '.join(told)} are copies of training images: a score is worth less for it.\n"
        if told
        else ""
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        _, found = read_json(path, "Scores")
        _scored(found)
        _pooled([found] if found["protocol"] == "naic" else [])
        return found if found["rules"].items() else {}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ReidError(f"{path}: not a file of scores: {error!r}; run evaluate again") from error


def _scored(domain: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each ranking of a domain by itself."""
    return [{**_kind(entry), **entry["scores"]} for entry in domain["entries"]]


def _kind(entry: dict[str, Any]) -> dict[str, Any]:
    multiple = {"multiple": True} if entry.get("multiple") else {}
    return {"member": entry["member"], "reranked": entry["reranked"], **multiple}


def _pooled(domains: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row of scores for each ranking; the hits of all given domains are put together."""
    rows = []
    for entries in zip(*(domain["entries"] for domain in domains), strict=True):
        if any(_kind(entry) != _kind(entries[0]) for entry in entries):
            raise ReidError(
                "the domains' scores were made with different members: run evaluate again for all"
            )
        hits = Hits.joined([_hits(entry) for entry in entries])
        elsewhere = np.concatenate([np.asarray(domain["elsewhere"], np.int64) for domain in domains])
        rows.append(_kind(entries[0]) | score(hits, elsewhere))
    return rows


def _hits(entry: dict[str, Any]) -> Hits:
    kinds = Hits.empty()
    return Hits(
        **{name: np.asarray(values, getattr(kinds, name).dtype) for name, values in entry["hits"].items()}
    )


def _text(
    sections: dict[str, list[dict[str, Any]]], protocols: dict[str, dict[str, str]], rules: dict[str, str]
) -> str:
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
            table.add_row(row["member"], _distance(row), *(_percent(row, column) for column in COLUMNS))
        console.print(table)
        rates = [line for row in rows if (line := _rates(row))]
        if rates:
            console.print("\n".join(rates) + "\n")
    console.print("Per cent. Rules:")
    told = {tuple(rule.items()): [name for name in protocols if protocols[name] == rule]
            for rule in protocols.values()}  # fmt: skip
    for rule, domains in told.items():
        console.print(f"  {', '.join(domains)}:")
        for topic, meaning in rule:
            console.print(f"    {topic}: {meaning}.")
    for topic, meaning in rules.items():
        console.print(f"  {topic}: {meaning}.")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _percent(row: dict[str, Any], column: str) -> str:
    deviation = row.get("deviation", {}).get(column)
    return f"{100 * row[column]:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def _rates(row: dict[str, Any]) -> str:
    """A line of true-positive rates; nothing where the row has none."""
    found = [
        f"{key.removeprefix('TPR@FPR=')}: {100 * value:.1f}"
        for key, value in row.items()
        if key.startswith("TPR@FPR=")
    ]
    return f"  {row['member']}, {_distance(row)}: TPR at FPR {', '.join(found)}" if found else ""


def _distance(row: dict[str, Any]) -> str:
    """What a row ranks by."""
    return ("re-ranked" if row["reranked"] else "plain") + ", multiple" * ("multiple" in row)
