"""Why a run stopped, as its steps said it: told again at the end, for hours of lines may follow."""

import os
from collections.abc import Iterable
from pathlib import Path

from naic_reid.files import regular

NOTE = "NAIC_REID_STOPPED"
"""The environment's word for the file that `naic-reid run` reads the reason from, to say it last."""
RESUME = "repeat the same command, and only what failed, changed or was not finished runs"
_ERROR = "naic-reid: error: "
_REPEAT = "\nrepeat this step with: "
_TRACEBACK = "Traceback (most recent call last)"
_MOST = 5  # steps that are told; the rest have the same cause, or wait their turn
_LINES = 12


def told(failed: Iterable[tuple[str, Path]]) -> str:
    """That a run stopped, what its failed steps said, the first first, equal words once, and how to go on.

    Args:
        failed: the step, such as `train`, and its log.
    """
    there = [(step, log) for step, log in failed if log.is_file()]
    there.sort(key=lambda one: one[1].stat().st_mtime_ns)
    said: dict[str, str] = {}
    for step, log in there:
        said.setdefault(last_words(log), f"{step} ({log})")
    lines = [f"{who}: {words}" for words, who in said.items()]
    rest = [f"… and {len(lines) - _MOST} more, see logs/"] if len(lines) > _MOST else []
    return "\n".join(["stopped before the end:", *lines[:_MOST], *rest, f"Mend that, {RESUME}"])


def last_words(log: Path) -> str:
    """The sentence that a step ended with, without the command that repeats it; else what can be told."""
    text = regular(log).read_text(encoding="utf-8", errors="replace")
    _, found, rest = text.rpartition(_ERROR)
    if found:
        lines = rest.partition(_REPEAT)[0].rstrip().splitlines()
        return "\n".join(lines[:_LINES] + ["  …"] * (len(lines) > _LINES))
    *_, last = ["", *text.rstrip().splitlines()]
    if last and not text.endswith("\n"):
        return f"its log breaks off, as on a full disk, after: {last}"
    if _TRACEBACK in text:
        return f"an error that nobody foresaw: {last}"
    return f"was ended from outside, killed or out of memory; its last line: {last or '(none)'}"


def asked() -> bool:
    """Whether a command of ours started the workflow, and will say the reason itself."""
    return NOTE in os.environ


def noted(reason: str) -> bool:
    """Hand the reason to the command that started the workflow; whether there is one."""
    if asked():
        Path(os.environ[NOTE]).write_text(reason, encoding="utf-8")
    return asked()
