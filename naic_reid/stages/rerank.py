"""Encodes rows by their k-reciprocal neighbours and writes how much queries and gallery overlap.

With nothing but two files of features, `naic-reid rerank query.npy gallery.npy --indices ranking.npy` goes
from them to the ranking; `naic-reid rank --help` says more.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

from naic_reid import lineage, members, parts
from naic_reid.artifacts import Features, MadeBy, Neighbours
from naic_reid.config import Rerank
from naic_reid.errors import ReidError
from naic_reid.retrieval.rerank import once

REVISION = 1
_log = logging.getLogger(__name__)


def run(
    rerank: Rerank,
    *,
    neighbours: Path,
    query: Path,
    gallery: Path,
    jaccard: Path,
    threads: int = 0,
    shard: str = "",
) -> None:
    """Reads `Neighbours` and the `Features` they were found in, writes `JaccardRows`.

    `shard` I/N makes a part for `gather`: the rows of the I-th of N ranges of queries.
    """
    started = time.monotonic()
    found = Neighbours.read(neighbours)
    of_query, of_gallery = members.paired(query, gallery)
    num, kept = found.rows.shape
    how = members.reranking(rerank)
    made_by = MadeBy.of("rerank", REVISION, {"rerank": rerank}, [neighbours, query, gallery])
    lineage.agree(neighbours, found.made_by, made_by, [query, gallery])
    values = of_query.values, of_gallery.values
    _require_same(neighbours, found, query, of_query, gallery, of_gallery)
    if kept < min(how.keep, num):
        raise ReidError(
            f"{neighbours}: holds {kept} neighbours of each row, and k1 = {rerank.k1}, k2 = {rerank.k2} need "
            f"{how.keep}: raise search.keep and run search again"
        )
    if num and rerank.k1 > num - 1:
        _log.warning("rerank: k1 = %d is more than there are other rows; using %d", rerank.k1, num - 1)
    asking = parts.rows_of(shard, len(of_query.names))
    _log.info(
        "rerank: %s, %d queries, %d gallery images, k1 = %d, k2 = %d%s",
        rerank.method,
        len(of_query.names), len(of_gallery.names), rerank.k1, rerank.k2,
        f", of these {asking}" if shard else "",
    )  # fmt: skip
    rows = how.rows(
        found, *values, regions=of_query.regions, asking=(asking.start, asking.stop), threads=threads
    )
    if shard:
        parts.write(jaccard, "JaccardRows", asking, rows.arrays, made_by)
    else:
        replace(rows, made_by=made_by).write(jaccard)
    _log.info(
        "rerank: wrote %s, %d overlaps, in %.1f s", jaccard, rows.similarity.nnz, time.monotonic() - started
    )


def _require_same(
    neighbours: Path, found: Neighbours, query: Path, of_query: Features, gallery: Path, of_gallery: Features
) -> None:
    num = sum(map(len, once(of_query.values, of_gallery.values)))
    if found.num_query != len(of_query.names) or len(found.rows) != num:
        raise ReidError(
            f"{neighbours}: {found.num_query} queries among {len(found.rows)} rows, but {query} and "
            f"{gallery} hold {len(of_query.names)} and {len(of_gallery.names)}: run search on these features"
        )
