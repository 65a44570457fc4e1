"""Scores from features or distances and who is on the images, for people who want only numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval import distances, exact, metrics, protocols, vectors
from naic_reid.retrieval.best import block_length
from naic_reid.retrieval.distances import PLAIN, Member, Mix
from naic_reid.retrieval.evaluation import Evaluation, of_distances
from naic_reid.retrieval.memory import budget
from naic_reid.retrieval.metrics import Hits, Ints64, Roc
from naic_reid.retrieval.protocols import Columns, Labels, Protocol
from naic_reid.retrieval.rerank import Reranking

JUNK = "-1"
_BLOCK = 512  # queries that meet a piece of the gallery in one product
_TIED = 2.0**-18
"""Distances as near to a positive's are measured as it was, so that equal ones are equal.

A product errs by some 1e-7; by its bound, 2e-4, all that a poor network has seen would be as near."""


def score(
    query: Floats,
    gallery: Floats,
    query_identities: Sequence[Any],
    gallery_identities: Sequence[Any],
    query_cameras: Sequence[Any] | None = None,
    gallery_cameras: Sequence[Any] | None = None,
    *,
    protocol: str = "market",
    rerank: Reranking | None = None,
    regions: int = 0,
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
        query_identities: [Q] who is on each image, numbers or texts; 7, 7.0 and "7" are one.
        gallery_identities: [G]; −1 is junk, which no query meets.
        query_cameras: [Q], likewise; None, NaN or an empty text where one is unknown. None: all unknown.
        gallery_cameras: [G].
        protocol: one of `protocols.PROTOCOLS`, whose module says what each means.
        rerank: by re-ranked distances, in which junk takes no part; Market's custom: `Reranking(20, 6, 0.3)`.
        regions: how many numbers at the end of each row are masses of visible regions (`Features.regions`).
        seed: of a protocol's draws.
        device: "cpu", "cuda" or "auto".
        threads: 0 means all processors.
        memory: such as "6GB", for re-ranking; by default half of what is free.

    Returns:
        scores by name, `queries` (how many were valid); of several trials their number and `deviation`.

    Raises:
        ReidError: arrays and labels do not fit each other, a row is zero or not finite, the protocol is
            unknown, no query has a positive under it, or `memory` is given without `rerank`.
    """
    if memory and rerank is None:
        raise ReidError(f"memory {memory}: only re-ranking asks how much: leave it out, or give rerank")
    rule = protocols.named(protocol)
    query, gallery = exact.floats(query, "query"), exact.floats(gallery, "gallery")
    asked = _columns("query", len(query), query_identities, query_cameras)
    searched = _columns("gallery", len(gallery), gallery_identities, gallery_cameras)
    of_query, of_gallery = protocols.numbered(asked, searched)
    gallery, of_gallery = _met(rule, rerank, gallery, of_gallery)
    protocols.require_positives(rule, of_query, of_gallery, "query and gallery")
    how: dict[str, Any] = {"regions": regions, "device": vectors.choose(device)}
    evaluation = Evaluation(rule, of_query, of_gallery, seed)
    if rerank is None and rule.trial == "whole":
        return _by_pieces(Member(query, gallery, **how), evaluation, threads)
    rows = rerank and rerank.of_features(
        query, gallery, threads=threads, memory=budget(memory, how["device"]), **how
    )
    return _by_rows(Member(query, gallery, rows, **how), rerank.mix if rerank else PLAIN, evaluation, threads)


def score_distances(
    distances: Floats,
    query_identities: Sequence[Any],
    gallery_identities: Sequence[Any],
    query_cameras: Sequence[Any] | None = None,
    gallery_cameras: Sequence[Any] | None = None,
    *,
    protocol: str = "",
    seed: int = 0,
    rates: bool = False,
    threads: int = 0,
) -> dict[str, Any]:
    """As `score`, of a matrix of distances.

    Args:
        distances: float32 [Q, G], smaller is nearer; equal ones rank by index.
        query_identities: as for `score`; so the next three.
        gallery_identities: as for `score`.
        query_cameras: as for `score`.
        gallery_cameras: as for `score`.
        protocol: as for `score`; "": market with cameras, naic without.
        seed: of a protocol's draws.
        rates: also TPR at small FPR of all pairs; takes longer.
        threads: 0 means all processors.

    Returns:
        As `score`.

    Raises:
        ReidError: distances and labels do not fit each other, or one is not finite; no such protocol; no
            query has a positive.

    >>> import numpy as np
    >>> distances = np.array([[0.1, 0.2, 0.3], [0.5, 0.4, 0.9]], np.float32)
    >>> scores = score_distances(distances, ["ann", "bob"], ["bob", "ann", "ann"])
    >>> scores["R1"], round(scores["mAP"], 4)
    (0.0, 0.5417)
    """
    if (query_cameras is None) != (gallery_cameras is None):
        raise ReidError("score_distances: give cameras of both queries and gallery, or of neither")
    rule = protocols.named(protocol or ("naic" if query_cameras is None else "market"))
    distances = np.ascontiguousarray(distances, np.float32)
    if distances.ndim != 2:
        raise ReidError(f"score_distances: must be [queries, gallery images], not {list(distances.shape)}")
    num_query, num_gallery = distances.shape
    of_query, of_gallery = protocols.numbered(
        _columns("query", num_query, query_identities, query_cameras),
        _columns("gallery", num_gallery, gallery_identities, gallery_cameras),
    )
    protocols.require_positives(rule, of_query, of_gallery, "score_distances")
    return of_distances(distances, of_query, of_gallery, rule, seed=seed, rates=rates, threads=threads)


