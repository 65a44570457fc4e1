"""Adds up the distances of all members of a domain and lists the best of the gallery for each query."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from naic_reid import members
from naic_reid.artifacts import MadeBy, Ranking
from naic_reid.config import Ensemble, Fuse, Model, Rerank
from naic_reid.progress import shown
from naic_reid.retrieval import best as nearest_of
from naic_reid.retrieval import vectors
from naic_reid.retrieval.memory import budget

REVISION = 1
_log = logging.getLogger(__name__)


def run(
    rerank: Rerank,
    models: dict[str, Model],
    ensemble: Ensemble,
    fuse: Fuse,
    *,
    query: list[Path],
    gallery: list[Path],
    jaccard: list[Path],
    ranking: Path,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> None:
    """Reads `Features` and `JaccardRows` of every member (models in order, then epochs), writes `Ranking`.

    `memory` (by default half of what is free on the device) fixes how many queries are done at once.
    """
    started = time.monotonic()
    named = members.names(models, ensemble)
    files = members.Files(query, gallery, jaccard)
    members.require_one_each("fuse", named, files)
    settings = {"rerank": rerank, "models": {n: m.weight for n, m in models.items()}, "fuse": fuse}
    settings["ensemble"] = ensemble
    made_by = MadeBy.of("fuse", REVISION, settings, files.all)
    device = vectors.choose(device)
    fused, queries, names = members.read(models, ensemble, files, made_by, device=device)
    _log.info("fuse: %d members, %d queries, %d gallery images", len(named), len(queries), len(names))
    allowed = budget(memory, device)
    if fuse.of == "features":
        fused = [members.side_by_side(fused, rerank, device=device, threads=threads, memory=allowed)]
    block = nearest_of.block_length(len(names), allowed, threads=threads)
    _log.info("fuse: on %s, %d queries at once; %d MB may be used", device, block, allowed // 10**6)
    indices, distances = nearest_of.best(
        fused, members.reranking(rerank).mix, fuse.best, threads=threads, block=block, watch=_watch
    )
    Ranking(queries, names, indices, distances, made_by).write(ranking)
    _log.info("fuse: wrote %s in %.1f s", ranking, time.monotonic() - started)


def _watch(steps: Iterator[Any], total: int) -> Iterator[Any]:
    return shown(steps, "fuse: blocks of queries", total)
