"""Label lists: lines of `name separator label`, as the competition published them over the years.

The 2019 lists separate by a space and the 2020 lists by a colon; some were edited on Windows, some
end without a newline. So the separator is found line by line, and everything that carries no meaning
(a byte order mark, carriage returns, blank lines, white space at the ends) is ignored. What is left
must be a plain relative path and a whole number. Anything else is a problem: `file:line: reason: the
line`; problems are gathered, so that one run names them all.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_LAST_SEPARATOR = re.compile(r"(.*[^:,\t ])?[ \t]*[:,\t ][ \t]*([^:,\t ]*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")
_LABEL = re.compile(r"[0-9]{1,18}")
_LONGEST = 4096  # bytes of a line; no path is longer
ENOUGH = 10_000  # problems, after which nobody wants another
_PORTION = 1 << 18  # bytes of a list that are looked at before its images are looked for
_SHOWN = 80  # characters of a line in a message


class Entry(NamedTuple):
    """One line: its number from 1, the listed name, and the label without leading zeros."""

    line: int
    name: str
    label: str


def parse(content: bytes, file: str) -> tuple[list[Entry], list[str]]:
    """The entries of a label list in its order, and its problems; `file` is what these call it.

    A line is split at its last space, colon, tab or comma. Repeated lines are kept.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [], [f"{file}:1: UTF-16 text: save the list as UTF-8: {_shown(content)}"]
    entries, problems = _parsed(content.removeprefix(b"\xef\xbb\xbf"), file, 1)
    if not entries and not problems:
        problems.append(f"{file}:1: the list holds no lines: (empty)")
    return entries, problems


def listed(content: bytes, folder: Path, file: str) -> tuple[list[Entry], list[str], bool]:
    """The entries of a label list, its problems, absent images among them, and whether it gave up.

    It gives up once there are `ENOUGH` problems: a list for another folder is five million of them.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or not content.strip():
        return *parse(content, file), False
    there = _There(folder)
    entries: list[Entry] = []
    problems: list[str] = []
    at, line = 0, 1
    while at < len(content):
        end = content.find(b"\n", at + _PORTION) + 1 or len(content)
        found, wrong = _parsed(content[at:end], file, line)
        entries += found
        problems += wrong or there.problems(found, file)
        if len(problems) >= ENOUGH:
            return entries, problems, end < len(content)
        line += content.count(b"\n", at, end)
        at = end
    return entries, problems, False


def _parsed(content: bytes, file: str, first: int) -> tuple[list[Entry], list[str]]:
    """The entries and problems of lines of which the first has this number."""
    entries, problems = [], []
    for number, raw in enumerate(content.split(b"\n"), start=first):
        stripped = raw.strip()
        if not stripped:
            continue
        found = _entry(number, stripped)
        if isinstance(found, Entry):
            entries.append(found)
        else:
            problems.append(f"{file}:{number}: {found}: {_shown(stripped)}")
    return entries, problems


def names(content: bytes) -> set[str]:
    """The names in a file with one a line, where # begins a remark.

    Raises:
        UnicodeDecodeError: it is no UTF-8 text.
    """
    lines = content.decode("utf-8-sig").splitlines()
    return {name for line in lines if (name := line.partition("#")[0].strip())}


def unplain(name: str) -> str:
    """Why a listed name is no plain relative path; empty: it is one."""
    if _CONTROL.search(name):
        return "a control character in the name"
    if "\\" in name:
        return "a backslash in the name; paths are written with /"
    if _ABSOLUTE.match(name):
        return "an absolute path; names are relative to the source's folder"
    parts = name.split("/")
    if ".." in parts:
        return "the path leaves the source's folder"
    if "" in parts or "." in parts:
        return "no plain path"
    return ""


def absent(entries: list[Entry], folder: Path, file: str) -> list[str]:
    """The problems of entries whose image is not a file inside `folder`, links resolved."""
    return _There(folder).problems(entries, file)


class _There:
    """What lies in a folder; it is walked once, so that a million entries cost no million look-ups."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder.resolve()
        self.files, self.links = _walk(self.root)

    def problems(self, entries: list[Entry], file: str) -> list[str]:
        """Those of entries whose image is not a file in it."""
        found = []
        for entry in entries:
            if entry.name not in self.files and (reason := self._reason(entry.name)):
                found.append(f"{file}:{entry.line}: {reason}: {entry.name}")
        return found

    def _reason(self, name: str) -> str:
        if name in self.links:
            return _link_leads(self.root, self.root / name)
        above = PurePosixPath(name).parents if self.links else ()
        if linked := next((path for path in above if str(path) in self.links), None):
            return f"{linked} is a symbolic link to a folder; put the images there themselves"
        return f"no such image in {self.folder}"


def _entry(number: int, line: bytes) -> "Entry | str":
    """The entry in a line, or why there is none."""
    if len(line) > _LONGEST:
        return f"a line of {len(line):,} bytes"
    if b"\0" in line:
        return "a binary file, not a text"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    match = _LAST_SEPARATOR.fullmatch(text)
    if match is None:
        return "no separator (space, colon, tab or comma) between name and label"
    name, label = match[1], match[2]
    if not name:
        return "no name before the label"
    if not _LABEL.fullmatch(label):
        return f"the label {label[:_SHOWN]!r} is no whole number"
    if reason := unplain(name):
        return reason
    return Entry(number, name, str(int(label)))


def _shown(line: bytes) -> str:
    """The start of a line as printable text."""
    text = line[: 4 * _SHOWN].decode(errors="backslashreplace")
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return printable if len(printable) <= _SHOWN else f"{printable[:_SHOWN]}…"


def _walk(root: Path) -> tuple[set[str], set[str]]:
    """Names relative to `root` of the plain files below it, and of the symbolic links; none is followed."""
    files, links = set(), set()
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(root / below) as found:
                for item in found:
                    name = f"{below}{item.name}"
                    if item.is_symlink():
                        links.add(name)
                    elif item.is_dir():
                        pending.append(f"{name}/")
                    else:
                        files.add(name)
        except OSError:
            continue  # its images are then named as absent
    return files, links


def _link_leads(root: Path, link: Path) -> str:
    """Why a symbolic link is no image of this folder; empty: it leads to a file inside it."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a symbolic link that leads nowhere"
    if not target.is_relative_to(root):
        return "a symbolic link that leaves the source's folder"
    return "" if target.is_file() else "a symbolic link to what is no file"
