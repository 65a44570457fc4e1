"""Protocols of person and vehicle re-identification as values: who meets whom, and what one trial is.

| name | a query never meets | a trial | AP |
|---|---|---|---|
| `naic` | junk | the whole gallery | of hits |
| `market` | junk; images of its identity and its camera | the whole gallery | of hits |
| `market_trapezoid` | as `market` | the whole gallery | trapezoids; queries without a positive: 0 |
| `single_shot` | as `market` | an image of each identity, drawn for each query | of the whole list |
| `vehicleid` | junk | a drawn image of each identity; all others are queries | of hits |
| `groups` | junk | queries of a group, the gallery of a group | of hits |

`single_shot` and `vehicleid` are means of ten draws, `groups` of all pairs of groups that have a person in
common. `market` is that of Market-1501, DukeMTMC-reID, MSMT17, CUHK03-NP, VeRi-776 and VERI-Wild (Zheng
et al. 2015 and the evaluations of torchreid and fast-reid); `market_trapezoid` is layumi's;
`single_shot` CUHK03's first one (Li et al. 2014); `vehicleid` Liu et al. 2016; `groups` the single-shot
comparison on Partial-REID of VPM (Sun et al. 2019). Junk (published −1) is met by nobody. A distractor
(published 0, and whoever no query shows) is always wrong and never left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError
from naic_reid.retrieval.metrics import Ints64, Meetings

DRAWS = 10


@dataclass(frozen=True)
class Protocol:
    """A rule of scoring."""

    name: str
    same_camera: bool
    """Whether a query never meets its identity's images of its own camera."""
    trial: Literal["whole", "single_shot", "split", "groups"] = "whole"
    trapezoid: bool = False
    """Average precision with trapezoids."""
    all_queries: bool = False
    """Whether queries without a positive count, as 0."""

    @property
    def rules(self) -> dict[str, str]:
        """The rule in words, by topic."""
        cameras = (
            "a query never meets images of its identity and its camera"
            if self.same_camera
            else "none: all cameras are equal"
        )
        return {
            "cameras": cameras + "; junk is met by no query, a distractor is always wrong",
            "trial": _TRIALS[self.trial],
            "AP": "mean over hits of the mean of the precision at the hit and just before it (trapezoids)"
            if self.trapezoid
            else "mean over hits of the precision at the hit",
            "denominator": "all queries; one without a positive counts as 0"
            if self.all_queries
            else "queries with at least one positive",
        }


_TRIALS = {
    "whole": "every query against the whole gallery",
    "single_shot": f"R1, R5, R10: for each query one image of each identity is drawn, mean of {DRAWS} draws; "
    "mAP, mINP: the whole gallery",
    "split": f"one image of each identity is the gallery, all others are queries; mean of {DRAWS} draws",
    "groups": "queries of one group against the gallery of one group, one image of each identity; mean over "
    "all pairs of groups that have a person in common",
}

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("naic", same_camera=False),
        Protocol("market", same_camera=True),
        Protocol("market_trapezoid", same_camera=True, trapezoid=True, all_queries=True),
        Protocol("single_shot", same_camera=True, trial="single_shot"),
        Protocol("vehicleid", same_camera=False, trial="split"),
        Protocol("groups", same_camera=False, trial="groups"),
    )
}


