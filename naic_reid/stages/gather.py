"""Puts the parts that the shards of a step made together, to the bytes that one job would have written."""

import logging
import time
from pathlib import Path

from naic_reid import parts as pieces

REVISION = 1
_log = logging.getLogger(__name__)


def run(*, parts: list[Path], whole: Path) -> None:
    """Reads all parts of one `Features`, `Neighbours` or `JaccardRows`, in any order, and writes it.

    A part that is missing, there twice, damaged or of something else is refused by name.
    """
    started = time.monotonic()
    _log.info("gather: %d parts", len(parts))
    rows = pieces.gather(parts, whole)
    _log.info("gather: wrote %s, %d rows, in %.1f s", whole, rows.of, time.monotonic() - started)
