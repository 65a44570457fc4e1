"""Parts: consecutive rows of an artefact that several jobs make side by side, and how they become one again.

A part holds the whole's arrays cut to its rows, says which rows of how many these are, and carries the
record that the whole will have. So parts belong together when their records are equal, and are complete
when their rows adjoin; the whole that is put together has the bytes that one job would have written.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from naic_reid import artifacts
from naic_reid.artifacts import Floats, JaccardRows, MadeBy, Neighbours
from naic_reid.errors import ReidError

_Arrays = Mapping[str, NDArray[Any]]


class Rows(NamedTuple):
    """Rows start … stop of a whole that has `of` of them."""

    start: int
    stop: int
    of: int

    def __str__(self) -> str:
        return f"rows {self.start} to {self.stop} of {self.of}"


class Part(NamedTuple):
    """What a part's file holds."""

    path: Path
    kind: str
    rows: Rows
    made_by: MadeBy
    arrays: dict[str, NDArray[Any]]


def rows_of(shard: str, num: int, unit: int = 1) -> Rows:
    """The rows that a shard makes, I/N of all, or all of them when there is no shard.

    The first begins at 0, each other where the one before ends, at a multiple of `unit`. With more shards
    than there are units some make no rows.

    Raises:
        ReidError: the shard is not written so, or there is none of this number.
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", shard or "1/1")
    number, shards = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= shards:
        raise ReidError(f"--shard {shard}: write I/N, such as 1/4, with I from 1 to N")
    units = -(-num // unit)
    start, stop = (min(num, units * before // shards * unit) for before in (number - 1, number))
    return Rows(start, stop, num)


def write(path: Path, kind: str, rows: Rows, arrays: _Arrays, made_by: MadeBy) -> None:
    """A part of an artefact of this kind, its arrays cut to these rows; `made_by` is the whole's record."""
    artifacts.write_arrays(path, "Part", made_by, _saying(kind, rows) | dict(arrays))


def streamed_features(
    path: Path, names: Sequence[str], dimension: int, made_by: MadeBy, rows: Rows, more: _Arrays
) -> AbstractContextManager[Callable[[Floats], None]]:
    """As `artifacts.streamed_features`, for a part with these rows; `names` are its own."""
    more = _saying("Features", rows) | dict(more)
    return artifacts.streamed_features(path, names, dimension, made_by, kind="Part", more=more)


def read(path: Path) -> Part:
    """A part; its features, if it holds some, are mapped and not in memory.

    Raises:
        ReidError: the file is no part, or damaged.
    """
    made_by, arrays = artifacts.read_arrays(path, "Part", mapped="values")
    try:
        kind, rows = str(arrays.pop("kind")), Rows(*map(int, arrays.pop("part")))
        lengths = {len(arrays[name]) - (name == "indptr") for name in _BY_ROW[kind]}
    except Exception as error:  # NumPy raises whatever the damage leads to
        raise ReidError(f"{path}: not a whole Part file: {error!r}; delete it and run again") from error
    if lengths != {rows.stop - rows.start}:
        raise ReidError(f"{path}: does not hold the {rows} that it says; delete it and run again")
    return Part(path, kind, rows, made_by, arrays)


def gather(paths: Sequence[Path], whole: Path) -> Rows:
    """Write the artefact whose parts these are, and say how many rows it has.

    Raises:
        ReidError: a part is of another whole, or rows are missing or there twice; the message names it.
    """
    parts = sorted((read(path) for path in paths), key=lambda part: part.rows)
    if not parts:
        raise ReidError(f"{whole}: no parts were named: name each with --parts")
    for part in parts[1:]:
        _require_same_whole(parts[0], part)
    _require_all_rows(parts)
    try:
        _WRITERS[parts[0].kind](parts, whole)
    except (ReidError, MemoryError):
        raise
    except Exception as error:  # NumPy and SciPy raise whatever the content leads to
        named = ", ".join(str(part.path) for part in parts)
        raise ReidError(
            f"{whole}: {named} do not fit together: {error}; delete them and run again"
        ) from error
    return Rows(0, parts[0].rows.of, parts[0].rows.of)


