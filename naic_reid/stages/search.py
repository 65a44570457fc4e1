"""Finds the exact nearest rows of every image within query and gallery together."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from naic_reid.artifacts import Features, MadeBy
from naic_reid.config import Search
from naic_reid.errors import ReidError
from naic_reid.retrieval.nearest import k_nearest

REVISION = 1
_log = logging.getLogger(__name__)


def run(
    search: Search,
    *,
    query: Path,
    gallery: Path,
    neighbours: Path,
    device: str = "auto",
    threads: int = 0,
) -> None:
    """Reads the `Features` of one member and domain, writes their `Neighbours`."""
    started = time.monotonic()
    of_query, of_gallery = Features.read(query), Features.read(gallery)
    _log.info(
        "search: %d nearest of each of %d + %d rows of %d numbers",
        search.keep, len(of_query.names), len(of_gallery.names), of_query.values.shape[1],
    )  # fmt: skip
    made_by = MadeBy.of("search", REVISION, {"search": search}, [query, gallery])
    one, other = of_query.made_by, of_gallery.made_by
    if (one.settings, one.inputs[1:]) != (other.settings, other.inputs[1:]):
        raise ReidError(
            f"{gallery}: was not extracted as {query} was (another checkpoint or other settings): delete "
            "both and run again"
        )
    found = k_nearest(of_query.values, of_gallery.values, search.keep, threads=threads)
    replace(found, made_by=made_by).write(neighbours)
    _log.info("search: wrote %s in %.1f s", neighbours, time.monotonic() - started)
