"""What is wrong with training images, or worth knowing of them, as tables: for `inspect` and for the report.

Repeats are judged as the step `dedupe` judges them, here of all sources.
"""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from naic_reid.data import duplicates
from naic_reid.data.crops import Part
from naic_reid.data.duplicates import Verdict
from naic_reid.data.images import Look
from naic_reid.data.records import Records
from naic_reid.pages.sections import Picture, Section

FIRST = 20  # problems, sizes and the like that are shown
SMALL = 48  # pixels; images with a shorter side are listed
_UNSIZED = "not known: they were collected by an older version"
_BUCKETS = (1, 2, 4, 8, 16, 32, 64)  # upper ends of the histogram of images per identity
STRIPS = 6


@dataclass
class Listed:
    """Training images as lists name them: rows are lines, most trusted source first."""

    folder: Path
    """Paths are relative to it."""
    sources: Sequence[str]
    paths: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """`list:line` of each row."""
    looks: dict[str, Look] = field(default_factory=dict)
    """What each path's file is; other images may be among them."""
    wrong: AbstractSet[int] = frozenset()
    """Rows whose label is known to be wrong."""

    @classmethod
    def of(cls, folder: Path, records: Records, wrong: AbstractSet[tuple[str, str, int]]) -> Self:
        """As the step `collect` found them; `wrong` are path, identity and line."""
        rows = list(zip(records.paths, records.identities, records.lines, strict=True))
        places = [f"{identity.partition('/')[0]}:{line}" for _, identity, line in rows]
        looks = {
            path: Look(bytes.fromhex(digest), bytes.fromhex(pixels), *_sides(size), fault=fault)
            for path, digest, pixels, size, fault in zip(
                records.paths, records.digests, records.pixels, records.sizes, records.faults, strict=True
            )
        }
        known = {at for at, row in enumerate(rows) if row in wrong}
        sources = list(dict.fromkeys(records.sources))
        return cls(folder, sources, list(records.paths), list(records.identities), places, looks, known)

    def look(self, row: int) -> Look:
        """What a row's file is."""
        return self.looks[self.paths[row]]

    def picture(self, row: int) -> Picture:
        """A row's image, with who it is and where it is listed."""
        return self.picture_of(self.paths[row], f"{self.identities[row]} {self.places[row]}")

    def picture_of(self, path: str, caption: str) -> Picture:
        """A file's image as it was looked at; one that has changed since cannot be shown."""
        return Picture(Part(self.folder / path, self.looks[path].digest.hex()), caption)

    @property
    def unsized(self) -> bool:
        """Whether sizes were not written down, as by an older version."""
        sound = [one for one in self.looks.values() if not one.fault]
        return bool(sound) and not any(one.height for one in sound)

    @cached_property
    def usable(self) -> list[int]:
        """Rows of sound images whose label is not known to be wrong."""
        return [row for row in range(len(self.paths)) if not self.look(row).fault and row not in self.wrong]

    @cached_property
    def rows(self) -> list[int]:
        """The usable rows, each line once."""
        first: dict[tuple[str, str], int] = {}
        for row in self.usable:
            first.setdefault((self.paths[row], self.identities[row]), row)
        return list(first.values())

    @cached_property
    def verdict(self) -> Verdict:
        """What is repeated, contradicts itself or is one person, by pixels or, where unknown, by bytes."""
        keys = {row: (self.look(row).pixels or self.look(row).digest).hex() for row in self.rows}
        return duplicates.judge(duplicates.groups(keys), self.identities)


def sections(listed: Listed) -> list[Section]:
    """All of it."""
    return [
        _histogram(listed),
        _sizes(listed),
        _unusable(listed),
        _repeats(listed),
        _conflicts(listed),
        _united(listed),
    ]


def _sides(size: str) -> tuple[int, int]:
    height, width = map(int, size.split(" ")) if size else (0, 0)
    return height, width


def _histogram(listed: Listed) -> Section:
    """Identities by their number of images: a column for each source."""
    found = {source: [0] * (len(_BUCKETS) + 1) for source in listed.sources}
    per_person = Counter(listed.identities[row] for row in listed.rows)
    for identity, num in per_person.items():
        found[identity.partition("/")[0]][int(np.searchsorted(_BUCKETS, num))] += 1
    lows = [1, *(end + 1 for end in _BUCKETS)]
    labels = [str(low) if low == end else f"{low}–{end}" for low, end in zip(lows, _BUCKETS, strict=False)]
    labels.append(f"over {_BUCKETS[-1]}")
    table = [(label, *(counts[at] for counts in found.values())) for at, label in enumerate(labels)]
    last = max((at for at, row in enumerate(table) if any(row[1:])), default=0)
    return Section("Identities by number of images", ("images", *found), table[: last + 1])


