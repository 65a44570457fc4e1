"""How far long work has come: a bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_T = TypeVar("_T")
_LOG_SECONDS = 30.0

_log = logging.getLogger(__name__)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


def shown(items: Iterable[_T], what: str, total: int) -> Iterator[_T]:
    """The items, while standard error shows how many of the total have come, the rate and the time left."""
    console = Console(file=sys.stderr)
    began = last = time.monotonic()
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        for number, item in enumerate(items, start=1):
            yield item
            if number % 64 and number != total:
                continue
            progress.update(task, completed=number)
            now = time.monotonic()
            if not console.is_terminal and now - last >= _LOG_SECONDS:
                last = now
                rate = number / (now - began)
                _log.info(
                    "%s: %d of %d, %.0f/s, %.0f s left", what, number, total, rate, (total - number) / rate
                )


@contextmanager
def followed(what: str, total: float, *, on: bool = True) -> Iterator[Callable[[float, str], None]]:
    """A function that shows how much is done, and a text about it; for work that has more to say than a rate.

    Args:
        what: the work.
        total: of what is done.
        on: whether this process shows anything.
    """
    console = Console(file=sys.stderr)
    last = time.monotonic()
    columns = ("{task.description}", BarColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (on and console.is_terminal)) as progress:
        task = progress.add_task(what, total=total)

        def show(done: float, text: str) -> None:
            nonlocal last
            progress.update(task, description=text, completed=done)
            now = time.monotonic()
            if on and not console.is_terminal and now - last >= _LOG_SECONDS:
                last = now
                left = progress.tasks[0].time_remaining
                _log.info("%s: %s, %s left", what, text, "?" if left is None else f"{left:.0f} s")

        yield show
