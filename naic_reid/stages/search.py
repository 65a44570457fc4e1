"""Finds the exact nearest rows of every image within query and gallery together."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from naic_reid import lineage, members, parts
from naic_reid.artifacts import Floats, Ints, MadeBy, Neighbours, canonical
from naic_reid.config import Search
from naic_reid.errors import ReidError, extra
from naic_reid.progress import shown
from naic_reid.retrieval import search as searching
from naic_reid.retrieval import vectors
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.rerank import once

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
    shard: str = "",
) -> None:
    """Reads the `Features` of one member and domain, writes their `Neighbours`.

    `memory` (such as 800MB, 6GB; by default half of what is free on the device) fixes the size of blocks.
    `shard` I/N makes a part for `gather`: the neighbours of the I-th of N ranges of rows.
    """
    started = time.monotonic()
    of_query, of_gallery = members.paired(query, gallery)
    values = once(of_query.values, of_gallery.values)
    rows = parts.rows_of(shard, sum(map(len, values)))
    _log.info(
        "search: %d nearest of each of %d + %d rows of %d numbers%s",
        search.keep, len(of_query.names), len(of_gallery.names), of_query.values.shape[1],
        f", of these {rows}" if shard else "",
    )  # fmt: skip
    if shard and search.engine != "exact":
        raise ReidError(
            f"--shard {shard}: {search.engine} searches in one piece; search.engine: exact has shards"
        )
    if of_query.regions and search.engine != "exact":
        raise ReidError(
            f"{query}: features of visible regions are compared by two products, which {search.engine} does "
            "not know: set search.engine: exact"
        )
    settings: dict[str, object] = {"search": search}
    made_by = MadeBy.of("search", REVISION, settings, [query, gallery])
    lineage.require_twins(query, of_query.made_by, gallery, of_gallery.made_by)
    if search.engine == "exact":
        features = searching.searched(*values, of_query.regions, vectors.choose(device))
        found = _exact(features, search.keep, rows, threads, memory)
        if shard:
            arrays = dict(zip(("rows", "distances", "farthest"), found, strict=True))
            arrays["num_query"] = np.array(len(of_query.names))
            parts.write(neighbours, "Neighbours", rows, arrays, made_by)
        else:
            Neighbours(*found, len(of_query.names), made_by).write(neighbours)
    else:
        nearby, settings["recall"] = _by_faiss(*values, search, threads)
        replace(nearby, made_by=replace(made_by, settings=canonical(settings))).write(neighbours)
    _log.info("search: wrote %s in %.1f s", neighbours, time.monotonic() - started)


def _exact(
    features: vectors.Vectors, keep: int, rows: parts.Rows, threads: int, memory: str
) -> tuple[Ints, Floats, Floats]:
    allowed = budget(memory, str(features.device))
    _log.info("search: on %s, at most %d MB beyond the features", features.device, allowed // 10**6)
    return searching.of_rows(
        features, keep, (rows.start, rows.stop), threads=threads, memory=allowed,
        watch=lambda steps, total: shown(steps, "search: tiles", total),
    )  # fmt: skip


def _by_faiss(query: Floats, gallery: Floats, search: Search, threads: int) -> tuple[Neighbours, float]:
    """What an engine of faiss finds, and its recall on a sample, which the file's record tells."""
    with extra("faiss", f"search.engine {search.engine}"):
        from naic_reid.retrieval import engines  # faiss is loaded by those who ask for it

    found = engines.k_nearest(
        query, gallery, search.keep, search.engine,
        nprobe=search.nprobe, ef_search=search.ef_search, threads=threads,
    )  # fmt: skip
    recall = engines.recall(query, gallery, found)
    _log.log(
        logging.INFO if recall >= 0.999 else logging.WARNING,
        "search: %s found %.2f %% of the %d nearest, measured on a sample of rows",
        search.engine, 100 * recall, search.keep,
    )  # fmt: skip
    return found, round(recall, 6)
