"""Folders of images: what in them counts as one."""

import os
from collections.abc import Iterable
from pathlib import Path

from naic_reid.data.images import SUFFIXES
from naic_reid.data.label_lists import unplain
from naic_reid.errors import ReidError


def flat(folder: Path) -> tuple[list[Path], list[str], int]:
    """The images of a folder by name, sorted; its problems; and how many other entries it has.

    An image is what is called one (.png, .jpg, .bmp, .tif, .webp); sub-folders and other files are only
    counted. A name that no list can hold and a symbolic link out of the folder are problems, and so is a
    folder that is not there or holds no image.
    """
    if not folder.is_dir():
        return [], [f"{folder}: no such folder of images"], 0
    root = folder.resolve()
    found, problems, others = [], [], 0
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            others += 1
            continue
        reason = unlistable(path.name)
        if not reason and path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            reason = "a symbolic link that leaves the folder"
        if not reason and not path.is_file():
            reason = "a link to no file" if path.is_symlink() else "no regular file"
        if reason:
            problems.append(f"{str(path)!r}: {reason}")
        else:
            found.append(path)
    if not found and not problems:
        problems.append(f"{folder}: no images (PNG, JPEG, BMP, TIFF or WebP)")
    return found, problems, others


def below(root: Path) -> list[str]:
    """The images in a folder and its sub-folders by relative name with `/`, sorted.

    An image is what is called one; what begins with a dot is left out. Links to files are followed, those
    to folders are not.
    """
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        found += [
            (Path(folder) / name).relative_to(root).as_posix()
            for name in files
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    return sorted(found)


def apart(written: Iterable[Path | None], folder: Path) -> None:
    """Refuse to write over an image of a folder that is read.

    Raises:
        ReidError: a file to be written is called an image and stands in the folder, or below.
    """
    root = os.path.realpath(folder)
    for path in written:
        if path is None or path.suffix.lower() not in SUFFIXES or not path.exists():
            continue
        if Path(os.path.realpath(path)).is_relative_to(root):
            raise ReidError(f"{path}: is an image that this command reads: name another file")


def unlistable(name: str) -> str:
    """Why no list can hold this name or path; empty: one can."""
    if reason := unplain(name):
        return reason
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    return ""
