"""Images by path, and whom they show."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from naic_reid.artifacts.checks import built, hold
from naic_reid.artifacts.made_by import MadeBy
from naic_reid.artifacts.tables import read_table, write_table

JUNK, DISTRACTOR = "junk", "distractor"
"""Marks of an `ImageList`'s rows."""
_LATER_COLUMNS = {
    "camera": "cameras",
    "mark": "marks",
    "group": "groups",
    "digest": "digests",
    "crop": "crops",
}
_COLUMNS = {"path": "paths", "identity": "identities"} | _LATER_COLUMNS  # of an ImageList's file → its fields
_CROP = re.compile(r"(\d+ \d+ \d+ \d+)?")
_PLAIN = re.compile(r"((?!\.\.?/)[^/\\\t\n\r]+/)*(?!\.\.?\Z)[^/\\\t\n\r]+")  # no empty part, no . or ..


@dataclass(frozen=True)
class ImageList:
    """Images by path relative to the data folder, whom they show, and which camera saw them.

    All columns are strings, one for each of N images; empty: unknown, or nothing to say. A column left out
    is empty. `identities` are `source/label`, `cameras` are `source/camera`. `marks` single out what a
    protocol treats apart: `JUNK` (published as person −1: neither right nor wrong for any query) and
    `DISTRACTOR` (published as person 0: nobody that is asked for, always wrong). `groups` are the numbered
    parts of a test set that is scored part by part, as Partial-REID. `digests` are BLAKE2b of the files'
    bytes, 128 bits in hexadecimal digits: who reads an image later refuses one that has changed since.
    `crops` are the parts that are shown: top, bottom, left, right in the image's pixels, with spaces between.
    """

    paths: tuple[str, ...]
    identities: tuple[str, ...]
    made_by: MadeBy = field(default_factory=MadeBy)
    cameras: tuple[str, ...] = field(default=(), kw_only=True)
    marks: tuple[str, ...] = field(default=(), kw_only=True)
    groups: tuple[str, ...] = field(default=(), kw_only=True)
    digests: tuple[str, ...] = field(default=(), kw_only=True)
    crops: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for name in _LATER_COLUMNS.values():
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * len(self.paths))
            hold(len(getattr(self, name)) == len(self.paths), f"as many {name} as paths")
        hold(len(self.paths) == len(self.identities), "as many identities as paths")
        hold(all(a < b for a, b in zip(self.paths, self.paths[1:], strict=False)), "sorted, unique paths")
        wrong = next((path for path in self.paths if not _PLAIN.fullmatch(path)), None)
        hold(wrong is None, f"plain relative paths, which {wrong!r} is not")
        for column in (self.identities, self.cameras, self.groups, self.digests):
            hold(not any(set(text) & set("\t\n\r") for text in set(column)), "columns without tabs")
        hold(all(map(_CROP.fullmatch, set(self.crops))), "crops as top bottom left right")
        strange = sorted(set(self.marks) - {"", JUNK, DISTRACTOR})
        hold(not strange, f"marks {JUNK} and {DISTRACTOR}, which {strange[:1]} is not")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> tuple[str, ...]:
        """File names without folders, as submissions list them."""
        return tuple(path.rpartition("/")[2] for path in self.paths)

    def rows(self, chosen: Sequence[int], made_by: MadeBy) -> Self:
        """The list of these rows, ascending, under another record."""
        columns = {name: tuple(getattr(self, name)[row] for row in chosen) for name in _COLUMNS.values()}
        return type(self)(**columns, made_by=made_by)

    def write(self, path: Path) -> None:
        """A TSV file. What need not be known is a column only where an image has one."""
        used = [name for name in _COLUMNS if name not in _LATER_COLUMNS or any(getattr(self, _COLUMNS[name]))]
        columns = [getattr(self, _COLUMNS[name]) for name in used]
        rows = ["\t".join(row) for row in zip(*columns, strict=True)]
        write_table(path, "ImageList", self.made_by, used, rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, rows = read_table(path, "ImageList", list(_COLUMNS), optional=len(_LATER_COLUMNS))
        columns = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
        named = dict(zip(_COLUMNS.values(), map(tuple, columns), strict=True))
        return built(path, lambda: cls(**named, made_by=made_by))
