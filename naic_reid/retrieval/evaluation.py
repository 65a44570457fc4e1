"""Hits and scores of a ranking under a protocol, from blocks of distances of any kind."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from naic_reid.artifacts import NOT_MET, RIGHT, WRONG, Floats, Ints
from naic_reid.errors import ReidError
from naic_reid.retrieval import metrics, parallel, protocols
from naic_reid.retrieval.metrics import Doubles, Histogram, Hits, Ints64, Roc
from naic_reid.retrieval.protocols import Labels, Protocol

BLOCK = 256  # queries in a block of a matrix of distances


class Head(NamedTuple):
    """The first N of the gallery for B queries."""

    indices: Ints
    """[B, N]"""
    distances: Floats
    """[B, N], never decreasing."""
    marks: NDArray[np.int8]
    """[B, N] `RIGHT`, `WRONG` or `NOT_MET`."""


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
        self.pairs = protocols.meetings(protocol, query, gallery)
        self.orders = (
            protocols.orders(len(gallery), seed) if protocol.trial == "single_shot" else list[Ints64]()
        )
        self.whole = protocol.trial in ("whole", "single_shot")
        """Whether every query meets the whole gallery, so that all pairs can be asked for their rates."""
        self.num_different = self.pairs.num_different(len(gallery))
        self.rated = self.whole and self.num_different <= metrics.MOST_PAIRS
        """Whether rates are told of rankings that are made a block at a time: not of too many pairs."""
        self.single = len(self.trials) == 1 and not self.orders
        self.draws = [order.tolist() for order in self.orders]
        """What was drawn, a list a trial: the order of the gallery, or the images that are the gallery."""
        if protocol.trial == "split":
            self.draws = [trial.gallery.tolist() for trial in self.trials]
        own = len(gallery) + np.arange(len(gallery))  # a distractor is a person of its own
        persons = np.where(gallery.identities < 0, own, gallery.identities)
        self.persons = np.unique(persons, return_inverse=True)[1]

    def hits(
        self, distances: Floats, start: int, roc: Roc | None = None, histogram: Histogram | None = None
    ) -> list[Hits]:
        """Of every trial, the hits of a block [B, G] of queries `start` …, as far as they take part.

        The block is changed: see `metrics.count`. `roc` is passed its pairs of different persons, and
        `histogram` all pairs.
        """
        stop = start + len(distances)
        found = []
        mine = self.pairs.of(start, stop)
        of_one = metrics.positives_of(distances, mine)
        drawn = [metrics.drawn_first(distances, mine, self.persons, order) for order in self.orders]
        for (queries, rows), meetings in zip(self.trials, self.meetings, strict=True):
            first, last = (int(at) for at in np.searchsorted(queries, (start, stop)))
            chosen = distances
            if not self.whole:
                chosen = distances[np.ix_(queries[first:last] - start, rows)]
            of_trial = meetings.of(first, last)
            same = metrics.positives_of(chosen, of_trial)
            found.append(metrics.hits(metrics.count(chosen, 0, same, of_trial), of_trial))
        if roc is not None:
            roc.add(distances)
        if histogram is not None:
            histogram.add(of_one, distances)
        return [replace(found[0], first=first) for first in drawn] or found

    def head(self, distances: Floats, start: int, num: int) -> Head:
        """The first `num` of a block [B, G] of queries `start` …, equal distances by index, with marks."""
        num = min(num, distances.shape[1])
        found = Head(*(np.zeros((len(distances), num), kind) for kind in (np.int32, np.float32, np.int8)))
        metrics.first(distances, found.indices)
        found.distances[:] = np.take_along_axis(distances, found.indices, axis=1)
        for row, best in enumerate(found.indices):
            mine = self.pairs.of(start + row, start + row + 1)
            found.marks[row] = np.where(np.isin(best, mine.positives), RIGHT, WRONG)
            found.marks[row][np.isin(best, mine.left_out) | np.isin(best, mine.junk)] = NOT_MET
        return found

    def score(self, blocks: Sequence[list[Hits]]) -> dict[str, Any]:
        """The scores by the hits of the trials for consecutive blocks of queries.

        They are means over the trials in which a query counts; with more than one also their deviations are
        told.
        """
        trials = [Hits.joined(parts) for parts in zip(*blocks, strict=True)] or [Hits.empty()]
        rule = self.protocol
        each = [
            metrics.score(found, trapezoid=rule.trapezoid, all_queries=rule.all_queries) for found in trials
        ]
        each = [one for one in each if one["queries"]] or each[:1]
        scores: dict[str, Any] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        scores["queries"] = round(scores["queries"])
        if len(each) > 1:
            names = [name for name in each[0] if name != "queries"]
            scores["deviation"] = {name: float(np.std([one[name] for one in each], ddof=1)) for name in names}
            scores["trials"] = len(each)
        return scores

    def each(self, blocks: Sequence[list[Hits]]) -> dict[str, Doubles]:
        """Every query's own scores [Q], summed over the trials in which it was `counted`, so many times."""
        rule, num = self.protocol, len(self.pairs.begin) - 1
        sums = {name: np.zeros(num) for name in metrics.each(Hits.empty())}
        for number, parts in enumerate(zip(*blocks, strict=True)):
            queries = self.trials[min(number, len(self.trials) - 1)].queries
            own = metrics.each(Hits.joined(parts), trapezoid=rule.trapezoid, all_queries=rule.all_queries)
            for name, values in own.items():
                sums[name][queries] += values
        return sums


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
        rates: also `metrics.Roc.rates`, of protocols whose trial is the whole gallery.
        threads: 0 means all processors.

    Raises:
        ReidError: a distance is not finite.
    """
    evaluation = Evaluation(protocol, query, gallery, seed)
    roc = None
    if rates and evaluation.whole:
        same = metrics.positives_of(distances, evaluation.pairs)
        roc = Roc(same, evaluation.num_different)

    def block(start: int, stop: int) -> list[Hits]:
        part = distances[start:stop].copy()
        if part.size and not np.isfinite([part.min(), part.max()]).all():  # which a NaN passes through
            row, column = np.argwhere(~np.isfinite(part))[0].tolist()
            raise ReidError(f"distances: that of query {start + row} and gallery {column} (from 0) is "
                            f"{part[row, column]}: give finite ones")  # fmt: skip
        return evaluation.hits(part, start, roc)

    found = parallel.pieces(block, (), (0, len(query)), BLOCK, threads)
    return evaluation.score(found) | (roc.rates() if roc else {})
