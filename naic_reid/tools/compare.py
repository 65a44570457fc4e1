"""Tells whether one run's recipe is better than another's, or whether it was luck.

    naic-reid compare before after              folders in which runs ended, with results/ in them
    naic-reid compare before after --html changed.html --data DATA    also as a page, with pictures
    naic-reid compare a1 a2 a3 b1 b2 b3         runs that differ in nothing but the seed are one recipe
    naic-reid compare before after --paired     refuse runs of which something has no pair

Every other recipe is held against the first: the difference of R1, mAP and mINP in each domain with its
95 % interval, by a paired bootstrap over identities, and a p-value, never below that of swapping the two for
each person. "not shown": 0 lies in the interval, or p is not below 5 %, so the difference may be luck. With
one run of a recipe persons are drawn anew but trainings are not: that two runs differ is no proof that
their recipes do. Only the same queries are compared: a domain where they differ is left out, which is said;
with --paired it is an error. Exit status 0, whatever is found.
"""

import argparse
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from naic_reid import runs
from naic_reid.errors import ReidError
from naic_reid.retrieval import comparison
from naic_reid.runs import Change, Comparison, Line
from naic_reid.tools import compare_page

_FIRST = 5  # persons and queries that are listed


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder in which a run ended")
    parser.add_argument("--ranking", action="append", metavar="NAME", help="as on the card, with a comma: "
                        "'small/epoch_10, plain'; may be repeated; default: the fusion's two")  # fmt: skip
    parser.add_argument("--paired", action="store_true",
                        help="every domain and ranking of every run must have its pair in all others: else "
                        "status 2, where such are left out otherwise")  # fmt: skip
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with pictures, written")
    parser.add_argument("--data", type=Path, metavar="FOLDER",
                        help="of the pictures; default: the first run's toy or data/MyDataSet")  # fmt: skip
    parser.add_argument(
        "--level", type=float, default=comparison.LEVEL, help="of the intervals; default 0.95"
    )
    parser.add_argument(
        "--draws", type=int, default=comparison.DRAWS, metavar="N", help="default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws; default 0")


def run(options: argparse.Namespace) -> int:
    """Prints the comparison."""
    if not 0.5 <= options.level < 1 or options.draws < 100:
        raise ReidError("--level must lie in 0.5 … 1, and --draws be at least 100")
    if options.html:
        runs.apart(options.html, options.runs)
    rankings = {"rankings": options.ranking} if options.ranking else {}
    found = runs.compare(
        options.runs,
        paired=options.paired,
        level=options.level,
        draws=options.draws,
        seed=options.seed,
        **rankings,
    )
    console = Console(highlight=False, width=None if Console().is_terminal else 110)
    for one in found:
        _print(console, one, options.level)
    if options.html:
        compare_page.write(options.html, found, options.data or runs.data_of(options.runs[0]), options.level)
        console.print(f"\n{options.html}: the page", markup=False)
    return 0


def _print(console: Console, one: Comparison, level: float) -> None:
    for letter, recipe in zip("AB", (one.first, one.other), strict=True):
        seeds = ", ".join(str(run.seed) for run in recipe.runs)
        told = f"  ({len(recipe.runs)} runs, seeds {seeds})" if len(recipe.runs) > 1 else ""
        console.print(f"{letter}: {recipe.name}{told}", markup=False)
    for domain, lines in groupby(one.lines, attrgetter("domain")):
        console.print(_table(f"\n{domain}: {one.size(domain)}", list(lines), level))
    for domain, reason in one.left_out.items():
        console.print(f"{domain} is left out: {reason}", markup=False)
    if min(len(recipe.runs) for recipe in (one.first, one.other)) == 1:
        console.print("A recipe was trained once: what another seed would change is in no interval.")
    console.print("\nSettings that differ, A → B:")
    for line in one.settings or ["none"]:
        console.print(f"  {line}", markup=False)
    domain, ranking = one.lines[0].domain, one.lines[-1].ranking
    console.print(f"\nChanged most, by average precision A → B ({domain}; {ranking}):")
    _changes(console, "persons", one.persons(domain, ranking))
    _changes(console, "queries", one.queries(domain, ranking))


def _table(title: str, lines: Sequence[Line], level: float) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for column in ("ranking", "score"):
        table.add_column(column, no_wrap=True)
    for column in ("A", "B", "B − A", f"{100 * level:g} %", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("B is", no_wrap=True)
    for line in lines:
        table.add_row(*compare_page.cells(line, level))
    return table


def _changes(console: Console, what: str, changes: list[Change]) -> None:
    changed = [change for change in changes if change.first != change.other]
    console.print(f"  {what}: {len(changed)} of {len(changes)}")
    for change in changed[:_FIRST]:
        whom = f"  (person {change.person})" if what == "queries" else ""
        console.print(
            f"    {100 * change.first:5.1f} → {100 * change.other:5.1f}  {change.name}{whom}", markup=False
        )
