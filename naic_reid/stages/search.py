"""Finds the exact nearest rows of every image within query and gallery together."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from naic_reid import lineage
from naic_reid.artifacts import Features, Floats, MadeBy, Neighbours, canonical
from naic_reid.config import Search
from naic_reid.progress import shown
from naic_reid.retrieval import exact, nearest, nearest_gpu, products

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
    memory: str = "",
) -> None:
    """Reads the `Features` of one member and domain, writes their `Neighbours`.

    `memory` (such as 800MB, 6GB; by default half of what is free on the device) fixes the size of blocks.
    """
    started = time.monotonic()
    of_query, of_gallery = Features.read(query), Features.read(gallery)
    _log.info(
        "search: %d nearest of each of %d + %d rows of %d numbers",
        search.keep, len(of_query.names), len(of_gallery.names), of_query.values.shape[1],
    )  # fmt: skip
    settings: dict[str, object] = {"search": search}
    made_by = MadeBy.of("search", REVISION, settings, [query, gallery])
    lineage.require_twins(query, of_query.made_by, gallery, of_gallery.made_by)
    values = of_query.values, of_gallery.values
    if search.engine == "exact":
        found = _exact(*values, search.keep, products.choose(device), threads, memory)
    else:
        found, settings["recall"] = _by_faiss(*values, search, threads)
        made_by = replace(made_by, settings=canonical(settings))
    replace(found, made_by=made_by).write(neighbours)
    _log.info("search: wrote %s in %.1f s", neighbours, time.monotonic() - started)


def _exact(query: Floats, gallery: Floats, keep: int, device: str, threads: int, memory: str) -> Neighbours:
    allowed = products.budget(memory, device)
    if device != "cpu":
        _log.info("search: on %s, at most %d MB", device, allowed // 10**6)
        union = exact.rows(query, gallery)
        return nearest_gpu.k_nearest(union, len(query), keep, device=device, memory=allowed)
    rounded = nearest.multiplies_bfloat16()
    size = len(query) + len(gallery), query.shape[1], keep, allowed
    planned = nearest.plan(*size, threads=threads, rounded=rounded)
    _log.info(
        "search: about %d MB beyond the features, %s may be used; tiles of %d rows",
        planned.megabytes, f"{allowed // 10**6} MB", planned.block,
    )  # fmt: skip
    return nearest.k_nearest(
        query,
        gallery,
        keep,
        threads=threads,
        block=planned.block,
        whole=planned.whole,
        rounded=rounded,
        watch=lambda steps, total: shown(steps, "search: tiles", total),
    )


def _by_faiss(query: Floats, gallery: Floats, search: Search, threads: int) -> tuple[Neighbours, float]:
    """What an engine of faiss finds, and its recall on a sample, which the file's record tells."""
    from naic_reid.retrieval import engines  # faiss is loaded by those who ask for it

    found = engines.k_nearest(query, gallery, search.keep, search.engine, search.effort, threads=threads)
    recall = engines.recall(query, gallery, found)
    _log.log(
        logging.INFO if recall >= 0.999 else logging.WARNING,
        "search: %s found %.2f %% of the %d nearest, measured on a sample of rows",
        search.engine, 100 * recall, search.keep,
    )  # fmt: skip
    return found, round(recall, 6)
