"""How many bytes of which files are read."""

import builtins
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

AHEAD = 3 * io.DEFAULT_BUFFER_SIZE
"""Bytes that who looks into a file for its record may have read of it."""


@dataclass
class Read:
    """What a block read; pages of mapped files are not among it."""

    files: Counter[Path] = field(default_factory=Counter)
    """File → bytes of it, by whatever opens files as Python does."""
    elsewhere: int = 0
    """Bytes that the process read by other means, as libraries do with readers of their own."""


@contextmanager
def counted() -> Iterator[Read]:
    """What the block reads."""
    read = Read()
    found, opened, before = read.files, io.open, by_process()

    class Counted(io.FileIO):
        def __init__(self, file: Any) -> None:
            super().__init__(file)
            self._place = Path(os.path.realpath(file))

        def readinto(self, buffer: Any, /) -> int | None:
            number = super().readinto(buffer)
            found[self._place] += number or 0
            return number

        def readall(self) -> bytes:
            content = super().readall()
            found[self._place] += len(content)
            return content

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(-1 if size is None else size)
            found[self._place] += len(content or b"")
            return content

    def opening(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if isinstance(file, int) or set(mode) & set("wax+"):
            return opened(file, mode, buffering, *more, **named)
        raw = Counted(file)
        if buffering == 0:
            return raw
        buffered = io.BufferedReader(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *more, **named)

    with patch.object(io, "open", opening), patch.object(builtins, "open", opening):
        yield read
    read.elsewhere = by_process() - before - found.total()


def by_process() -> int:
    """Bytes that this process has read so far, says the kernel."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])
