"""What collect knows: one row per listed line, with what the image's bytes say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from naic_reid.artifacts import MadeBy, stream_table, write_table
from naic_reid.errors import ReidError

_HEADER = ["path", "identity", "line", "digest", "pixels", "fault", "camera", "size"]
_OPTIONAL = 2  # of the last columns, where there are some

Row = tuple[str, str, int, str, str, str, str, str]
"""Path, identity, line, digest, pixels, fault, camera and size of a listed line."""


@dataclass(frozen=True)
class Records:
    """The lines of all label lists, most trusted source first, in each list's own order.

    `paths` (N) are relative to the data folder and may repeat; `identities` (N) are `source/label`;
    `lines` (N) count from 1 in the source's list. `digests` and `pixels` (N) are hexadecimal hashes of
    the file's bytes and of its decoded pixels (empty: not decoded); `faults` (N) say why a file is no
    usable image (empty: it is one). `cameras` (N) are `source/camera` (empty: unknown). `sizes` (N) are
    height and width in pixels, with a space between (empty: unknown).
    """

    paths: tuple[str, ...]
    identities: tuple[str, ...]
    lines: tuple[int, ...]
    digests: tuple[str, ...]
    pixels: tuple[str, ...]
    faults: tuple[str, ...]
    cameras: tuple[str, ...]
    sizes: tuple[str, ...]
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        columns = (self.identities, self.lines, self.digests, self.pixels, self.faults, self.cameras,
                   self.sizes)  # fmt: skip
        if any(len(column) != len(self.paths) for column in columns):
            raise ValueError("it must have columns of one length")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def sources(self) -> Iterator[str]:
        """The source of each row."""
        return (identity.partition("/")[0] for identity in self.identities)

    def write(self, path: Path) -> None:
        fields = (self.paths, self.identities, self.lines, self.digests, self.pixels, self.faults,
                  self.cameras, self.sizes)  # fmt: skip
        least = len(_HEADER) - _OPTIONAL
        used = [at for at, column in enumerate(fields) if at < least or any(column)]
        rows = ["\t".join(map(str, row)) for row in zip(*(fields[at] for at in used), strict=True)]
        write_table(path, "Records", self.made_by, [_HEADER[at] for at in used], rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, rows = stream_table(path, "Records", _HEADER, optional=_OPTIONAL)
        try:
            return cls.of(((r[0], r[1], int(r[2]), r[3], r[4], r[5], r[6], r[7]) for r in rows), made_by)
        except ValueError as error:
            raise ReidError(f"{path}: not a whole Records file: {error}; delete it and run again") from error

    @classmethod
    def of(cls, rows: Iterable[Row], made_by: MadeBy) -> Self:
        """The records of these rows."""
        same: dict[str, str] = {}  # one string object for a person's many rows, a camera's and a size's

        def one(text: str) -> str:
            return same.setdefault(text, text)

        made = [(r[0], one(r[1]), r[2], r[3], r[4], r[5], one(r[6]), one(r[7])) for r in rows]
        columns = zip(*made, strict=True) if made else ((),) * len(_HEADER)
        paths, identities, lines, digests, pixels, faults, cameras, sizes = columns
        return cls(paths, identities, lines, digests, pixels, faults, cameras, sizes, made_by)
