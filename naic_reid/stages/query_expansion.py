"""Moves every feature of a domain towards its nearest, where the config asks for it (αQE)."""

import logging
import time
from pathlib import Path

from naic_reid import lineage, members
from naic_reid.artifacts import Features, MadeBy
from naic_reid.config import QueryExpansion
from naic_reid.retrieval import vectors
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.rerank import expanded

REVISION = 1
_log = logging.getLogger(__name__)


def run(
    query_expansion: QueryExpansion,
    *,
    query: Path,
    gallery: Path,
    new_query: Path,
    new_gallery: Path,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> None:
    """Reads the `Features` of one member and domain, writes them expanded, under the same names.

    `memory` is the search's; the new features, as large as the old, come on top.
    """
    started = time.monotonic()
    of_query, of_gallery = members.paired(query, gallery)
    lineage.require_twins(query, of_query.made_by, gallery, of_gallery.made_by)
    _log.info(
        "query_expansion: %d + %d features towards their %d nearest, by cosine to the power %g",
        len(of_query.names), len(of_gallery.names), query_expansion.k, query_expansion.alpha,
    )  # fmt: skip
    device = vectors.choose(device)
    values = expanded(
        of_query.values, of_gallery.values, query_expansion.k, query_expansion.alpha,
        regions=of_query.regions, device=device, threads=threads, memory=budget(memory, device),
    )  # fmt: skip
    settings = lineage.network(of_query.made_by) | {"query_expansion": query_expansion}
    made_by = MadeBy.of("query_expansion", REVISION, settings, [query, gallery])
    for path, names, rows in zip(
        (new_query, new_gallery), (of_query.names, of_gallery.names), values, strict=True
    ):
        Features(names, rows, made_by, regions=of_query.regions).write(path)
    _log.info(
        "query_expansion: wrote %s and %s in %.1f s", new_query, new_gallery, time.monotonic() - started
    )
