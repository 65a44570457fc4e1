"""Rows of any layout → the plan of a folder for each identity, which many projects read, and `folders` here.

Folders: `train`, `val`, `train_all` (both), `query`, `gallery` and `multi-query`; in each a folder for every
identity, `-1` for junk and `0000` for distractors. A file keeps its name where that tells the camera as
`…_c12_…`; else it is preceded by identity and camera, and by the group where there are any (`001_c0_g5_…`).
Where a data set has no validation images, `val` takes one image of each identity that has several, chosen by
(seed, identity), so that neither the order of files nor a second run matters.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from naic_reid.artifacts import DISTRACTOR, JUNK
from naic_reid.data.layouts import Row
from naic_reid.data.layouts.folders import told_in

_MARKED = {JUNK: "-1", DISTRACTOR: "0000"}
_FOLDERS = {"multi_query": "multi-query"}


class Placed(NamedTuple):
    """One file of the new folder."""

    path: str
    """In the new folder."""
    source: str
    """In the data set's folder."""


def plan(rows: Iterable[Row], seed: int) -> list[Placed]:
    """Where every image goes; an image of train or val goes to `train_all`, too. Paths are unique."""
    every = list(rows)
    cameras = _numbers(every)
    taken: set[str] = set()
    placed = []
    for row in _with_val(every, seed):
        folders = ["train_all"] if row.role in ("train", "val") else []
        for folder in (_FOLDERS.get(row.role, row.role), *folders):
            path = f"{folder}/{_identity(row)}/{_name(row, cameras.get(row.camera, ''))}"
            while path in taken:
                stem, _, suffix = path.rpartition(".")
                path = f"{stem}_.{suffix}"
            taken.add(path)
            placed.append(Placed(path, row.path))
    return placed


def _with_val(rows: Sequence[Row], seed: int) -> Iterator[Row]:
    """The rows; where none is for validation, one of each person's several training images becomes so."""
    own: dict[str, list[Row]] = {}
    for row in rows:
        if row.role == "train":
            own.setdefault(row.identity, []).append(row)
    drawn = set() if any(row.role == "val" for row in rows) else {_drawn(mine, seed) for mine in own.values()}
    for row in rows:
        yield row._replace(role="val") if row.role == "train" and row in drawn else row


def _drawn(rows: list[Row], seed: int) -> Row | None:
    """One of a person's images, none of a single one."""
    if len(rows) < 2:
        return None
    key = blake2b(f"{seed} {rows[0].identity}".encode(), digest_size=8).digest()
    return sorted(rows)[int.from_bytes(key) % len(rows)]


def _numbers(rows: Iterable[Row]) -> dict[str, str]:
    """Camera → what names call it: its number, or its rank where cameras have names."""
    cameras = sorted({row.camera for row in rows} - {""})
    if all(camera.isdecimal() for camera in cameras):
        return {camera: camera for camera in cameras}
    return {camera: str(rank) for rank, camera in enumerate(cameras, start=1)}


def _identity(row: Row) -> str:
    name = row.identity.replace("/", "-")
    if row.mark:
        return _MARKED[row.mark]
    return f"id{name}" if name in _MARKED.values() else name or "unknown"


def _name(row: Row, camera: str) -> str:
    name = row.path.rpartition("/")[2]
    if told_in(name) == (camera, row.group):
        return name
    if camera:
        group = f"_g{row.group}" if row.group else ""
        return f"{_identity(row)}_c{camera}{group}_{name}"
    # Its name would tell a camera that is not known.
    return f"{blake2b(row.path.encode(), digest_size=8).hexdigest()}.{name.rpartition('.')[2]}"
