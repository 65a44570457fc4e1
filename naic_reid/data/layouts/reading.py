"""What all layouts are read with: a folder that is never left, and the rows that come of it.

Nothing stops at the first problem: problems are gathered, each with its file and line, so that one run
names them all. A symbolic link is followed only where it leads to a file inside the folder.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from naic_reid.artifacts import DISTRACTOR, JUNK
from naic_reid.data.folders import unlistable
from naic_reid.data.images import SUFFIXES
from naic_reid.files import regular

ROLES = ("train", "val", "query", "gallery", "multi_query")


class Row(NamedTuple):
    """One image in one role; what is not known is empty."""

    path: str
    """Relative to the folder, forward slashes."""
    role: str
    """One of `ROLES`; `multi_query` holds further images of query persons, one feature for each camera."""
    identity: str = ""
    """As published, leading zeros kept."""
    camera: str = ""
    """Its number without leading zeros, or its name."""
    group: str = ""
    mark: str = ""
    """`JUNK`, `DISTRACTOR` or nothing, as in an `ImageList`."""


class Counts(NamedTuple):
    """Identities, images and cameras of a role, junk left out; none: not published."""

    identities: int | None
    images: int | None
    cameras: int | None = None


class Options(NamedTuple):
    """What a user may say about a layout."""

    variant: str = ""
    """One of the layout's variants; empty: the first."""
    pattern: str = ""
    """Of a file name, with groups `person` and `camera`, in the place of the layout's own."""
    table: str = ""
    """The CSV file within the folder, where the layout reads one."""
    special: bool = True
    """Persons published as −1 are junk, those published as 0000 are distractors."""


@dataclass(frozen=True)
class Layout:
    """How a data set lies in its folder."""

    rows: Callable[["Folder", Options], Iterable[Row]]
    expects: str
    """What must be there, for the error about a folder that is another data set's."""
    names: str
    """An example of a file name or of a line."""
    protocol: str
    """Of ranking, unless the config says another."""
    variants: tuple[str, ...] = ("",)
    published: Mapping[str, Mapping[str, Counts]] = field(default_factory=dict)
    """Variant → role → what its authors counted."""


class Folder:
    """A folder while it is read: what is found, what is wrong, and what was passed over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        """What makes it unusable."""
        self.remarks: list[str] = []
        """What its owner may want to know."""
        self.others = 0
        """Files that are no images by name, where only images are expected."""
        self._real = root.resolve()
        self._stems: dict[str, dict[str, list[str]]] = {}

    def wrong(self, reason: str, path: str, line: int = 0) -> None:
        """A problem with a file of the folder, or with one of its lines."""
        self.problems.append(f"{self.root / path}{f':{line}' if line else ''}: {reason}")

    def within(self, path: str) -> bool:
        """Whether what lies there is in the folder; a problem where a link leads out of it."""
        inside = (self.root / path).resolve().is_relative_to(self._real)
        if not inside:
            self.wrong("a symbolic link that leaves the folder: put there what it leads to", path)
        return inside

    def home(self, roots: Sequence[str], inside: Sequence[str]) -> str:
        """`""` where the folder itself holds one of `inside`, else `root/` of the first root that does."""
        prefixes = ["", *(f"{root}/" for root in roots)]
        return next((p for p in prefixes for name in inside if (self.root / p / name).exists()), "")

    def first(self, home: str, *names: str) -> str:
        """The first of these folders in `home` that is there, else the first."""
        return next((home + name for name in names if (self.root / home / name).is_dir()), home + names[0])

    def folders(self, below: str) -> list[str]:
        """Paths of the sub-folders, sorted; hidden ones and links are passed over."""
        found = [item for item in self._items(below) if item.is_dir(follow_symlinks=False)]
        return [f"{below}/{item.name}".removeprefix("/") for item in found]

    def images(self, below: str, *, nested: bool = False) -> list[str]:
        """Paths of the images in a sub-folder, sorted; none where it is missing."""
        found: list[str] = []
        for item in self._items(below):
            path = f"{below}/{item.name}".removeprefix("/")
            if item.is_dir(follow_symlinks=False):
                found += self.images(path, nested=True) if nested else []
            elif Path(item.name).suffix.lower() not in SUFFIXES:
                self.others += 1
            elif reason := unlistable(item.name) or self._leaves(item):
                self.wrong(reason, path)
            else:
                found.append(path)
        return found

    def named(self, path: str, line: int, listed_in: str) -> str:
        """The image that a list names, with or without its suffix; a problem where it is not one file."""
        if reason := unlistable(path):
            self.wrong(f"{reason}: {path}", listed_in, line)
            return ""
        below = path.rpartition("/")[0]
        if below not in self._stems:
            self._stems[below] = {}
            for image in self.images(below):
                self._stems[below].setdefault(image, []).append(image)
                self._stems[below].setdefault(image.rpartition(".")[0], []).append(image)
        found = self._stems[below].get(path, [])
        if len(found) == 1:
            return found[0]
        several = f"names {len(found)} files, {' and '.join(found)}" if found else "no such image"
        self.wrong(f"{several}: {path}", listed_in, line)
        return ""

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Number, from 1, and text of the lines of a file that are not blank; nothing where it is missing."""
        file = self.root / path
        if not file.is_file() or not self.within(path):
            return
        try:
            text = regular(file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.wrong(f"cannot be read: {error}", path)
            return
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, line.strip()

    def fitting(
        self, paths: Iterable[str], pattern: str, example: str
    ) -> Iterator[tuple[str, re.Match[str]]]:
        """The paths whose file names the pattern fits from their beginning; others are problems."""
        compiled = re.compile(pattern)
        for path in paths:
            if match := compiled.match(path.rpartition("/")[2]):
                yield path, match
            else:
                self.wrong(f"its name does not fit the layout, as {example} does", path)

    def _items(self, below: str) -> list[os.DirEntry[str]]:
        place = self.root / below
        if not place.is_dir() or not self.within(below):
            return []
        with os.scandir(place) as found:
            items = sorted((item for item in found if not item.name.startswith(".")), key=lambda i: i.name)
        for item in items:
            if item.is_symlink() and item.is_dir():
                self.wrong(
                    "a symbolic link to a folder: put the images there themselves", f"{below}/{item.name}"
                )
        return [item for item in items if not (item.is_symlink() and item.is_dir())]

    def _leaves(self, item: os.DirEntry[str]) -> str:
        if not item.is_symlink():
            return ""
        target = Path(os.path.realpath(item.path))  # which a link in a circle ends
        if not target.is_relative_to(self._real):
            return "a symbolic link that leaves the folder"
        return "" if target.is_file() else "a symbolic link that leads to no file"


def marked(identity: str, options: Options) -> str:
    """The mark of a person published under this name, where −1 is junk and 0000 a distractor."""
    if not options.special:
        return ""
    return JUNK if identity == "-1" else DISTRACTOR if identity == "0000" else ""


def boxes(
    folder: Folder, options: Options, home: str, places: Mapping[str, str], pattern: str, example: str
) -> Iterator[Row]:
    """Rows of role → folder of images whose names tell `person` and `camera`, as Market-1501's do."""
    for role, below in places.items():
        for path, match in folder.fitting(folder.images(home + below), options.pattern or pattern, example):
            identity, camera = match["person"], number(match["camera"])
            yield Row(path, role, identity, camera, mark=marked(identity, options))


def number(text: str) -> str:
    """A number without leading zeros; anything else as it is."""
    return str(int(text)) if text.isdecimal() else text
