"""Images without labels to learn from: a folder of them, and the table that says what was there."""

import os
from pathlib import Path

from naic_reid.artifacts import MadeBy, read_table, write_table
from naic_reid.data.folders import below, unlistable
from naic_reid.errors import ReidError, listing

Rows = list[tuple[str, int]]
"""Path from the data folder on, and the file's size in bytes."""
_KIND, _HEADER = "Unlabelled", ["path", "size"]


def found(data: Path, folder: str) -> Rows:
    """The images of a folder of the data folder and below, by name.

    Raises:
        ReidError: it is not there, or holds no image.
    """
    root = data / folder
    names = below(root)
    if not names:
        what = "no image (PNG, JPEG, BMP, TIFF or WebP) lies in" if root.is_dir() else "there is no"
        raise ReidError(
            f"train.unlabelled.images: {what} {root}: name a folder of images in the data folder, or set "
            "unlabelled: null"
        )
    if wrong := [f"{root / name}: {reason}" for name in names if (reason := _unfit(root, name))]:
        raise listing(wrong, f"train.unlabelled.images: {root} holds what cannot be listed")
    prefix = "" if folder == "." else f"{folder}/"
    return [(prefix + name, (root / name).stat().st_size) for name in names]


def _unfit(root: Path, name: str) -> str:
    """Why an image cannot be listed; empty: it can."""
    if reason := unlistable(name):
        return reason
    leaves = not Path(os.path.realpath(root / name)).is_relative_to(os.path.realpath(root))
    return "a symbolic link that leaves the folder" if leaves else ""


def survey(data: Path, folder: str, table: Path) -> None:
    """Write down what the folder holds, where the table says something else: looking again reruns nothing.

    Raises:
        ReidError: as `found`.
    """
    rows = found(data, folder)
    try:
        known = read(table)
    except ReidError:  # not there yet, or damaged
        known = None
    if known != rows:
        write_table(table, _KIND, MadeBy(), _HEADER, [f"{name}\t{size}" for name, size in rows])


def read(path: Path) -> Rows:
    """What `survey` wrote.

    Raises:
        ReidError: the table is damaged, or another.
    """
    _, raw = read_table(path, _KIND, _HEADER)
    try:
        return [(name, int(size)) for name, size in raw]
    except ValueError as error:
        raise ReidError(f"{path}: not a whole table of images: {error}; delete it and run again") from error
