"""Truth tables: who is on each query and gallery image, as a CSV subset,name,pid,camid.

Nothing is scored on a guess: a row that could mean two things, or that contradicts another, is a problem
with its line number, and all problems are named together. The conventions are Market-1501's: pid −1 is
junk (an image that counts neither as right nor as wrong), 0 a distractor like any other person. Numbers
with leading zeros are the same numbers without. An empty camid says that the camera is unknown.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from naic_reid import files
from naic_reid.errors import ReidError, listing

HEADER = ("subset", "name", "pid", "camid")
SUBSETS = ("query", "gallery")
JUNK = "-1"
_NUMBER = re.compile(r"[0-9]{1,18}")
_REMEDY = "the truth cannot be taken at its word; mend these lines"


class Person(NamedTuple):
    """What a row says of an image; `line` counts from 1, the header."""

    line: int
    identity: str
    """A whole number without leading zeros; empty for junk."""
    camera: str
    """A whole number without leading zeros; empty: unknown."""

    @property
    def junk(self) -> bool:
        """Whether the image counts neither as right nor as wrong."""
        return not self.identity


class Truth(NamedTuple):
    """A truth table that was read and found free of contradictions."""

    path: Path
    persons: dict[str, dict[str, Person]]
    """Subset → file name → whom it shows."""

    def of(self, subset: str, images: Sequence[str]) -> list[Person]:
        """Whom these images show, in their order; images and rows have to fit each other.

        Args:
            subset: query or gallery.
            images: file names, without folders, of all the subset's images, whatever their domain.

        Raises:
            ReidError: an image has no row, or a row no image; all are listed.
        """
        known = self.persons[subset]
        missing = [name for name in images if name not in known]
        if missing:
            raise listing(missing, f"{self.path}: no row for these {subset} images")
        idle = known.keys() - set(images)
        if idle:
            rows = sorted((known[name].line, name) for name in idle)
            told = [f"{self.path}:{line}: there is no such {subset} image: {name}" for line, name in rows]
            raise listing(told, "the truth tells of images that are not there; take these lines out")
        return [known[name] for name in images]


def read(path: Path) -> Truth:
    """The truth table in a CSV file, UTF-8, its first line naming the columns in any order.

    Raises:
        ReidError: it cannot be read, has other columns, or has lines that leave a doubt.
    """
    try:
        text = files.content(path).decode("utf-8-sig")
        rows = list(_rows(text))
    except OSError as error:
        reason = error.strerror or error
        raise ReidError(f"{path}: cannot be read: {reason}; name an existing file") from error
    except (ValueError, csv.Error) as error:  # not UTF-8, or not CSV
        raise _no_table(path, str(error)) from error
    header = rows[0][1] if rows else []
    if sorted(header) != sorted(HEADER):
        raise _no_table(path, f"it has {','.join(header) or 'nothing'}")
    persons: dict[str, dict[str, Person]] = {subset: {} for subset in SUBSETS}
    problems = []
    for line, cells in rows[1:]:
        problem = _taken(line, cells, header, persons)
        if problem:
            problems.append(f"{path}:{line}: {problem}: {','.join(cells)}")
    if problems:
        raise listing(problems, _REMEDY)
    return Truth(path, persons)


def _rows(text: str) -> Iterable[tuple[int, list[str]]]:
    """(number of its last line, cells) of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _taken(line: int, cells: list[str], header: list[str], persons: dict[str, dict[str, Person]]) -> str:
    """Put a row where it belongs; what speaks against it, or nothing."""
    if len(cells) != len(header):
        return f"{len(cells)} cells, where the first line has {len(header)}"
    if any(cell != cell.strip() for cell in cells):
        return "white space at the end of a cell"
    row = dict(zip(header, cells, strict=True))
    problem = _problem(row)
    if problem:
        return problem
    identity = "" if row["pid"] == JUNK else str(int(row["pid"]))
    person = Person(line, identity, str(int(row["camid"])) if row["camid"] else "")
    earlier = persons[row["subset"]].setdefault(row["name"], person)
    if earlier[1:] != person[1:]:
        return f"line {earlier.line} says otherwise of this image"
    return ""


def _problem(row: dict[str, str]) -> str:
    """What speaks against the values of a row by themselves; or nothing."""
    if row["subset"] not in SUBSETS:
        return f"the subset {row['subset']!r} is neither query nor gallery"
    if not row["name"] or "/" in row["name"]:
        return f"{row['name']!r} is no file name without folders"
    if row["pid"] != JUNK and not _NUMBER.fullmatch(row["pid"]):
        return f"the pid {row['pid']!r} is no whole number from 0, nor {JUNK} for junk"
    if row["pid"] == JUNK and row["subset"] == "query":
        return "a query that is junk has no right answer"
    if row["camid"] and not _NUMBER.fullmatch(row["camid"]):
        return f"the camid {row['camid']!r} is no whole number from 0; leave it empty where it is unknown"
    return ""


def _no_table(path: Path, reason: str) -> ReidError:
    return ReidError(
        f"{path}: not a table of the truth: its first line must be {','.join(HEADER)} ({reason})"
    )
