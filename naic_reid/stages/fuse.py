"""Adds up the distances of all members of a domain and lists the best of the gallery for each query."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from naic_reid import lineage
from naic_reid.artifacts import Features, JaccardRows, MadeBy, Ranking
from naic_reid.config import Ensemble, Fuse, Model, Rerank
from naic_reid.errors import ReidError
from naic_reid.progress import shown
from naic_reid.retrieval import fusion, products
from naic_reid.retrieval import rerank as reranking

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
    threads: int = 0,
    memory: str = "",
) -> None:
    """Reads `Features` and `JaccardRows` of every member (models in order, then epochs), writes `Ranking`.

    `memory` (by default half of what is free) fixes how many queries are done at once.
    """
    started = time.monotonic()
    weights = [model.weight for model in models.values() for _ in ensemble.epochs]
    if not len(weights) == len(query) == len(gallery) == len(jaccard):
        raise ReidError(
            f"fuse: {len(weights)} members in the config, but {len(query)} query, {len(gallery)} gallery and "
            f"{len(jaccard)} Jaccard files: give one of each for every model and epoch, in that order"
        )
    of_query = [Features.read(path) for path in query]
    of_gallery = [Features.read(path) for path in gallery]
    for path, features, first in [
        *((path, features, of_query[0]) for path, features in zip(query, of_query, strict=True)),
        *((path, features, of_gallery[0]) for path, features in zip(gallery, of_gallery, strict=True)),
    ]:
        if features.names != first.names:
            raise ReidError(
                f"{path}: its images are not those of the first member: extract all from one list"
            )
    queries, names = of_query[0].names, of_gallery[0].names
    _log.info("fuse: %d members, %d queries, %d gallery images", len(weights), len(queries), len(names))
    overlaps = [JaccardRows.read(path) for path in jaccard]
    settings = {"rerank": rerank, "models": {n: m.weight for n, m in models.items()}, "fuse": fuse}
    settings["ensemble"] = ensemble
    made_by = MadeBy.of("fuse", REVISION, settings, [*query, *gallery, *jaccard])
    artefacts: list[Features | JaccardRows] = [*of_query, *of_gallery, *overlaps]
    read = zip([*query, *gallery, *jaccard], artefacts, strict=True)
    records = {path: artefact.made_by for path, artefact in read}
    plain = {name: model.model_dump() for name, model in models.items()}
    lineage.check_members(plain, ensemble.epochs, made_by, records, query, gallery, jaccard)
    for path, rows in zip(jaccard, overlaps, strict=True):
        if rows.similarity.shape != (len(queries), len(names)):
            raise ReidError(f"{path}: made for {rows.similarity.shape} images: run rerank on these features")
    members = [
        fusion.Member(features.values, others.values, rows, weight)
        for features, others, rows, weight in zip(of_query, of_gallery, overlaps, weights, strict=True)
    ]
    mix = fusion.Mix(rerank.lambda_, rerank.norm, rerank.power)
    allowed = products.budget(memory, "cpu")
    if fuse.of == "features":
        one, other = fusion.concatenated(members)
        rows = reranking.jaccard(
            one, other, rerank.k1, rerank.k2, norm=rerank.norm, power=rerank.power,
            count_self=rerank.count_self, threads=threads, memory=allowed,
        )  # fmt: skip
        members = [fusion.Member(one, other, rows)]
    block = fusion.block_length(len(names), allowed, threads=threads)
    _log.info("fuse: %d queries at once; %d MB may be used", block, allowed // 10**6)
    indices, distances = fusion.best(members, mix, fuse.best, threads=threads, block=block, watch=_watch)
    Ranking(queries, names, indices, distances, made_by).write(ranking)
    _log.info("fuse: wrote %s in %.1f s", ranking, time.monotonic() - started)


def _watch(steps: Iterator[None], total: int) -> Iterator[None]:
    return shown(steps, "fuse: blocks of queries", total)