def _sizes(listed: Listed) -> Section:
    sizes = Counter((one.height, one.width) for one in listed.looks.values() if one.height and not one.fault)
    rows = [
        (f"{h} × {w}", num) for (h, w), num in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ]
    note = f"{len(sizes):,} sizes in all" if len(sizes) > FIRST else ""
    if listed.unsized:
        note = _UNSIZED
    return Section("Image sizes (height × width), commonest first", ("size", "images"), rows[:FIRST], note)


def _unusable(listed: Listed) -> Section:
    found = [
        (path, one)
        for path, one in listed.looks.items()
        if one.fault or (one.height and min(one.height, one.width) < SMALL)
    ]
    found.sort(key=lambda item: (not item[1].fault, min(item[1].height, item[1].width), item[0]))
    rows = [(path, one.fault or f"{one.height} × {one.width} pixels") for path, one in found[:FIRST]]
    note = f"{len(found):,} in all" if len(found) > FIRST else "" if found else "none"
    if listed.unsized:
        note = f"{note or 'unusable ones alone'}; sizes are {_UNSIZED}"
    strip = [listed.picture_of(path, path) for path, one in found[:FIRST] if not one.fault]
    title = f"Unusable images, and those with a side under {SMALL} pixels"
    return Section(title, ("image", "what"), rows, note, [strip] if strip else [])


def _repeats(listed: Listed) -> Section:
    """Images listed again: by the source that keeps them and the source that repeats them."""
    kinds: dict[tuple[str, str], list[int]] = {}
    repeats = listed.verdict.repeats
    for row, first in repeats.items():
        same = listed.look(row).digest == listed.look(first).digest
        pair = (_source(listed.identities, first), _source(listed.identities, row))
        kinds.setdefault(pair, [0, 0])[0 if same else 1] += 1
    strips = [[listed.picture(first), listed.picture(row)] for row, first in islice(repeats.items(), STRIPS)]
    lines = len(listed.usable) - len(listed.rows)
    note = f"lines that repeat another: {lines:,}; known to be wrong: {len(listed.wrong):,}"
    rows = [(*pair, *counts) for pair, counts in sorted(kinds.items())]
    header = ("kept from", "repeated by", "same bytes", "same pixels")
    return Section("Repeated images", header, rows, note, strips)


def _conflicts(listed: Listed) -> Section:
    conflicts = listed.verdict.conflicts
    rows = sorted(conflicts)
    table = [
        (listed.places[row], listed.paths[row], listed.identities[row], ", ".join(conflicts[row]))
        for row in rows[:FIRST]
    ]
    note = f"{len(rows):,} lines in all" if len(rows) > FIRST else "" if rows else "none"
    strips = [[listed.picture(row) for row in rows[:FIRST]]] if rows else []
    header = ("line", "image", "identity", "also")
    return Section("Images under two identities of one source: both are dropped", header, table, note, strips)


def _united(listed: Listed) -> Section:
    """Who is one person because an image is shared; the largest with its images and its chain of links."""
    title = "Identities that share an image and become one person"
    verdict = listed.verdict
    people = duplicates.components(duplicates.unite(verdict.links, listed.identities))
    if not people:
        return Section(title, note="none")
    persons: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for members in people.values():
        kind = " + ".join(sorted({member.partition("/")[0] for member in members}))
        persons[kind] += 1
        joined[kind] += len(members)
    name, members = next(iter(people.items()))
    links = duplicates.chain(verdict.links, listed.identities, name)
    strips = [[listed.picture(link.first), listed.picture(link.second)] for link in links[:FIRST]]
    left = set(range(len(listed.paths))) - verdict.repeats.keys() - verdict.conflicts.keys()
    strips += [
        [listed.picture(row) for row in sorted(left) if listed.identities[row] == member][:FIRST]
        for member in members[:FIRST]
    ]
    rows = [(kind, num, joined[kind]) for kind, num in persons.most_common()]
    note = f"the largest person is {name}: {', '.join(members[:FIRST])}"
    strips = [strip for strip in strips if strip]
    return Section(title, ("sources", "persons", "identities joined"), rows, note, strips)


def _source(identities: Sequence[str], row: int) -> str:
    return identities[row].partition("/")[0]
