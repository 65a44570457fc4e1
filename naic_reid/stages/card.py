"""Puts all domains' scores on one card: each member plain and re-ranked, and their fusion."""

import io
import logging
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from naic_reid import files
from naic_reid import scores as scored
from naic_reid.artifacts import ImageList, MadeBy, write_json
from naic_reid.config import Published
from naic_reid.retrieval import comparison
from naic_reid.scores import Row, Scored

REVISION = 4
COLUMNS = ("R1", "R5", "R10", "mAP", "mAP@200", "mINP")
RULES = {
    "95 %": "the interval that would hold the score of other such persons in 19 of 20 test sets, by drawing "
    "persons anew (bootstrap); where nobody fails, so many who would could be missed; it knows "
    "nothing of another training's luck",
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


def run(
    published: dict[str, Published],
    *,
    scores: list[Path],
    trained: Path,
    tested: list[Path],
    card: Path,
    table: Path,
) -> None:
    """Reads the scores of each domain (named like its file), writes the card as JSON and as text.

    With the training list and the lists of queries and galleries it says how many test images were
    trained on.
    """
    read = {path.stem: scored.read(path) for path in scores}
    competition = [one for one in read.values() if one.protocol == "naic"]
    told = ({scored.POOLED: scored.pooled(competition)} if competition else {}) | read
    sections = {domain: [_row(one, row) for row in one.rows] for domain, one in told.items()}
    protocols = {domain: {"protocol": one.protocol, **one.rules} for domain, one in read.items()}
    known = _trained_on(trained, tested)
    made_by = MadeBy.of("card", REVISION, {"published": published}, [*scores, trained, *tested])
    rules = RULES | (POOLED_RULES if competition else {})
    with files.whole(table) as unfinished:
        text = _text(sections, protocols, rules, published) + _warning(known)
        unfinished.write_text(text, encoding="utf-8")
    content = {
        "sections": sections,
        "rules": rules,
        "protocols": protocols,
        "trained_on": known,
        "published": {name: stated.model_dump() for name, stated in published.items()},
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


def _row(domain: Scored, row: Row) -> dict[str, Any]:
    """What the card tells of a ranking, with the interval of each score where it has queries."""
    shares = domain.shares(row)
    known = len(shares.persons) > 0
    ends = comparison.intervals(shares).tolist() if known else []
    told = {"interval": dict(zip(shares.names, ends, strict=True)), "persons": len(shares.persons)}
    return row.kind | row.scores | (told if known else {})


def _text(
    sections: dict[str, list[dict[str, Any]]],
    protocols: dict[str, dict[str, str]],
    rules: dict[str, str],
    published: dict[str, Published],
) -> str:
    if not sections:
        return "No score card: the truth about these images is not known.\n"
    out = io.StringIO()
    console = Console(file=out, width=110, color_system=None, highlight=False)
    for name, rows in sections.items():
        table = Table(title=f"{name} ({rows[0]['queries']} queries)", box=SIMPLE_HEAD, title_justify="left",
                      padding=(0, 1, 0, 0))  # fmt: skip
        table.add_column("ranking", overflow="fold")
        table.add_column("distance", no_wrap=True)
        for column in COLUMNS:
            table.add_column(column, justify="right")
            if column in comparison.SCORES:
                table.add_column("95 %", justify="right")
        for row in rows:
            cells = [cell for column in COLUMNS for cell in _cells(row, column)]
            table.add_row(row["member"], scored.distance(row), *cells)
        if name in published:
            table.add_section()
            table.add_row(published[name].source, "", *_stated(published[name]))
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


def _cells(row: dict[str, Any], column: str) -> list[str]:
    """A score with its deviation over trials, and its interval where the column has one."""
    deviation = row.get("deviation", {}).get(column)
    value = f"{100 * row[column]:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
    if column not in comparison.SCORES:
        return [value]
    low, high = row.get("interval", {}).get(column, (0, 1))
    return [value, f"{100 * low:.0f}–{100 * high:.0f}"]


def _stated(published: Published) -> list[str]:
    """What others state, in the columns of our scores."""
    cells = []
    for column in COLUMNS:
        value = getattr(published, column, None)
        cells.append("" if value is None else f"{value:.1f}")
        cells += [""] * (column in comparison.SCORES)
    return cells


def _rates(row: dict[str, Any]) -> str:
    """A line of true-positive rates; nothing where the row has none."""
    found = [
        f"{key.removeprefix('TPR@FPR=')}: {100 * value:.1f}"
        for key, value in row.items()
        if key.startswith("TPR@FPR=")
    ]
    return f"  {row['member']}, {scored.distance(row)}: TPR at FPR {', '.join(found)}" if found else ""
