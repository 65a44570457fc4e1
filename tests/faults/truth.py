"""Truth tables that contradict themselves, or do not fit the images."""

import os
import re
from collections.abc import Callable

from tests.faults.case import Case
from tests.faults.world import Command, World

TRUTH = "results/toy/truth.csv"


def _with(change: Callable[[str], str]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.replace(TRUTH, change(world.path(TRUTH).read_text()).encode())

    return plant


def _first(pattern: str, replacement: str) -> Callable[[World], None]:
    return _with(lambda text: re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE))


def _twice(world: World) -> None:
    text = world.path(TRUTH).read_text()
    subset, name, *_ = text.splitlines()[1].split(",")
    world.replace(TRUTH, f"{text}{subset},{name},9999,1\n".encode())


def _evaluate(world: World) -> list[Command]:
    return [world.command("evaluate", "evaluate/green")]


def _special(make: Callable[[str], None]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.path(TRUTH).unlink()
        make(str(world.path(TRUTH)))

    return plant


def _case(name: str, plant: Callable[[World], None], says: str) -> Case:
    return Case("Truth", name, plant, _evaluate, says=says)


CASES = [
    _case("no such file", _special(lambda path: None), "truth.csv: cannot be read: No such file"),
    _case("a named pipe", _special(os.mkfifo), "truth.csv: is a named pipe"),
    _case("another table", _with(lambda _: "a,b\n1,2\n"), "its first line must be subset,name,pid,camid"),
    _case("an image twice, as two persons", _twice, "says otherwise of this image"),
    _case("a space before a pid", _first(r"^(query,[^,]*),", r"\1, "), ":[0-9]+: white space"),
    _case("an empty pid", _first(r"^(gallery,[^,]*),[0-9]+", r"\1,"), "the pid '' is no whole"),
    _case("nan for a pid", _first(r"^(gallery,[^,]*),[0-9]+", r"\1,nan"), "the pid 'nan' is no whole"),
    _case("-1 for a query", _first(r"^(query,[^,]*),[0-9]+", r"\1,-1"), "a query that is junk"),
    _case("an image without a row", _first(r"^gallery,.*\n", ""), "no row for these gallery images"),
    _case("a row without an image", _with(lambda text: text + "query,nobody.png,1,1\n"),
          "truth.csv:[0-9]+: there is no such query image: nobody.png"),
]  # fmt: skip
