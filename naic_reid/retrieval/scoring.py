"""Scores from two arrays of features and who is on them, for people who want only numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval import distances, metrics, protocols, vectors
from naic_reid.retrieval.best import block_length
from naic_reid.retrieval.distances import PLAIN, Member, Mix
from naic_reid.retrieval.evaluation import Evaluation
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.metrics import Hits, Ints64, Roc
from naic_reid.retrieval.protocols import Columns
from naic_reid.retrieval.rerank import Reranking

JUNK = "-1"
_BLOCK = 512  # queries that meet a piece of the gallery in one product


def score(
    query: Floats,
    gallery: Floats,
    query_identities: Sequence[Any],
    gallery_identities: Sequence[Any],
    query_cameras: Sequence[Any] | None = None,
    gallery_cameras: Sequence[Any] | None = None,
    *,
    protocol: str = "market",
    reranked: bool = False,
    k1: int = 20,
    k2: int = 6,
    lambda_: float = 0.3,
    method: str = "k_reciprocal",
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    memory: str = "",
) -> dict[str, Any]:
    """R1, R5, R10, mAP, mINP and TPR at small FPR, as fractions, under a protocol of the field.

    Distances are 1 − cos; equal ones rank by index. Memory beyond the features does not grow with the number
    of queries, and without re-ranking hardly with that of the gallery.

    Args:
        query: float32 [Q, D], any length of rows; may be mapped from a file (`numpy.load(mmap_mode="r")`).
        gallery: float32 [G, D].
        query_identities: [Q] who is on each image, numbers or texts.
        gallery_identities: [G]; −1 is junk, which no query meets.
        query_cameras: [Q], numbers or texts, empty texts where unknown; None: all unknown.
        gallery_cameras: [G].
        protocol: one of `protocols.PROTOCOLS`, whose module says what each means.
        reranked: by re-ranking, see `rerank.rank`; junk takes no part in it.
        k1: of re-ranking.
        k2: of re-ranking.
        lambda_: of re-ranking.
        method: of re-ranking: k_reciprocal or graph.
        seed: of a protocol's draws.
        device: "cpu", "cuda" or "auto".
        threads: 0 means all processors.
        memory: such as "6GB", for re-ranking; by default half of what is free.

    Returns:
        scores by name, `queries` (how many were valid) and, where a protocol has several trials, their
        number and the `deviation` of each score.

    Raises:
        ReidError: arrays and labels do not fit each other, a row is zero or not finite, the protocol is
            unknown, or no query has a positive under it.
    """
    rule = protocols.named(protocol)
    of_query, of_gallery = protocols.numbered(
        _columns("query", query, query_identities, query_cameras),
        _columns("gallery", gallery, gallery_identities, gallery_cameras),
    )
    if rule.trial != "split" and of_gallery.junk.any():
        kept = np.flatnonzero(~of_gallery.junk)
        gallery, of_gallery = gallery[kept], of_gallery.at(kept)
    protocols.require_positives(rule, of_query, of_gallery, "query and gallery")
    device = vectors.choose(device)
    evaluation = Evaluation(rule, of_query, of_gallery, seed)
    if not reranked and rule.trial == "whole":
        return _by_pieces(Member(query, gallery, device=device), evaluation, threads)
    how = Reranking(k1, k2, lambda_, method)
    if not reranked:
        return _by_rows(Member(query, gallery, device=device), PLAIN, evaluation, threads)
    rows = how.of_features(query, gallery, device=device, threads=threads, memory=budget(memory, device))
    member, mix = Member(query, gallery, rows, device=device), how.mix
    return _by_rows(member, mix, evaluation, threads)


def _columns(
    role: str, features: Floats, identities: Sequence[Any], cameras: Sequence[Any] | None
) -> Columns:
    num = len(features)
    persons = [str(identity) for identity in identities]
    places = [""] * num if cameras is None else [str(camera) for camera in cameras]
    for what, values in (("identities", persons), ("cameras", places)):
        if len(values) != num:
            raise ReidError(f"{role}: {num} rows of features, but {len(values)} {what}: give one a row")
    junk = [person == JUNK for person in persons]
    return Columns(persons, places, junk, [False] * num, [""] * num)


def _roc(member: Member, mix: Mix, evaluation: Evaluation, same: Floats) -> Roc | None:
    different = evaluation.pairs.num_different(member.vectors.num_gallery)
    if not evaluation.whole or different > metrics.MOST_PAIRS:
        return None
    return Roc(same, different)


def _by_pieces(member: Member, evaluation: Evaluation, threads: int) -> dict[str, Any]:
    """Positives are measured; against them each tile of the product is counted while it is at hand."""
    features, pairs = member.vectors, evaluation.pairs
    same = distances.measured_pairs([member], PLAIN, pairs.positives, pairs.begin, threads=threads)
    roc = _roc(member, PLAIN, evaluation, same)

    def of_block(start: int, stop: int) -> list[Hits]:
        mine, first = pairs.of(start, stop), int(pairs.begin[start])
        mine_same = same[first : first + len(mine.positives)]
        nearer: Ints64 = np.zeros(len(mine.positives), np.int64)
        unit = features.unit(start, stop).neg_()
        for at, end in features.spans:
            tile = (features.products(unit, at, end).add_(1)).cpu().numpy()
            nearer += metrics.count(tile, at, mine_same, mine)
            if roc is not None:
                roc.add(tile)
        return [metrics.hits(nearer, mine)]

    blocks = list(distances.each_block(of_block, features.num_query, threads=threads, block=_BLOCK))
    return evaluation.score(blocks) | (roc.rates() if roc else {})


def _by_rows(member: Member, mix: Mix, evaluation: Evaluation, threads: int) -> dict[str, Any]:
    """Whole rows of distances, a block of queries at a time."""
    pairs = evaluation.pairs
    same = distances.measured_pairs([member], mix, pairs.positives, pairs.begin, threads=threads)
    roc = _roc(member, mix, evaluation, same)

    def of_block(start: int, stop: int) -> list[Hits]:
        total = distances.summed([member], mix, start, stop)
        return evaluation.hits(total.cpu().numpy(), start, roc)

    block = block_length(member.vectors.num_gallery, 1 << 27, threads=threads)
    found = list(distances.each_block(of_block, member.vectors.num_query, threads=threads, block=block))
    return evaluation.score(found) | (roc.rates() if roc else {})
