"""Scores every member and their fusion, with and without re-ranking, where the truth is known."""

import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naic_reid import lineage
from naic_reid.artifacts import Features, ImageList, JaccardRows, MadeBy, write_json
from naic_reid.config import Ensemble, Fuse, Model, Rerank
from naic_reid.data import truth as truths
from naic_reid.errors import ReidError, listing
from naic_reid.progress import shown
from naic_reid.retrieval import fusion, metrics, parallel, products, protocols, scoring
from naic_reid.retrieval.rerank import jaccard as jaccard_of

REVISION = 1
FUSION = "fusion"
_log = logging.getLogger(__name__)


def run(
    rerank: Rerank,
    models: dict[str, Model],
    ensemble: Ensemble,
    fuse: Fuse,
    *,
    query_list: Path,
    gallery_list: Path,
    others: list[Path],
    other_queries: list[Path],
    query: list[Path],
    gallery: list[Path],
    jaccard: list[Path],
    truth: list[Path],
    scores: Path,
    threads: int = 0,
) -> None:
    """Reads one domain's lists and members, writes where each query's positives stand in every ranking.

    Persons come from `truth` (CSV: subset,name,pid,camid) or, without one, from the lists. `others` are
    the gallery lists of the other domains: positives in them can never be found, and are counted. With
    `other_queries` they are all the images there are: a row of `truth` about any other is a mistake.
    """
    started = time.monotonic()
    queries, galleries = ImageList.read(query_list), ImageList.read(gallery_list)
    known = truths.read(truth[0]) if truth else None
    of_query, _ = _persons("query", queries, [ImageList.read(path) for path in other_queries], known)
    of_gallery, of_others = _persons("gallery", galleries, [ImageList.read(path) for path in others], known)
    asked, searched, rest = protocols.numbered(
        *(_columns(each) for each in (of_query, of_gallery, of_others))
    )
    evaluation = scoring.Evaluation(protocols.PROTOCOLS["naic"], asked, searched)
    elsewhere = protocols.count_of(asked, rest)
    names = [f"{model}/epoch_{epoch}" for model in models for epoch in ensemble.epochs]
    weights = [model.weight for model in models.values() for _ in ensemble.epochs]
    lists = [query_list, gallery_list, *others, *other_queries]
    inputs = [*lists, *query, *gallery, *jaccard, *truth]
    members, records = _members(weights, query, gallery, jaccard, queries, galleries)
    settings = {"rerank": rerank, "ensemble": ensemble, "weights": weights, "fuse": fuse}
    made_by = MadeBy.of("evaluate", REVISION, settings, inputs)
    plain = {name: model.model_dump() for name, model in models.items()}
    lineage.check_members(plain, ensemble.epochs, made_by, records, query, gallery, jaccard)
    _log.info("evaluate: %d members, %d queries, %d gallery images", len(names), len(queries), len(galleries))
    mix = fusion.Mix(rerank.lambda_, rerank.norm, rerank.power)
    fused = None
    if fuse.of == "features" and len(members[0].rows.inverse):
        one, other = fusion.concatenated(members)
        rows = jaccard_of(
            one, other, rerank.k1, rerank.k2, norm=rerank.norm, power=rerank.power,
            count_self=rerank.count_self, threads=threads, memory=products.budget("", "cpu"),
        )  # fmt: skip
        fused = fusion.Member(one, other, rows)
    found = _hits(members, fused, mix, evaluation, threads)
    entries = [
        {"member": name, "reranked": reranked, "scores": metrics.score(hit), "hits": _plain(hit)}
        for (name, reranked), hit in zip(
            [(name, reranked) for name in [*names, FUSION] for reranked in (False, True)], found, strict=True
        )
    ]
    result = {
        "queries": len(queries),
        "gallery": len(galleries),
        "elsewhere": elsewhere.tolist(),
        "entries": entries,
    }
    write_json(scores, "Scores", made_by, result)
    for kind, hit in zip(("plain", "re-ranked"), found[-2:], strict=True):
        told = (f"{name} {100 * metrics.score(hit)[name]:.1f}" for name in ("R1", "mAP", "mINP"))
        _log.info("evaluate: fusion %s: %s", kind, ", ".join(told))
    _log.info("evaluate: wrote %s in %.1f s", scores, time.monotonic() - started)


