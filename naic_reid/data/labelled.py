"""What survey knows of a labelled data set: one row for each image and role, with the file's size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from naic_reid.artifacts import JUNK, ImageList, MadeBy, read_table, write_table
from naic_reid.data.layouts import Row
from naic_reid.errors import ReidError

_HEADER = [*Row._fields, "size"]


@dataclass(frozen=True)
class Labelled:
    """Rows as a layout gives them, but paths begin in the data folder, and identities and cameras with the
    data set's name: `market/0002`. `sizes` are the files' bytes."""

    rows: tuple[Row, ...]
    sizes: tuple[int, ...]
    made_by: MadeBy = field(default_factory=MadeBy)

    @classmethod
    def of(cls, data: Path, folder: str, name: str, rows: Sequence[Row], made_by: MadeBy) -> Self:
        """What a layout found in a folder of the data folder, under the data set's name."""
        prefix = "" if folder in (".", "") else f"{folder.rstrip('/')}/"
        placed = tuple(
            row._replace(
                path=prefix + row.path,
                identity=row.identity and f"{name}/{row.identity}",
                camera=row.camera and f"{name}/{row.camera}",
            )
            for row in rows
        )
        return cls(placed, tuple((data / row.path).stat().st_size for row in placed), made_by)

    def image_list(self, role: str, made_by: MadeBy, digests: Mapping[str, str]) -> ImageList:
        """The images of a role, junk left out, with the digests of their files by path."""
        rows = sorted(row for row in self.rows if row.role == role and row.mark != JUNK)
        return ImageList(
            tuple(row.path for row in rows),
            tuple(row.identity for row in rows),
            made_by,
            cameras=tuple(row.camera for row in rows),
            marks=tuple(row.mark for row in rows),
            groups=tuple(row.group for row in rows),
            digests=tuple(digests[row.path] for row in rows),
        )

    def resized(self, data: Path) -> list[str]:
        """The images that have another size now, as problems."""
        problems = []
        for row, size in dict(zip(self.rows, self.sizes, strict=True)).items():
            path = data / row.path
            if path.is_file() and path.stat().st_size != size:
                problems.append(f"{path}: another size than surveyed; run survey again")
        return problems

    def write(self, path: Path) -> None:
        rows = ["\t".join((*row, str(size))) for row, size in zip(self.rows, self.sizes, strict=True)]
        write_table(path, "Labelled", self.made_by, _HEADER, rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, raw = read_table(path, "Labelled", _HEADER)
        try:
            return cls(tuple(Row(*row[:-1]) for row in raw), tuple(int(row[-1]) for row in raw), made_by)
        except ValueError as error:
            raise ReidError(f"{path}: not a whole Labelled file: {error}; delete it and run again") from error
