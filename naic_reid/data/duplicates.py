"""The same image listed more than once: what is kept, and which identities are one person.

Rows are numbered in the order of trust: the most trusted source first, each in its list's order. So
the first row of a group of equal images is the one to keep, ties included.

An image that two sources list under different names shows that the two names mean one person. The
original drops the second record and leaves the names apart, so that their other images teach the
network that a person differs from herself; here the names are united (union-find).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 11  # rows compared with a bucket in one go


class Link(NamedTuple):
    """Two rows of one image under two identities; `first` is the row kept."""

    first: int
    second: int


class Verdict(NamedTuple):
    """What became of groups of equal images.

    `repeats` maps a dropped row to the row kept in its place; `conflicts` maps a dropped row to the
    other identities under which its own source lists the image; `links` join identities.
    """

    repeats: dict[int, int]
    conflicts: dict[int, tuple[str, ...]]
    links: list[Link]


def groups(keys: Mapping[int, str]) -> list[list[int]]:
    """Rows with equal keys, two or more, ascending; groups in the order of their first rows."""
    found: dict[str, list[int]] = {}
    for row in sorted(keys):
        found.setdefault(keys[row], []).append(row)
    return [rows for rows in found.values() if len(rows) > 1]


def judge(found: Iterable[Sequence[int]], identities: Sequence[str]) -> Verdict:
    """What to keep of each group, given each row's identity `source/label`.

    A source that lists one image under two identities contradicts itself: its rows of the group are
    all dropped, and link nothing. Of the rest the first row is kept.
    """
    verdict = Verdict({}, {}, [])
    for rows in found:
        named: dict[str, set[str]] = {}
        for row in rows:
            named.setdefault(_source(identities[row]), set()).add(identities[row])
        sound = []
        for row in rows:
            others = named[_source(identities[row])] - {identities[row]}
            if others:
                verdict.conflicts[row] = tuple(sorted(others))
            else:
                sound.append(row)
        for row in sound[1:]:
            verdict.repeats[row] = sound[0]
            if identities[row] != identities[sound[0]]:
                verdict.links.append(Link(sound[0], row))
    return verdict


def unite(links: Iterable[Link], identities: Sequence[str]) -> dict[str, str]:
    """Identity → the name of the person, for every identity that a link touches.

    The name is the linked identity whose first linked row comes first.
    """
    links = list(links)
    first: dict[str, int] = {}
    for row in sorted(row for link in links for row in link):
        first.setdefault(identities[row], row)
    parent = {identity: identity for identity in first}

    def root(identity: str) -> str:
        while parent[identity] != identity:
            parent[identity] = parent[parent[identity]]
            identity = parent[identity]
        return identity

    for link in links:
        one, other = root(identities[link.first]), root(identities[link.second])
        if first[other] < first[one]:
            one, other = other, one
        parent[other] = one
    return {identity: root(identity) for identity in parent}


def components(united: Mapping[str, str]) -> dict[str, list[str]]:
    """The person's name → all identities that are this person, sorted; largest first, ties by name."""
    found: dict[str, list[str]] = {}
    for identity in sorted(united):
        found.setdefault(united[identity], []).append(identity)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def chain(links: Iterable[Link], identities: Sequence[str], name: str) -> list[Link]:
    """Links that together join all identities of a person, outwards from `name`, none superfluous."""
    touching: dict[str, list[Link]] = {}
    for link in links:
        for row in link:
            touching.setdefault(identities[row], []).append(link)
    reached, pending, used = {name}, [name], []
    while pending:
        for link in touching[pending.pop(0)]:
            for row in link:
                if identities[row] not in reached:
                    reached.add(identities[row])
                    pending.append(identities[row])
                    used.append(link)
    return used


def near(scenes: NDArray[np.uint64], bits: int) -> list[tuple[int, int, int]]:
    """(distance, row, row) of all pairs of 64-bit hashes that differ in at most `bits` bits, sorted.

    Rows of one hash are paired with the first of them only. Hashes that differ in so few bits agree in
    at least one of `bits` + 1 parts (Manku, Jain, Das Sarma 2007: Detecting near-duplicates for web
    crawling, section 3), so that only rows which agree in a part are compared.
    """
    values, first, member = np.unique(scenes, return_index=True, return_inverse=True)
    same = [(0, int(first[at]), row) for row, at in enumerate(member.tolist()) if first[at] != row]
    edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
    found: set[tuple[int, int, int]] = set()
    for low, high in pairwise(edges):
        part = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(part, kind="stable")
        starts = np.flatnonzero(np.diff(part[order])) + 1
        for bucket in np.split(order, starts):
            found |= _near_in(values, first, bucket, bits)
    return sorted([*same, *found])


def _near_in(
    values: NDArray[np.uint64], first: NDArray[np.intp], bucket: NDArray[np.intp], bits: int
) -> set[tuple[int, int, int]]:
    found = set()
    for start in range(0, len(bucket) - 1, _BLOCK):
        block = bucket[start : start + _BLOCK]
        distance = np.bitwise_count(values[block][:, None] ^ values[bucket][None, :])
        for one, other in zip(*np.nonzero(distance <= bits), strict=True):
            if start + one < other:
                a, b = sorted((int(first[block[one]]), int(first[bucket[other]])))
                found.add((int(distance[one, other]), a, b))
    return found


def _source(identity: str) -> str:
    return identity.partition("/")[0]
