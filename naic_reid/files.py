"""Files that are there whole or not at all, and their digests."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from naic_reid.errors import ReidError

MEMORY = "NAIC_REID_DIGESTS"
"""The variable of the environment that names the folder of known digests."""
_TICK = (
    50_000_000  # nanoseconds; file systems take their times from a clock that moves every few milliseconds
)
_known: dict[str, str] = {}  # what a file is known by → its digest
_REMEDY = "free space or mend the permissions, then run again; nothing was changed"
_WRITERS = ("inline_container.cc", "PytorchStreamWriter")
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


@contextmanager
def streamed(path: Path) -> Iterator["Stream"]:
    """Where to write a file from its front to its back, that is there whole or not at all, as `whole`.

    Its digest is taken on the way, so that nobody has to read the file to know it.
    """
    with whole(path, remembered=False) as unfinished, unfinished.open("wb") as handle:
        stream = Stream(handle, hashed=_is_remembered(path))
        yield stream
    stream.remember(path)


class Stream:
    """What `streamed` gives to write to."""

    def __init__(self, handle: IO[bytes], *, hashed: bool) -> None:
        self._handle = handle
        self._state = hashlib.blake2b(digest_size=16) if hashed else None

    def write(self, content: bytes) -> int:
        if self._state is not None:
            self._state.update(content)
        return self._handle.write(content)

    def flush(self) -> None:
        self._handle.flush()

    def remember(self, path: Path) -> None:
        """Let the digest be known, if it was taken, of the file that was written, where it lies now."""
        if self._state is not None:
            with suppress(OSError):
                _remember(_about(path), self._state.hexdigest())


@contextmanager
def whole(path: Path, *, folder: bool = False, remembered: bool = True) -> Iterator[Path]:
    """A temporary place beside `path` that becomes `path` in one step when the block ends well.

    When the block raises, nothing is left and what stood at `path` stays as it was. What a killed
    process left behind is swept up by the next writer of the same path.

    Args:
        path: where the finished file (or folder) shall stand; its parents are made.
        folder: the place is a folder, made empty; else a file that the block has to write.
        remembered: where processes share digests, let the file's be known.
    """
    unfinished = path.parent / f".{path.name}.{socket.gethostname()}.{os.getpid()}.part"
    try:
        _require_place(path, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        if folder:
            unfinished.mkdir()
        yield unfinished
        if folder:
            _replace_folder(unfinished, path)
        else:
            with unfinished.open("rb") as handle:
                os.fsync(handle.fileno())
            unfinished.replace(path)
            if remembered and _is_remembered(path):
                with suppress(OSError, ReidError):
                    _remember(_about(path), digest(path))
    except OSError as error:
        raise _explained(error, path) from error
    except RuntimeError as error:
        if any(name in str(error) for name in _WRITERS):  # PyTorch's writer tells no reason
            reason = "the disk is full, or a file may not grow so large"
            raise ReidError(f"{path}: cannot be written ({reason}): {_REMEDY}") from error
        raise
    finally:
        with suppress(OSError):
            _remove(unfinished)


def _require_place(path: Path, folder: bool) -> None:
    """Refuse to put a file where a folder stands, or what a rename would destroy: a pipe, a device."""
    if not path.name or (path.is_dir() and not folder):
        raise ReidError(f"{path}: is a folder; name a file in it")
    # /dev/stdout and its like are links into /proc: the link would be replaced, and nobody told.
    stream = path.is_symlink() and str(path.readlink()).startswith("/proc/")
    if stream or (path.exists() and not path.is_file() and not path.is_dir()):
        what = "a stream" if stream else _kind(path.stat().st_mode)
        raise ReidError(f"{path}: is {what}; name a file, which is written whole or not at all")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def regular(path: Path) -> Path:
    """The path as given, if a regular file stands there, links followed; nothing is opened.

    Reading a named pipe would wait for a writer who may never come, and a device may have no end.

    Raises:
        ReidError: a folder, a named pipe, a socket or a device stands there.
        OSError: nothing does, or it cannot be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ReidError(f"{path}: is {_kind(mode)}; a regular file belongs here")
    return path


def json_in(path: Path, **how: Any) -> Any:
    """The content of a JSON file; `how` is for `json.loads`.

    Raises:
        ReidError: no regular file stands there.
        OSError: nothing does, or it cannot be read.
        ValueError: it is not JSON in UTF-8, or nested deeper than anything of ours.
    """
    try:
        return json.loads(content(path).decode(), **how)
    except RecursionError as error:
        raise ValueError("its values are nested too deep") from error


