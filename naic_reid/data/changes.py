"""Which images are no longer what a step read, without reading those whose size and time are the same.

What a step read stands in its tables, with the digest of each file. Sizes and times are remembered apart,
in a file that is a matter of speed only: without it every image is read once more.
"""

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from naic_reid.artifacts import ImageList
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.files import regular, whole

Stamps = NDArray[np.int64]
Digests = Callable[[Sequence[str]], Sequence[str]]
"""Names → the digests of these files as they are now, each empty where there is no such file."""


@dataclass(frozen=True)
class Reading:
    """The images that a step read."""

    tables: tuple[Path, ...]
    """Its `Records` or lists of images."""
    memory: Path
    """Where sizes and times are remembered."""

    def changed(self, folder: Path, digests: Digests, *, remember: bool = True) -> list[str]:
        """The images, sorted, that are not what the step read; none where it has not read them yet.

        Args:
            folder: where names start.
            digests: reads files, those whose size or time is not what is remembered.
            remember: write the memory where nothing has changed.

        Raises:
            ReidError: a table is damaged, or the memory cannot be written.
        """
        if not all(path.is_file() for path in self.tables):
            return []
        names, seen = self._recalled()
        now = stamps(folder, names)
        if names and (now == seen).all():
            return []
        known = self._known()
        if not names:
            names = sorted(known)
            now = stamps(folder, names)
            seen = np.full_like(now, -2)
        doubtful = [names[row] for row in np.flatnonzero((now != seen).any(axis=1))]
        found = [
            name for name, digest in zip(doubtful, digests(doubtful), strict=True) if digest != known[name]
        ]
        if remember and not found:
            self._remember(names, now)
        return found

    def _known(self) -> dict[str, str]:
        known: dict[str, str] = {}
        for path in self.tables:
            table = Records.read(path) if _first(path)[1] == b"Records" else ImageList.read(path)
            known |= dict(zip(table.paths, table.digests, strict=True))
        return known

    def _state(self) -> str:
        """What changes with the content of the tables: the digests in their first lines."""
        return " ".join(_first(path)[2].hex() for path in self.tables)

    def _recalled(self) -> tuple[list[str], Stamps]:
        """The names and stamps in the memory; none where it is damaged or of other tables."""
        try:
            with regular(self.memory).open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                text, seen = arrays["names"].tobytes(), arrays["stamps"]
                if str(arrays["checksum"]) == self._checksum(text, seen):
                    return text.decode().split("\n"), seen
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass
        return [], np.empty((0, 2), np.int64)

    def _remember(self, names: Sequence[str], seen: Stamps) -> None:
        text = "\n".join(names).encode()
        with whole(self.memory) as unfinished, unfinished.open("wb") as handle:
            np.savez(
                handle, names=np.frombuffer(text, np.uint8), stamps=seen,
                checksum=np.array(self._checksum(text, seen)),
            )  # fmt: skip

    def _checksum(self, text: bytes, seen: Stamps) -> str:
        return blake2b(self._state().encode() + text + seen.tobytes(), digest_size=16).hexdigest()


def stamps(folder: Path, names: Sequence[str]) -> Stamps:
    """Size in bytes and time of the last change in nanoseconds of each file, int64 [N, 2]; −1: no file."""
    found = np.full((len(names), 2), -1, np.int64)
    root = f"{folder}/"
    for row, name in enumerate(names):
        try:
            about = os.stat(root + name)  # noqa: PTH116 (a million paths take longer to make than to look up)
        except OSError:
            continue
        found[row] = about.st_size, about.st_mtime_ns
    return found


def _first(path: Path) -> list[bytes]:
    """The first words of a table: the mark, its type and its digest.

    Raises:
        ReidError: it has none.
    """
    with regular(path).open("rb") as handle:
        words = handle.readline(200).split(b" ", 3)
    if len(words) < 4 or words[0] != b"#":
        raise ReidError(f"{path}: not a whole table: it does not begin as one; delete it and run again")
    return words
