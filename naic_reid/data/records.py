"""What collect knows: one row per listed line, with what the image's bytes say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from naic_reid.artifacts import MadeBy, stream_table, write_table
from naic_reid.errors import ReidError

_HEADER = ["path", "identity", "line", "digest", "pixels", "fault", "camera"]  # the last where there are some


@dataclass(frozen=True)
class Records:
    """The lines of all label lists, most trusted source first, in each list's own order.

    `paths` (N) are relative to the data folder and may repeat; `identities` (N) are `source/label`;
    `lines` (N) count from 1 in the source's list. `digests` and `pixels` (N) are hexadecimal hashes of
    the file's bytes and of its decoded pixels (empty: not decoded); `faults` (N) say why a file is no
    usable image (empty: it is one). `cameras` (N) are `source/camera` (empty: unknown).
    """

    paths: tuple[str, ...]
    identities: tuple[str, ...]
    lines: tuple[int, ...]
    digests: tuple[str, ...]
    pixels: tuple[str, ...]
    faults: tuple[str, ...]
    cameras: tuple[str, ...]
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        columns = (self.identities, self.lines, self.digests, self.pixels, self.faults, self.cameras)
        if any(len(column) != len(self.paths) for column in columns):
            raise ValueError("it must have columns of one length")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def sources(self) -> Iterator[str]:
        """The source of each row."""
        return (identity.partition("/")[0] for identity in self.identities)

    def write(self, path: Path) -> None:
        columns = [self.paths, self.identities, self.lines, self.digests, self.pixels, self.faults]
        columns += [self.cameras] if any(self.cameras) else []
        rows = ["\t".join(map(str, row)) for row in zip(*columns, strict=True)]
        write_table(path, "Records", self.made_by, _HEADER[: len(columns)], rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, rows = stream_table(path, "Records", _HEADER, optional=1)
        try:
            return cls.of(((r[0], r[1], int(r[2]), r[3], r[4], r[5], r[6]) for r in rows), made_by)
        except ValueError as error:
            raise ReidError(f"{path}: not a whole Records file: {error}; delete it and run again") from error

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, int, str, str, str, str]], made_by: MadeBy) -> Self:
        """The records of these rows: path, identity, line, digest, pixels, fault, camera."""
        columns: tuple[list[str], list[str], list[int], list[str], list[str], list[str], list[str]]
        columns = ([], [], [], [], [], [], [])
        same: dict[str, str] = {}  # one string object for a person's many rows
        for path, identity, line, digest, pixels, fault, camera in rows:
            columns[0].append(path)
            columns[1].append(same.setdefault(identity, identity))
            columns[2].append(line)
            columns[3].append(digest)
            columns[4].append(pixels)
            columns[5].append(fault)
            columns[6].append(same.setdefault(camera, camera))
        paths, identities, lines, digests, all_pixels, faults, cameras = columns
        return cls(
            tuple(paths), tuple(identities), tuple(lines), tuple(digests), tuple(all_pixels), tuple(faults),
            tuple(cameras), made_by,
        )  # fmt: skip