def require_sound(archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose bytes are not those of its checksums: torch looks at none that it wrote.

    Raises:
        ValueError: they are not; the message names the member.
    """
    if (damaged := archive.testzip()) is not None:
        raise ValueError(f"bad CRC-32 for {damaged}")


def digest(path: Path) -> str:
    """BLAKE2b of the file's bytes, 128 bits, as 32 hexadecimal digits.

    Raises:
        ReidError: the file cannot be read, or is no regular file.
    """
    state = hashlib.blake2b(digest_size=16)
    try:
        with regular(path).open("rb") as handle:
            while block := handle.read(1 << 20):
                state.update(block)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error.strerror or error}") from error
    return state.hexdigest()


def digest_of(read: bytes) -> str:
    """As `digest`, of bytes that were read."""
    return hashlib.blake2b(read, digest_size=16).hexdigest()


def apart(written: Iterable[Path | None], read: Iterable[Path]) -> None:
    """Refuse to write what is read, or two things into one file.

    Raises:
        ReidError: a file to be written is one of those to be read or written, by whatever name.
    """
    inputs, outputs = {_identity(path) for path in read}, set[str]()
    for path in written:
        if path is None:
            continue
        if (found := _identity(path)) in inputs:
            raise ReidError(f"{path}: is read by this command, and would be overwritten: name another file")
        if found in outputs:
            raise ReidError(f"{path}: is written twice by this command: name another file")
        outputs.add(found)


def _identity(path: Path) -> str:
    """What two names of one file have in common."""
    try:
        return os.path.realpath(path)
    except ValueError as error:
        raise ReidError(f"{str(path)!r}: no file can be called so: {error}") from error


def known_digest(path: Path) -> str:
    """As `digest`, but a file that is as it was when it was last read is not read again.

    It is known again by its place, size, times and inode. Known are the files that this process read and,
    where the environment's `NAIC_REID_DIGESTS` names a folder, those of all processes that share it.

    Raises:
        ReidError: the file cannot be read, or is no regular file.
    """
    try:
        about = _about(path)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found := _recalled(about):
        return found
    found = digest(path)
    _remember_unchanged(path, about, found)
    return found


def content(path: Path) -> bytes:
    """The file's bytes, in one reading that also tells its digest to `known_digest`.

    Raises:
        ReidError: no regular file stands there.
        OSError: it cannot be read.
    """
    about = _about(path)
    read = regular(path).read_bytes()
    if not _recalled(about):
        _remember_unchanged(path, about, digest_of(read))
    return read


def forget_digests() -> None:
    """Forget what this process knows of files."""
    _known.clear()


def _about(path: Path) -> str:
    """What a file is known by; whatever changes its content changes this, its own times included."""
    at = path.stat()
    numbers = (at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino, at.st_dev)
    return f"{os.path.realpath(path)}\n{' '.join(map(str, numbers))}"


def _place(about: str) -> Path | None:
    """The file in the shared folder that knows a file's digest; none: nothing is shared."""
    folder = os.environ.get(MEMORY)
    name = hashlib.blake2b(about.partition("\n")[0].encode(), digest_size=16).hexdigest()
    return Path(folder, name) if folder else None


def _recalled(about: str) -> str:
    if found := _known.get(about, ""):
        return found
    with suppress(OSError, ValueError):
        text, _, found = (_place(about) or Path()).read_text(encoding="utf-8").rpartition("\n")
        if text == about and re.fullmatch("[0-9a-f]{32}", found):
            return _known.setdefault(about, found)
    return ""


def _remember_unchanged(path: Path, about: str, found: str) -> None:
    """Remember the digest that was found when the file was what is said about it, if it still is.

    A file changed twice within a tick of the clock looks the same after both: it is not believed yet.
    """
    with suppress(OSError):
        if _about(path) == about and time.time_ns() - path.stat().st_ctime_ns > _TICK:
            _remember(about, found)


def _remember(about: str, found: str) -> None:
    _known[about] = found
    if place := _place(about):
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f".{place.name}.{socket.gethostname()}.{os.getpid()}.part")
        unfinished.write_text(f"{about}\n{found}", encoding="utf-8")
        unfinished.replace(place)


def _is_remembered(path: Path) -> bool:
    """Whether readers of what is written here shall know its digest; scratch files have none."""
    memory = os.environ.get(MEMORY)
    return bool(memory) and not absolute(path).is_relative_to(absolute(Path(memory or "")).parent)


def absolute(path: Path) -> Path:
    """The path from the root on, without `..`; links in it stay as they are called."""
    return Path(os.path.normpath(path.absolute()))


def _explained(error: OSError, path: Path) -> Exception:
    """What the user can mend is said in a sentence; an error about another file stays as it is."""
    named = Path(os.fsdecode(error.filename or "."))
    around = named.is_relative_to(path.parent) or path.is_relative_to(named)
    about_this = bool(error.filename) and around
    short = error.errno is None and " requested and " in str(error)  # NumPy's words for a write cut off
    if about_this or short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        if dangling(named):
            return ReidError(f"{path}: cannot be written: {named} is a symbolic link that leads nowhere")
        return ReidError(f"{path}: cannot be written ({error.strerror or error}): {_REMEDY}")
    return error


def dangling(path: Path) -> bool:
    """Whether a symbolic link that leads nowhere stands there."""
    try:
        return path.is_symlink() and not path.exists()
    except OSError:  # a name that is too long for one
        return False


def _sweep(path: Path) -> None:
    """Remove parts of `path` whose writer, on this host, is dead."""
    for unfinished in path.parent.glob(f".{glob.escape(path.name)}.{socket.gethostname()}.*.part"):
        pid = unfinished.name.split(".")[-2]
        if pid.isdigit() and not _alive(int(pid)):
            _remove(unfinished)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _replace_folder(unfinished: Path, path: Path) -> None:
    # A folder cannot be renamed over a filled one: the old one steps aside first.
    _remove(path)
    unfinished.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
