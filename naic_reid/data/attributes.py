"""Attributes of persons: who wears what, by the tables of Market-1501 and DukeMTMC-reID or an own one.

The two published files (Lin et al. 2019) are MATLAB structs with a field for each attribute and
`image_index`, the persons' names, for the training and the test persons apart. Their fields stand in another
order in each, so they are read by name. An own table is a CSV file: a column `person` and one for each
attribute, words as its values, nothing where it is not known.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from naic_reid import files
from naic_reid.errors import ReidError

_NO_YES = ("no", "yes")
_MEANINGS: dict[str, tuple[str, ...]] = {
    "age": ("young", "teenager", "adult", "old"),
    "clothes": ("dress", "pants"),
    "down": ("long", "short"),
    "up": ("long", "short"),
    "hair": ("short", "long"),
    "gender": ("male", "female"),
    "shoes": ("dark", "light"),
    "top": ("short", "long"),
}
"""Of the published files' values, from 1; all others are no and yes."""
_SUFFIX = ".mat"


@dataclass(frozen=True)
class Attributes:
    """What is known of N persons under M attributes."""

    values: dict[str, tuple[str, ...]]
    """Attribute → its values in words, M of them."""
    persons: tuple[str, ...]
    """`source/label`, or the label alone, N of them."""
    known: NDArray[np.int64]
    """[N, M], number of the value from 1; 0: not known."""

    def of(self, identities: Sequence[str]) -> NDArray[np.int64]:
        """Those of identities `source/label`, [C, M]; of nobody in the table nothing is known.

        Source and label are looked for together, then the label alone.
        """
        row_of = {person: row for row, person in enumerate(self.persons)}
        found = np.zeros((len(identities), len(self.values)), np.int64)
        for at, identity in enumerate(identities):
            row = row_of.get(identity, row_of.get(identity.rpartition("/")[2]))
            if row is not None:
                found[at] = self.known[row]
        return found

    def write(self, path: Path) -> None:
        """A CSV file that `read` reads."""
        with files.whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as handle:
            table = csv.writer(handle, lineterminator="\n")
            table.writerow(["person", *self.values])
            for person, row in zip(self.persons, self.known.tolist(), strict=True):
                words = [("", *told)[value] for told, value in zip(self.values.values(), row, strict=True)]
                table.writerow([person, *words])


def read(path: Path) -> Attributes:
    """A table of attributes: a published .mat file, else a CSV file.

    Raises:
        ReidError: it cannot be read, or is no such table; the message names it.
    """
    try:
        found = _published(path) if path.suffix == _SUFFIX else _own(path)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ReidError:
        raise
    except Exception as error:  # SciPy and csv raise whatever the damage leads to
        raise ReidError(f"{path}: no table of attributes: {error}; name a CSV or .mat file") from error
    if len(set(found.persons)) < len(found.persons):
        twice = next(person for person in found.persons if found.persons.count(person) > 1)
        raise ReidError(f"{path}: names {twice} twice: a person has one line")
    return found


def told(rows: Sequence[tuple[str, dict[str, str]]]) -> Attributes:
    """Of persons and their attributes in words; values are numbered in the order of the alphabet."""
    names = list(dict.fromkeys(name for _, words in rows for name in words))
    values = {name: tuple(sorted({words.get(name, "") for _, words in rows} - {""})) for name in names}
    number = {name: {word: at for at, word in enumerate(("", *words))} for name, words in values.items()}
    known = [[number[name][words.get(name, "")] for name in names] for _, words in rows]
    array = np.array(known, np.int64).reshape(len(rows), len(names))
    return Attributes(values, tuple(person for person, _ in rows), array)


def _own(path: Path) -> Attributes:
    with files.regular(path).open(newline="", encoding="utf-8-sig") as handle:
        table = csv.DictReader(handle)
        header = table.fieldnames or []
        rows = [(row.pop("person"), row) for row in table] if "person" in header else []
    if not rows or len(header) < 2 or len(set(header)) < len(header):
        raise ReidError(f"{path}: a table of attributes has a column person, others, and a line each person")
    if any(None in row or None in row.values() for _, row in rows):
        raise ReidError(f"{path}: some lines have more or fewer values than there are columns")
    return told(rows)


def _published(path: Path) -> Attributes:
    """The training and the test persons of a file, one after the other."""
    held = scipy.io.loadmat(str(files.regular(path)), simplify_cells=True)
    (outer,) = [value for name, value in held.items() if not name.startswith("__")]
    subsets: list[dict[str, Any]] = [outer[name] for name in ("train", "test")]
    names = [name for name in subsets[0] if name != "image_index"]
    names += [name for name in subsets[1] if name not in (*names, "image_index")]
    values = {name: _MEANINGS.get(name, _NO_YES) for name in names}
    persons: list[str] = []
    rows = []
    for fields in subsets:
        index = [str(person) for person in np.atleast_1d(fields["image_index"])]
        columns = [np.broadcast_to(np.int64(fields.get(name, 0)), len(index)) for name in names]
        rows.append(np.stack(columns, axis=1))
        persons += index
    known = np.concatenate(rows)
    most = np.array([len(words) for words in values.values()])
    if (known < 0).any() or (known > most).any():
        wrong = names[int(((known < 0) | (known > most)).any(0).argmax())]
        raise ReidError(f"{path}: {wrong} has values beyond 0 … {len(values[wrong])}")
    return Attributes(values, tuple(persons), known)
