"""Scans image files (digest, size, means, faults), each read once, with a cache: a second scan reads none.

The cache is an SQLite file keyed by path, size and time of change. It is a matter of speed only: it
may be deleted at any time, and one that is damaged, or was written by another decoder, is started
afresh.
"""

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path

import cv2

from naic_reid.data.images import Look, look
from naic_reid.data.read_ahead import in_order
from naic_reid.errors import ReidError
from naic_reid.files import regular

REVISION = 3  # of what a look holds; the memory of another is not believed
_CHUNK = 64  # images handed to a worker in one go
_COMMIT = 64  # chunks after which the memory is made safe: a killed run loses no more than these

_SELECT = "SELECT look FROM looks WHERE path = ? AND decoded = ? AND size = ? AND changed = ?"
_INSERT = "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?)"
_LOOK = struct.Struct("<16s?16sIIdddQ")  # digest; whether pixels, and their hash; size; means; scene
_SQLITE = b"SQLite format 3\0"
_CHECK = 8  # bytes of checksum before a look: SQLite hands out damaged values without a word

_Key = tuple[bytes, bool, int, int]  # path, decoded?, size, nanoseconds of the last change


def looks(
    folder: Path,
    names: Sequence[str],
    *,
    with_pixels: bool = True,
    workers: int = 1,
    cache: Path | None = None,
) -> Iterator[Look]:
    """What one reading of each file tells, in the order of `names`.

    Memory does not grow with their number.

    Args:
        folder: where the names start.
        names: image files, by paths relative to the folder.
        with_pixels: decode them.
        workers: images read at once.
        cache: file that remembers looks; none: all are read.
    """
    # Strings, not paths: a million paths take longer to make than the files they name to look up.
    root = str(folder.resolve())
    chunks = (
        [f"{root}/{name}" for name in names[start : start + _CHUNK]] for start in range(0, len(names), _CHUNK)
    )
    if cache is None:
        for _, seen in _looked(chunks, None, with_pixels, workers):
            yield from seen
        return
    with closing(_opened(cache)) as memory:
        for number, (keys, seen) in enumerate(_looked(chunks, memory, with_pixels, workers), start=1):
            _remember(memory, keys, seen)
            if number % _COMMIT == 0:
                _make_safe(memory)
            yield from seen
        _make_safe(memory)


def _looked(
    chunks: Iterable[list[str]], memory: sqlite3.Connection | None, with_pixels: bool, workers: int
) -> Iterator[tuple[list[_Key | None], list[Look]]]:
    """Chunk by chunk: the keys to remember looks by (none: known, or not to be kept), and the looks."""

    def recalled() -> Iterator[tuple[list[str], list[_Key | None], list[Look | None]]]:
        for files in chunks:  # in one thread, as SQLite wants it
            keys: list[_Key | None] = [None] * len(files)
            known: list[Look | None] = [None] * len(files)
            if memory is not None:
                keys = [_key(file, with_pixels) for file in files]
                known = [_recall(memory, key) for key in keys]
                keys = [None if seen else key for key, seen in zip(keys, known, strict=True)]
            yield files, keys, known

    def missing(
        chunk: tuple[list[str], list[_Key | None], list[Look | None]],
    ) -> tuple[list[_Key | None], list[Look]]:
        files, keys, known = chunk
        return keys, [
            seen or look(file, with_pixels=with_pixels) for file, seen in zip(files, known, strict=True)
        ]

    # A few chunks ahead keep all workers busy.
    return in_order(missing, recalled(), max(1, workers), ahead=4 * max(1, workers))


def _key(file: str, with_pixels: bool) -> _Key | None:
    """What the memory knows a file by, taken before it is read; none where there is no such file."""
    try:
        about = os.stat(file)  # noqa: PTH116 (a string, see above)
    except OSError:
        return None
    return os.fsencode(file), with_pixels, about.st_size, about.st_mtime_ns


def _opened(cache: Path) -> sqlite3.Connection:
    """The memory in this file, made anew where it is damaged or was written by another decoder."""
    _require_ours(cache)
    version = f"{REVISION} OpenCV {cv2.__version__}"
    with suppress(sqlite3.Error):
        if cache.exists():
            memory = _connected(cache)
            if memory.execute("SELECT version FROM made_by").fetchall() == [(version,)]:
                return memory
            memory.close()
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            cache.with_name(cache.name + suffix).unlink(missing_ok=True)
        memory = _connected(cache)
        memory.execute("INSERT INTO made_by VALUES (?)", [version])
        return memory
    except (OSError, sqlite3.Error) as error:
        raise ReidError(f"{cache}: cannot be written ({error}); name another --cache, or none") from error


def _require_ours(cache: Path) -> None:
    """Refuse a file that something else made: it would be started afresh. What is called .sqlite is ours.

    Raises:
        ReidError: it is no memory, of images or at all.
    """
    if not cache.exists():
        return
    with regular(cache).open("rb") as handle:
        first = handle.read(len(_SQLITE))
    foreign = bool(first) and first != _SQLITE and cache.suffix != ".sqlite"
    if first == _SQLITE:
        with suppress(sqlite3.Error), closing(sqlite3.connect(cache)) as memory:
            tables = memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            foreign = bool({name for (name,) in tables} - {"looks", "made_by"})
    if foreign:
        raise ReidError(f"{cache}: is no memory of images, and would be overwritten: name another --cache")


def _connected(cache: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(cache, timeout=60)
    memory.execute("PRAGMA journal_mode = WAL")  # a kill leaves it whole
    memory.execute("PRAGMA synchronous = NORMAL")
    memory.execute("CREATE TABLE IF NOT EXISTS made_by (version TEXT PRIMARY KEY)")
    memory.execute(
        "CREATE TABLE IF NOT EXISTS looks (path BLOB, decoded INT, size INT, changed INT, look BLOB,"
        " PRIMARY KEY (path, decoded)) WITHOUT ROWID"
    )
    return memory


def _recall(memory: sqlite3.Connection, key: _Key | None) -> Look | None:
    if key is None:
        return None
    try:
        found = memory.execute(_SELECT, key).fetchone()
    except sqlite3.Error:  # damaged further in: the file itself is read instead
        return None
    return _unpacked(key, found[0]) if found else None


def _remember(memory: sqlite3.Connection, keys: list[_Key | None], seen: list[Look]) -> None:
    rows = [
        (*key, _packed(key, known))
        for key, known in zip(keys, seen, strict=True)
        if key and known.digest  # a file that could not be read may be readable next time
    ]
    with suppress(sqlite3.Error):  # no room to remember it: it is read again next time
        memory.executemany(_INSERT, rows)


def _packed(key: _Key, known: Look) -> bytes:
    values = (known.digest, bool(known.pixels), known.pixels, known.height, known.width, *known.means)
    content = _LOOK.pack(*values, known.scene) + known.fault.encode()
    return _checksum(key, content) + content


def _unpacked(key: _Key, packed: bytes) -> Look | None:
    if not isinstance(packed, bytes) or _checksum(key, packed[_CHECK:]) != packed[:_CHECK]:
        return None
    digest, has_pixels, pixels, height, width, *means, scene = _LOOK.unpack_from(packed, _CHECK)
    fault = packed[_CHECK + _LOOK.size :].decode()
    return Look(digest, pixels if has_pixels else b"", height, width, tuple(means), scene, fault)


def _checksum(key: _Key, content: bytes) -> bytes:
    return blake2b(repr(key).encode() + content, digest_size=_CHECK).digest()


def _make_safe(memory: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        memory.commit()