def named(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        ReidError: there is none; the message names those there are.
    """
    if name not in PROTOCOLS:
        raise ReidError(f"protocol {name!r} is unknown; there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class Labels:
    """Who is on each image and where it was taken, as numbers that agree between query and gallery [N]."""

    identities: Ints64
    """−1: nobody whom a query could show."""
    cameras: Ints64
    """−1: unknown, and equal to no camera."""
    junk: NDArray[np.bool_]
    groups: Ints64
    """−1: in none."""

    def __len__(self) -> int:
        return len(self.identities)

    def at(self, rows: Ints64) -> "Labels":
        """Those of these rows."""
        return Labels(self.identities[rows], self.cameras[rows], self.junk[rows], self.groups[rows])


class Columns(NamedTuple):
    """What is written about each image of a list, as texts; the empty text where nothing is known."""

    identities: Sequence[str]
    cameras: Sequence[str]
    junk: Sequence[bool]
    distractors: Sequence[bool]
    groups: Sequence[str]

    @classmethod
    def joined(cls, lists: Sequence["Columns"]) -> "Columns":
        """Those of all lists, one after another."""
        return cls(
            [value for columns in lists for value in columns.identities],
            [value for columns in lists for value in columns.cameras],
            [mark for columns in lists for mark in columns.junk],
            [mark for columns in lists for mark in columns.distractors],
            [value for columns in lists for value in columns.groups],
        )


def numbered(*lists: Columns) -> list[Labels]:
    """The labels of lists that are scored together: equal texts become equal numbers."""
    both = Columns.joined(lists)
    identities, cameras, groups = (_numbers(both.identities), _numbers(both.cameras), _numbers(both.groups))
    junk, distractors = np.array(both.junk, np.bool_), np.array(both.distractors, np.bool_)
    identities[junk | distractors] = -1
    whole = Labels(identities, cameras, junk, groups)
    ends = np.cumsum([0, *(len(columns.identities) for columns in lists)])
    return [whole.at(np.arange(start, stop)) for start, stop in pairwise(ends)]


def _numbers(values: Sequence[str]) -> Ints64:
    numbers = {value: number for number, value in enumerate(sorted({*values} - {""}))} | {"": -1}
    return np.array([numbers[value] for value in values], np.int64)


def count_of(query: Labels, images: Labels) -> Ints64:
    """How many of the images show each query's identity [Q]."""
    shown = images.identities[images.identities >= 0]
    counts = np.bincount(shown, minlength=int(query.identities.max(initial=-1)) + 2)
    return np.where(query.identities < 0, 0, counts[query.identities])


def meetings(protocol: Protocol, query: Labels, gallery: Labels) -> Meetings:
    """Who is right for each query, and whom it never meets."""
    order = np.argsort(gallery.identities, kind="stable")
    in_order = gallery.identities[order]
    first, last = (np.searchsorted(in_order, query.identities, side) for side in ("left", "right"))
    count = np.where(query.identities < 0, 0, last - first)
    of = np.repeat(np.arange(len(query)), count)
    steps = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    rows = order[first[of] + steps].astype(np.int32)
    camera = query.cameras[of]
    apart = protocol.same_camera & (camera >= 0) & (camera == gallery.cameras[rows])
    return Meetings(
        rows[~apart],
        _begin(of[~apart], len(query)),
        rows[apart],
        _begin(of[apart], len(query)),
        np.flatnonzero(gallery.junk).astype(np.int32),
    )


def _begin(of: Ints64, num: int) -> Ints64:
    return np.concatenate([[0], np.cumsum(np.bincount(of, minlength=num))]).astype(np.int64)


def require_positives(protocol: Protocol, query: Labels, gallery: Labels, place: str) -> None:
    """Refuse a test set in which no query has a positive.

    Raises:
        ReidError: none has; the message says which rule emptied how many queries.
    """
    found = meetings(protocol, query, gallery)
    if len(query) == 0 or len(found.positives):
        return
    apart = int((np.diff(found.left_begin) > 0).sum())
    absent = len(query) - apart
    causes = [f"the persons of {absent} have no image in the gallery but junk"] if absent else []
    if apart:
        causes.append(f"those of {apart} only images of the query's own camera, which the rule leaves out")
    raise ReidError(
        f"{place}: under the protocol {protocol.name} none of {len(query)} queries has a positive: "
        f"{', and '.join(causes)}; check identities and cameras, or take another protocol"
    )


class Trial(NamedTuple):
    """Which queries are ranked against which gallery rows."""

    queries: Ints64
    gallery: Ints64


def trials(protocol: Protocol, query: Labels, gallery: Labels, seed: int) -> Iterator[Trial]:
    """What is ranked against what, one trial after another; draws depend on the seed alone.

    Raises:
        ReidError: the lists are not those of the protocol.
    """
    if protocol.trial == "split":
        if len(query) != len(gallery) or (query.identities != gallery.identities).any():
            raise ReidError(
                f"protocol {protocol.name}: query and gallery must both be the list of all test images; "
                f"here are {len(query)} and {len(gallery)} images, or others"
            )
        yield from (_split(query.identities, order) for order in orders(len(query), seed))
    elif protocol.trial == "groups":
        members = [
            [np.flatnonzero(labels.groups == number) for number in np.unique(labels.groups) if number >= 0]
            for labels in (query, gallery)
        ]
        if not all(members):
            raise ReidError(f"protocol {protocol.name}: the lists name no groups")
        yield from (Trial(one, other) for one in members[0] for other in members[1])
    else:
        yield Trial(np.arange(len(query)), np.arange(len(gallery)))


def orders(num: int, seed: int) -> list[Ints64]:
    """The draws: orders of the gallery; of an identity the image that comes first is the drawn one."""
    rng = np.random.default_rng([seed, num])
    return [rng.permutation(num) for _ in range(DRAWS)]


def _split(identities: Ints64, order: Ints64) -> Trial:
    known = order[identities[order] >= 0]
    _, first = np.unique(identities[known], return_index=True)
    drawn = np.zeros(len(identities), np.bool_)
    drawn[known[first]] = True
    return Trial(np.flatnonzero(~drawn & (identities >= 0)), np.flatnonzero(drawn))


def averaged(query: Floats, of_query: Labels, more: Floats, of_more: Labels) -> tuple[Floats, int]:
    """Multiple queries: for each query the mean of its identity's unit features from its camera.

    Zheng et al. 2015. A query without such an image keeps its own feature.

    Args:
        query: float32 [Q, D] unit rows.
        of_query: labels of the queries.
        more: float32 [M, D] unit rows of the images to average.
        of_more: labels of these.

    Returns:
        float32 [Q, D], and how many queries kept their own.
    """
    out = np.array(query, np.float32)
    kept = 0
    places: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(of_more.identities.tolist(), of_more.cameras.tolist(), strict=True)):
        places.setdefault(key, []).append(row)
    for q, key in enumerate(zip(of_query.identities.tolist(), of_query.cameras.tolist(), strict=True)):
        rows = places.get(key, []) if key[0] >= 0 else []
        if rows:
            out[q] = np.asarray(more[rows], np.float64).mean(axis=0)
        kept += not rows
    return out, kept
