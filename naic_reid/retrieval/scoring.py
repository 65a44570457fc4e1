"""Scores of a ranking under a protocol, from blocks of distances of any kind."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from naic_reid.artifacts import Floats
from naic_reid.retrieval import metrics, parallel, protocols
from naic_reid.retrieval.metrics import Hits, Ints64
from naic_reid.retrieval.protocols import Labels, Protocol

BLOCK = 256  # queries in a block of a matrix of distances


class Evaluation:
    """Who meets whom in every trial of a protocol; turns blocks of distances into hits, and hits into scores.

    Args:
        protocol: the rule.
        query: labels of the queries.
        gallery: labels of the gallery.
        seed: of the protocol's draws.
    """

    def __init__(self, protocol: Protocol, query: Labels, gallery: Labels, seed: int = 0):
        self.protocol = protocol
        self.trials = list(protocols.trials(protocol, query, gallery, seed))
        self.meetings = [
            protocols.meetings(protocol, query.at(queries), gallery.at(rows)) for queries, rows in self.trials
        ]
        one_list = protocol.trial == "split"
        self.pairs = protocols.meetings(protocol, query, gallery, one_list=one_list)
        self.orders = (
            protocols.orders(len(gallery), seed) if protocol.trial == "single_shot" else list[Ints64]()
        )
        own = len(gallery) + np.arange(len(gallery))  # a distractor is a person of its own
        persons = np.where(gallery.identities < 0, own, gallery.identities)
        self.persons = np.unique(persons, return_inverse=True)[1]

    def hits(self, distances: Floats, start: int) -> list[Hits]:
        """Of every trial, the hits of a block [B, G] of queries `start` …, as far as they take part."""
        stop = start + len(distances)
        found = []
        for (queries, rows), meetings in zip(self.trials, self.meetings, strict=True):
            first, last = np.searchsorted(queries, (start, stop))
            chosen = distances
            if last - first < len(distances) or len(rows) < distances.shape[1]:
                chosen = distances[np.ix_(queries[first:last] - start, rows)]
            found.append(metrics.hits(chosen, meetings.of(int(first), int(last))))
        mine = self.pairs.of(start, stop)
        drawn = [metrics.drawn_first(distances, mine, self.persons, order) for order in self.orders]
        return [replace(found[0], first=first) for first in drawn] or found

    def score(self, blocks: Sequence[list[Hits]], elsewhere: Ints64 | None = None) -> dict[str, Any]:
        """The scores, means over the trials; with more than one also their deviations.

        Args:
            blocks: hits of the trials for consecutive blocks of queries.
            elsewhere: see `metrics.score`; for protocols whose only trial is the whole gallery.
        """
        trials = [Hits.joined(parts) for parts in zip(*blocks, strict=True)] or [Hits.empty()]
        kind = {"trapezoid": self.protocol.trapezoid, "all_queries": self.protocol.all_queries}
        each = [metrics.score(found, elsewhere, **kind) for found in trials]
        scores: dict[str, Any] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        scores["queries"] = round(scores["queries"])
        if len(each) > 1:
            names = [name for name in each[0] if name != "queries"]
            scores["deviation"] = {name: float(np.std([one[name] for one in each], ddof=1)) for name in names}
            scores["trials"] = len(each)
        return scores


def of_distances(
    distances: Floats,
    query: Labels,
    gallery: Labels,
    protocol: Protocol,
    *,
    seed: int = 0,
    rates: bool = True,
    threads: int = 0,
) -> dict[str, Any]:
    """CMC, mAP and mINP of a whole matrix of distances, and with `rates` the TPR at small FPR.

    Args:
        distances: float32 [Q, G], smaller is nearer; equal ones rank by index.
        query: labels of the queries.
        gallery: labels of the gallery.
        protocol: the rule.
        seed: of the protocol's draws.
        rates: also `metrics.Roc.rates`; takes longer, and a copy of a block for each thread.
        threads: 0 means all processors.
    """
    evaluation = Evaluation(protocol, query, gallery, seed)
    pairs = evaluation.pairs
    of = np.repeat(np.arange(len(query)), np.diff(pairs.begin))
    roc = metrics.Roc(distances[of, pairs.positives], pairs.num_different(len(gallery)))

    def block(span: tuple[int, int]) -> list[Hits]:
        rows = distances[slice(*span)]
        if rates:
            different = rows.copy()
            metrics.hide_all_but_different(different, pairs.of(*span))
            roc.add(different)
        return evaluation.hits(rows, span[0])

    found = parallel.each(block, parallel.spans(len(query), BLOCK), threads)
    return evaluation.score(found) | (roc.rates() if rates else {})