def _saying(kind: str, rows: Rows) -> dict[str, NDArray[Any]]:
    return {"kind": np.array(kind), "part": np.array(rows, np.int64)}


def _require_same_whole(one: Part, other: Part) -> None:
    named = {"kind": (one.kind, other.kind), "number of rows": (one.rows.of, other.rows.of)}
    for name in ("stage", "revision", "version", "settings"):
        named[name] = (getattr(one.made_by, name), getattr(other.made_by, name))
    for (given, was), (also, now) in zip(one.made_by.inputs, other.made_by.inputs, strict=False):
        named[f"input {given}"] = ((given, was), (also, now))
    named["number of inputs"] = (len(one.made_by.inputs), len(other.made_by.inputs))
    different = [name for name, (a, b) in named.items() if a != b]
    if different:
        raise ReidError(
            f"{other.path}: a part of something else than {one.path} is ({', '.join(different)} differ): "
            "delete the one that does not belong and run again"
        )


def _require_all_rows(parts: Sequence[Part]) -> None:
    """Parts in the order of their rows."""
    at, before = 0, None
    alike = "with the same number of shards" + " and the same batch" * (parts[0].kind == "Features")
    for part in parts:
        if part.rows.start < at:
            raise ReidError(
                f"{part.path}: holds {part.rows}, and {before} holds some of them too: make all parts {alike}"
            )
        if part.rows.start > at:
            raise ReidError(
                f"{part.path}: begins at row {part.rows.start}, and the part with row {at} is missing: make "
                f"it too, all parts {alike}"
            )
        at, before = part.rows.stop, part.path
    if at != parts[-1].rows.of:
        raise ReidError(
            f"{before}: ends before row {at} of {parts[-1].rows.of}, and the part with that row is missing: "
            "make it too"
        )


def _joined(parts: Sequence[Part], name: str) -> NDArray[Any]:
    return np.concatenate([part.arrays[name] for part in parts])


def _write_features(parts: Sequence[Part], whole: Path) -> None:
    dimensions = {part.arrays["values"].shape[1] for part in parts}
    if len(dimensions) > 1:
        raise ValueError(f"their features have {sorted(dimensions)} numbers")
    names = _joined(parts, "names").tolist()
    more = artifacts.saying_regions(int(parts[0].arrays.get("regions", 0)))
    with artifacts.streamed_features(whole, names, dimensions.pop(), parts[0].made_by, more=more) as append:
        for part in parts:
            append(part.arrays["values"])


def _write_neighbours(parts: Sequence[Part], whole: Path) -> None:
    rows, distances, farthest = (_joined(parts, name) for name in ("rows", "distances", "farthest"))
    num_query = int(parts[0].arrays["num_query"])
    Neighbours(rows, distances, farthest, num_query, parts[0].made_by).write(whole)


def _write_jaccard_rows(parts: Sequence[Part], whole: Path) -> None:
    counts = np.concatenate([np.diff(part.arrays["indptr"]) for part in parts])
    indices = _joined(parts, "indices")
    indptr = np.zeros(len(counts) + 1, indices.dtype)
    np.cumsum(counts, out=indptr[1:])
    shape = len(counts), int(parts[0].arrays["shape"][1])
    similarity = sp.csr_array((_joined(parts, "data"), indices, indptr), shape=shape)
    similarity.check_format(full_check=True)
    JaccardRows(similarity, _joined(parts, "farthest"), parts[0].made_by).write(whole)


_BY_ROW = {  # of each kind, what has an entry for each row
    "Features": ("names", "values"),
    "Neighbours": ("rows", "distances", "farthest"),
    "JaccardRows": ("indptr", "farthest"),
}
_WRITERS: dict[str, Callable[[Sequence[Part], Path], None]] = {
    "Features": _write_features,
    "Neighbours": _write_neighbours,
    "JaccardRows": _write_jaccard_rows,
}