def _columns(role: str, num: int, identities: Sequence[Any], cameras: Sequence[Any] | None) -> Columns:
    persons = [_text(identity) for identity in identities]
    places = [""] * num if cameras is None else [_text(camera) for camera in cameras]
    for what, values in (("identities", persons), ("cameras", places)):
        if len(values) != num:
            raise ReidError(f"{role}: {num} images, but {len(values)} {what}: give one for each")
    if "" in persons:
        raise ReidError(f"{role}: image {persons.index('')} (from 0) has no identity: write {JUNK} for junk")
    junk = [person == JUNK for person in persons]
    return Columns(persons, places, junk, [False] * num, [""] * num)


def _text(value: Any) -> str:
    """A label as a text: of a whole number its digits, whatever its type; of None and NaN nothing."""
    if value is None or value != value:
        return ""
    return str(int(value) if isinstance(value, float | np.floating) and value == value // 1 else value)


def _met(rule: Protocol, rerank: Reranking | None, gallery: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """The gallery without junk, where that would have a part in more than counting, which passes it by."""
    counted = rule.trial == "split" or (rule.trial == "whole" and rerank is None)
    if counted or not labels.junk.any():
        return gallery, labels
    kept = np.flatnonzero(~labels.junk)
    return gallery[kept], labels.at(kept)


def _by_pieces(member: Member, evaluation: Evaluation, threads: int) -> dict[str, Any]:
    """Plain distances: positives, and what is tied with them, are measured; all else is a product's tile."""
    features, pairs = member.vectors, evaluation.pairs
    same = distances.measured_pairs([member], PLAIN, pairs.positives, pairs.begin, threads=threads)
    roc = Roc(same, evaluation.num_different) if evaluation.rated else None

    def of_block(start: int, stop: int) -> list[Hits]:
        mine, first = pairs.of(start, stop), int(pairs.begin[start])
        mine_same = same[first : first + len(mine.positives)]
        nearer: Ints64 = np.zeros(len(mine.positives), np.int64)
        unit = features.unit(start, stop)
        unit[:, : features.dimension - features.regions].neg_()  # once here, not each tile; masses stay
        for at, end in features.spans:
            tile = features.products(unit, at, end).add_(1).cpu().numpy()
            queries, rows = metrics.near_positives(tile, at, mine_same, mine, _TIED)
            tile[queries, rows] = features.measured_distances(queries + start, rows + at)
            nearer += metrics.count(tile, at, mine_same, mine)
            if roc is not None:
                roc.add(tile)
        return [metrics.hits(nearer, mine)]

    blocks = list(distances.each_block(of_block, features.num_query, threads=threads, block=_BLOCK))
    return evaluation.score(blocks) | (roc.rates() if roc else {})


def _by_rows(member: Member, mix: Mix, evaluation: Evaluation, threads: int) -> dict[str, Any]:
    """Whole rows of distances, a block of queries at a time."""
    roc, pairs = None, evaluation.pairs
    if evaluation.rated:
        same = distances.measured_pairs([member], mix, pairs.positives, pairs.begin, threads=threads)
        roc = Roc(same, evaluation.num_different)

    def of_block(start: int, stop: int) -> list[Hits]:
        total = distances.summed([member], mix, start, stop)
        return evaluation.hits(total.cpu().numpy(), start, roc)

    # Last bits of a product depend on its shape: not on how many threads there are.
    block = block_length(member.vectors.num_gallery, 1 << 26, threads=1)
    found = list(distances.each_block(of_block, member.vectors.num_query, threads=threads, block=block))
    return evaluation.score(found) | (roc.rates() if roc else {})