def _persons(
    subset: str, images: ImageList, others: list[ImageList], known: truths.Truth | None
) -> tuple[list[str], list[str]]:
    """Who is on each image of a list, and of the other lists; an image that nobody knows is an error."""
    rest = [name for other in others for name in other.names]
    if known is None:
        missing = [path for path, person in zip(images.paths, images.identities, strict=True) if not person]
        if missing:
            raise listing(missing, f"the {subset} list names no person for these images; give --truth")
        return list(images.identities), [person for other in others for person in other.identities]
    told = known.of(subset, [*images.names, *rest])
    junk = [f"{known.path}:{person.line}" for person in told if person.junk]
    if junk:
        raise listing(
            junk, "junk (pid -1), which this score has no rule for; take these lines and images out"
        )
    persons = [person.identity for person in told]
    return persons[: len(images)], persons[len(images) :]


def _columns(persons: list[str]) -> protocols.Columns:
    nothing = [""] * len(persons)
    known = [False] * len(persons)
    return protocols.Columns(persons, nothing, known, known, nothing)


def _members(
    weights: list[float],
    query: list[Path],
    gallery: list[Path],
    jaccard: list[Path],
    queries: ImageList,
    galleries: ImageList,
) -> tuple[list[fusion.Member], dict[Path, MadeBy]]:
    """The members, and the records of their files."""
    members = []
    records: dict[Path, MadeBy] = {}
    for weight, one, other, overlap in zip(weights, query, gallery, jaccard, strict=True):
        of_query, of_gallery = Features.read(one), Features.read(other)
        for path, features, images in ((one, of_query, queries), (other, of_gallery, galleries)):
            if features.names not in (images.names, images.paths):
                raise ReidError(f"{path}: its images are not those of the list: extract the features again")
        rows = JaccardRows.read(overlap)
        if rows.similarity.shape != (len(queries), len(galleries)):
            raise ReidError(f"{overlap}: made for {rows.similarity.shape} images: run rerank again")
        members.append(fusion.Member(of_query.values, of_gallery.values, rows, weight))
        records |= {one: of_query.made_by, other: of_gallery.made_by, overlap: rows.made_by}
    return members, records


def _hits(
    members: list[fusion.Member],
    side_by_side: fusion.Member | None,
    mix: fusion.Mix,
    evaluation: scoring.Evaluation,
    threads: int,
) -> list[metrics.Hits]:
    """Hits of each member plain and re-ranked, then of the fusion plain and re-ranked; one product each.

    The fusion is the sum of the members' distances, or the member of their features `side_by_side`.
    """
    num_query, num_gallery = len(members[0].rows.query), len(members[0].rows.gallery)
    mixes = (fusion.PLAIN, mix)

    def of_block(span: tuple[int, int]) -> list[metrics.Hits]:
        start, stop = span

        def measured(distances: NDArray[np.float32]) -> metrics.Hits:
            return evaluation.hits(distances, start)[0]

        shape = (stop - start, num_gallery)
        fused = [np.zeros(shape, np.float32) for _ in mixes]
        found = []
        for member in members:
            cosines = member.cosines(start, stop)
            for which, total in zip(mixes, fused, strict=True):
                alone = np.zeros(shape, np.float32)
                member.add(alone, cosines, which, start)
                found.append(measured(alone))
                total += alone
        if side_by_side is not None:
            cosines = side_by_side.cosines(start, stop)
            for which, total in zip(mixes, fused, strict=True):
                total[:] = 0
                side_by_side.add(total, cosines, which, start)
        return [*found, *map(measured, fused)]

    # Last bits of a product depend on its shape: blocks depend on the gallery only, and not on what is free.
    block = fusion.block_length(num_gallery, 1 << 28, threads=1, arrays=4)
    spans = parallel.spans(num_query, block)
    blocks = list(shown(products.each(of_block, spans, threads), "evaluate: blocks of queries", len(spans)))
    if not blocks:
        return [metrics.Hits.empty() for _ in range(2 * len(members) + 2)]
    return [metrics.Hits.joined(parts) for parts in zip(*blocks, strict=True)]


def _plain(found: metrics.Hits) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in asdict(found).items()}
