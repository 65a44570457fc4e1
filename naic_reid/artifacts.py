"""The nouns: what lies between two stages, each a type with a file format that checks itself.

Letters for shapes, here and in every docstring of the package:
N rows, Q queries, G gallery images, D feature length, K neighbours, B batch, P identities in a
batch, C classes, H and W pixels. `row` counts queries first, then the gallery: 0 … Q+G−1.

A value checks itself when built; reading builds; so a file that was damaged, or made by other means
and wrong, is refused with its name. Tables are TSV with a digest in their first line; arrays are
uncompressed `.npz` (zip carries a CRC for each array), written without dates, so that equal content
gives equal bytes, and never with pickles. `Features` may be larger than memory: its values are
mapped, not read.
"""

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from naic_reid import __version__
from naic_reid.errors import ReidError
from naic_reid.files import digest, whole

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
_T = TypeVar("_T")

UNIT_TOLERANCE = 1e-3
NETWORK_OPTIONS = ("stripes", "standardise")
"""Settings of a network that nothing names while they are off: neither its record nor its checkpoint."""
JUNK, DISTRACTOR = "junk", "distractor"
"""Marks of an `ImageList`'s rows."""
_LATER_COLUMNS = {"camera": "cameras", "mark": "marks", "group": "groups"}
_COLUMNS = {"path": "paths", "identity": "identities"} | _LATER_COLUMNS  # of an ImageList's file → its fields
_BLOCK = 1 << 14  # rows looked at in one go when a large array is checked
_LONGEST_RECORD = 1 << 24  # bytes
_PLAIN = re.compile(r"((?!\.\.?/)[^/\\\t\n\r]+/)*(?!\.\.?\Z)[^/\\\t\n\r]+")  # no empty part, no . or ..
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first date: files carry no time of their own


@dataclass(frozen=True)
class MadeBy:
    """What made an artefact: enough to repeat it, and to notice that something beneath it changed."""

    stage: str = ""
    revision: int = 1
    version: str = __version__
    settings: str = "{}"
    """Canonical JSON of the settings that mattered."""
    inputs: tuple[tuple[str, str], ...] = ()
    """(path as it was given, digest of its bytes), in the order read."""

    @classmethod
    def of(cls, stage: str, revision: int, settings: Mapping[str, Any], inputs: Sequence[Path]) -> Self:
        """The record of a stage that ran with these settings (sections or plain values) on these files."""
        read = tuple((path.as_posix(), digest(path)) for path in inputs)
        return cls(stage, revision, __version__, canonical(settings), read)

    def to_json(self) -> str:
        return canonical(
            {
                "stage": self.stage,
                "revision": self.revision,
                "version": self.version,
                "settings": self.settings,
                "inputs": [list(pair) for pair in self.inputs],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        raw = json.loads(text)
        inputs = tuple((str(path), str(value)) for path, value in raw["inputs"])
        return cls(raw["stage"], raw["revision"], raw["version"], raw["settings"], inputs)


def canonical(settings: Mapping[str, Any]) -> str:
    """One JSON text for equal settings: sorted keys, no spaces; sections are dumped by their keys."""
    return json.dumps(
        settings,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        default=lambda section: section.model_dump(mode="json", by_alias=True),
    )


@dataclass(frozen=True)
class ImageList:
    """Images by path relative to the data folder, whom they show, and which camera saw them.

    All columns are strings, one for each of N images; empty: unknown, or nothing to say. A column left out
    is empty. `identities` are `source/label`, `cameras` are `source/camera`. `marks` single out what a
    protocol treats apart: `JUNK` (published as person −1: neither right nor wrong for any query) and
    `DISTRACTOR` (published as person 0: nobody that is asked for, always wrong). `groups` are the numbered
    parts of a test set that is scored part by part, as Partial-REID.
    """

    paths: tuple[str, ...]
    identities: tuple[str, ...]
    made_by: MadeBy = field(default_factory=MadeBy)
    cameras: tuple[str, ...] = field(default=(), kw_only=True)
    marks: tuple[str, ...] = field(default=(), kw_only=True)
    groups: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for name in _LATER_COLUMNS.values():
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * len(self.paths))
            _hold(len(getattr(self, name)) == len(self.paths), f"as many {name} as paths")
        _hold(len(self.paths) == len(self.identities), "as many identities as paths")
        _hold(all(a < b for a, b in zip(self.paths, self.paths[1:], strict=False)), "sorted, unique paths")
        wrong = next((path for path in self.paths if not _PLAIN.fullmatch(path)), None)
        _hold(wrong is None, f"plain relative paths, which {wrong!r} is not")
        for column in (self.identities, self.cameras, self.groups):
            _hold(not any(set(text) & set("\t\n\r") for text in set(column)), "columns without tabs")
        strange = sorted(set(self.marks) - {"", JUNK, DISTRACTOR})
        _hold(not strange, f"marks {JUNK} and {DISTRACTOR}, which {strange[:1]} is not")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> tuple[str, ...]:
        """File names without folders, as submissions list them."""
        return tuple(path.rpartition("/")[2] for path in self.paths)

    def rows(self, chosen: Sequence[int], made_by: MadeBy) -> Self:
        """The list of these rows, ascending, under another record."""
        columns = {name: tuple(getattr(self, name)[row] for row in chosen) for name in _COLUMNS.values()}
        return type(self)(**columns, made_by=made_by)

    def write(self, path: Path) -> None:
        """A TSV file. Cameras, marks and groups are columns only where an image has one."""
        used = [name for name in _COLUMNS if name not in _LATER_COLUMNS or any(getattr(self, _COLUMNS[name]))]
        columns = [getattr(self, _COLUMNS[name]) for name in used]
        rows = ["\t".join(row) for row in zip(*columns, strict=True)]
        write_table(path, "ImageList", self.made_by, used, rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, rows = read_table(path, "ImageList", list(_COLUMNS), optional=len(_LATER_COLUMNS))
        columns = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
        named = dict(zip(_COLUMNS.values(), map(tuple, columns), strict=True))
        return _built(path, lambda: cls(**named, made_by=made_by))


@dataclass(frozen=True)
class Features:
    """One unit-length row per image of a list: `names` (N), `values` float32 [N, D]."""

    names: tuple[str, ...]
    values: Floats
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        _hold(self.values.ndim == 2 and self.values.dtype == np.float32, "float32 values of shape [N, D]")
        _hold(len(self.names) == len(self.values), "as many names as rows")
        _hold(len(set(self.names)) == len(self.names), "unique names")
        for start in range(0, len(self.values), _BLOCK):
            block = self.values[start : start + _BLOCK]
            square = np.einsum("nd,nd->n", block, block)
            wrong = np.flatnonzero(~(np.abs(np.sqrt(square) - 1) <= UNIT_TOLERANCE))
            if len(wrong):
                name = self.names[start + int(wrong[0])]
                _hold(False, f"finite rows of length 1, which the row of {name} is not")

    def write(self, path: Path) -> None:
        with streamed_features(path, self.names, self.values.shape[1], self.made_by) as append:
            append(self.values)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's features; `values` is mapped read-only from the file, not held in memory."""
        made_by, arrays = read_arrays(path, "Features", mapped="values")
        return _built(path, lambda: cls(_strings(arrays["names"]), arrays["values"], made_by))


@contextmanager
def streamed_features(
    path: Path,
    names: Sequence[str],
    dimension: int,
    made_by: MadeBy,
    *,
    kind: str = "Features",
    more: Mapping[str, NDArray[Any]] | None = None,
) -> Iterator[Callable[[Floats], None]]:
    """A function that appends blocks of rows [·, D] to a `Features` file, whole when the block ends.

    Memory does not grow with N. The rows must add up to one per name. A file of another `kind` holds
    `more` arrays beside names and values.
    """
    written = 0
    with whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        _put(archive, "type", np.array(kind))
        _put(archive, "made_by", np.array(made_by.to_json()))
        for name, values in (more or {}).items():
            _put(archive, name, values)
        _put(archive, "names", np.array(list(names), dtype=np.str_))
        with archive.open(zipfile.ZipInfo("values.npy", _EPOCH), "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(names), dimension)}
            np.lib.format.write_array_header_2_0(member, header)

            def append(rows: Floats) -> None:
                nonlocal written
                assert rows.shape[1:] == (dimension,), (rows.shape, dimension)
                for start in range(0, len(rows), _BLOCK):
                    member.write(np.ascontiguousarray(rows[start : start + _BLOCK], dtype="<f4").data)
                written += len(rows)

            yield append
            assert written == len(names), (written, len(names))


@dataclass(frozen=True)
class Neighbours:
    """The K nearest rows of every row within query ∪ gallery, nearest first.

    `rows` int32 [N, K] points into rows; `distances` float32 [N, K] are squared Euclidean, 2 − 2·cos;
    `farthest` float32 [N] is the largest distance in the whole row. A row begins with itself; equal
    distances are ordered by index.
    """

    rows: Ints
    distances: Floats
    farthest: Floats
    num_query: int
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        num = len(self.rows)
        _hold(self.rows.ndim == 2 and self.rows.dtype == np.int32, "int32 rows of shape [N, K]")
        _hold(self.distances.shape == self.rows.shape, "as many distances as neighbours")
        _hold(self.farthest.shape == (num,) and 0 <= self.num_query <= num, "one farthest distance a row")
        _hold(
            bool(np.isfinite(self.distances).all() and np.isfinite(self.farthest).all()), "finite distances"
        )
        if num:
            _hold(bool((self.rows >= 0).all() and (self.rows < num).all()), "neighbours within the rows")
            _hold(bool((self.rows[:, 0] == np.arange(num)).all()), "rows that begin with themselves")
            _hold(_ascending(self.distances), "distances that never decrease")

    def write(self, path: Path) -> None:
        arrays = {"rows": self.rows, "distances": self.distances, "farthest": self.farthest}
        write_arrays(path, "Neighbours", self.made_by, arrays | {"num_query": np.array(self.num_query)})

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, a = read_arrays(path, "Neighbours")
        return _built(
            path, lambda: cls(a["rows"], a["distances"], a["farthest"], int(a["num_query"]), made_by)
        )


@dataclass(frozen=True)
class JaccardRows:
    """Similarity 1 − J of k-reciprocal encodings where they overlap, query × gallery.

    `similarity` is CSR float32 [Q, G] with sorted columns and values in (0, 1]; what is not stored is
    0. `farthest` float32 [Q] is each query's largest squared distance within query ∪ gallery.
    """

    similarity: sp.csr_array
    farthest: Floats
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        s = self.similarity
        _hold(s.dtype == np.float32 and self.farthest.shape == (s.shape[0],), "float32 similarity [Q, G]")
        _hold(bool(s.has_sorted_indices) and bool(s.has_canonical_format), "sorted, unique columns")
        _hold(bool((s.data > 0).all() and (s.data <= 1).all()), "similarities in (0, 1]")
        _hold(bool((s.indices >= 0).all() and (s.indices < s.shape[1]).all()), "columns within the gallery")
        _hold(bool(np.isfinite(self.farthest).all()), "finite farthest distances")

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """As they stand in the file."""
        s = self.similarity
        matrix = {"data": s.data, "indices": s.indices, "indptr": s.indptr, "shape": np.array(s.shape)}
        return matrix | {"farthest": self.farthest}

    def write(self, path: Path) -> None:
        write_arrays(path, "JaccardRows", self.made_by, self.arrays)

    @classmethod
    def read(cls, path: Path) -> "JaccardRows":
        made_by, a = read_arrays(path, "JaccardRows")

        def build() -> JaccardRows:
            csr = sp.csr_array((a["data"], a["indices"], a["indptr"]), shape=tuple(a["shape"]))
            csr.check_format(full_check=True)
            return cls(csr, a["farthest"], made_by)

        return _built(path, build)


@dataclass(frozen=True)
class Ranking:
    """The best of the gallery for each query, nearest first.

    `queries` (Q) and `gallery` (G) are names; `indices` int32 [Q, R] points into the gallery;
    `distances` float32 [Q, R] never decrease along a row. R is 200 unless the gallery is smaller.
    """

    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    indices: Ints
    distances: Floats
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        _hold(self.indices.ndim == 2 and self.indices.dtype == np.int32, "int32 indices of shape [Q, R]")
        _hold(self.indices.shape == self.distances.shape, "as many distances as indices")
        _hold(len(self.queries) == len(self.indices), "a row for each query")
        _hold(self.indices.shape[1] <= len(self.gallery), "no more columns than gallery images")
        _hold(
            bool((self.indices >= 0).all() and (self.indices < len(self.gallery)).all()), "indices in range"
        )
        in_order = np.sort(self.indices, axis=1)
        _hold(bool((np.diff(in_order, axis=1) > 0).all()), "no image twice in a row")
        _hold(bool(np.isfinite(self.distances).all()) and _ascending(self.distances), "ascending distances")

    def write(self, path: Path) -> None:
        names = {"queries": np.array(self.queries, np.str_), "gallery": np.array(self.gallery, np.str_)}
        arrays = names | {"indices": self.indices, "distances": self.distances}
        write_arrays(path, "Ranking", self.made_by, arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, a = read_arrays(path, "Ranking")
        return _built(
            path,
            lambda: cls(
                _strings(a["queries"]), _strings(a["gallery"]), a["indices"], a["distances"], made_by
            ),
        )


def write_table(path: Path, kind: str, made_by: MadeBy, header: list[str], rows: Sequence[str]) -> None:
    """A TSV file: a first line `# kind digest made_by`, a header line, then the rows as given.

    The digest is of all that follows it, the record included.
    """
    rest = "\n".join([made_by.to_json(), "\t".join(header), *rows, ""]).encode()
    with whole(path) as part:
        part.write_bytes(f"# {kind} {blake2b(rest, digest_size=16).hexdigest()} ".encode() + rest)


def read_table(
    path: Path, kind: str, header: list[str], *, optional: int = 0
) -> tuple[MadeBy, list[list[str]]]:
    """The record and the rows of a file that `write_table` wrote; refused when a byte differs.

    Of the header's last `optional` columns the file may lack any: they are then empty.
    """
    made_by, rows = stream_table(path, kind, header, optional=optional)
    return made_by, list(rows)


def stream_table(
    path: Path, kind: str, header: list[str], *, optional: int = 0
) -> tuple[MadeBy, Iterator[list[str]]]:
    """As `read_table`, but the rows are cut up one by one: for tables of a million."""
    try:
        mark, written, checksum, rest = (path.read_bytes().split(b" ", 3) + [b""] * 3)[:4]
        if mark != b"#":
            raise ValueError("its first line is no record")
        if written.decode() != kind:
            raise ValueError(f"it holds {written.decode()}")
        if blake2b(rest, digest_size=16).hexdigest().encode() != checksum:
            raise ValueError("its checksum does not match its content")
        made_by, columns, *lines = rest.decode().split("\n")[:-1]
        there = columns.split("\t")
        needed = header[: len(header) - optional]
        if [name for name in header if name in needed or name in there] != there:
            raise ValueError(f"its columns are not {', '.join(header)}")
        if any(line.count("\t") != len(there) - 1 for line in lines):
            raise ValueError(f"it has rows of more or fewer than {len(there)} columns")
        rows = (line.split("\t") for line in lines)
        if len(there) < len(header):
            place = [there.index(name) if name in there else -1 for name in header]
            rows = ([row[at] if at >= 0 else "" for at in place] for row in rows)
        return MadeBy.from_json(made_by), rows
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, kind, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def write_json(path: Path, kind: str, made_by: MadeBy, content: Mapping[str, Any]) -> None:
    """A JSON object with the content's keys, its `type`, its record and, last, a checksum of them all."""
    whole_content = {"type": kind, **content, "made_by": json.loads(made_by.to_json())}
    with whole(path) as part:
        checked = whole_content | {"checksum": _json_checksum(whole_content)}
        part.write_text(json.dumps(checked, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, kind: str) -> tuple[MadeBy, dict[str, Any]]:
    """The record and the content of a file that `write_json` wrote; refused when a value differs."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        checksum, written = content.pop("checksum"), content.pop("type")
        if written != kind:
            raise ValueError(f"it holds {written}")
        if checksum != _json_checksum({"type": kind, **content}):
            raise ValueError("its checksum does not match its content")
        return MadeBy.from_json(canonical(content.pop("made_by"))), content
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, kind, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _json_checksum(content: Mapping[str, Any]) -> str:
    return blake2b(canonical(content).encode(), digest_size=16).hexdigest()


def record(path: Path) -> MadeBy | None:
    """What made a table or a file of arrays, of whatever type; none where it is neither.

    Only as much of the file is read as that takes: its other content is not checked.

    Raises:
        ReidError: the record is damaged, or the file cannot be read.
    """
    try:
        with path.open("rb") as handle:
            first = handle.readline(_LONGEST_RECORD)
        if path.suffix == ".npz" and first.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                return MadeBy.from_json(str(_member(archive, archive.getinfo("made_by.npy"))))
        words = first.split(b" ", 3)
        if path.suffix == ".tsv" and words[0] == b"#" and len(words) == 4:
            return MadeBy.from_json(words[3].decode())
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # zipfile and NumPy raise whatever the damage leads to
        raise _damaged(path, "artefact", error) from error


def write_arrays(path: Path, kind: str, made_by: MadeBy, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An uncompressed `.npz` of a type's name, the record and the arrays, without dates."""
    with whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        _put(archive, "type", np.array(kind))
        _put(archive, "made_by", np.array(made_by.to_json()))
        for name, values in arrays.items():
            _put(archive, name, values)


def _put(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, values, allow_pickle=False)


def read_arrays(path: Path, kind: str, mapped: str = "") -> tuple[MadeBy, dict[str, NDArray[Any]]]:
    """Record and arrays of a file; CRCs are checked for all; `mapped` names one array not to hold."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                arrays[name] = _map(path, info) if name == mapped else _member(archive, info)
        if str(arrays.pop("type")) != kind:
            raise ValueError("it holds another type")
        return MadeBy.from_json(str(arrays.pop("made_by"))), arrays
    except MemoryError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # zipfile and NumPy raise whatever the damage leads to
        raise _damaged(path, kind, error) from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """The array, once its CRC was checked."""
    _stored(info)
    content = io.BytesIO(archive.read(info))
    _header(content, info)
    content.seek(0)
    found: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    return found


def _stored(info: zipfile.ZipInfo) -> None:
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed; write it uncompressed (numpy.savez)")


def _map(path: Path, info: zipfile.ZipInfo) -> NDArray[Any]:
    """The array at its place in the file, mapped read-only after its CRC was checked."""
    _stored(info)
    with path.open("rb") as handle:
        handle.seek(info.header_offset + 26)  # lengths of name and extra field in the local header
        name_length, extra_length = np.frombuffer(handle.read(4), "<u2")
        start = info.header_offset + 30 + int(name_length) + int(extra_length)
        handle.seek(start)
        if _crc(handle, info.file_size) != info.CRC:
            raise ValueError(f"bad CRC-32 for {info.filename}")
        handle.seek(start)
        shape, fortran, dtype = _header(handle, info)
        if fortran:
            raise ValueError(f"{info.filename} is not a C-ordered array")
        if 0 in shape:
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype=dtype, mode="r", offset=handle.tell(), shape=shape)


def _header(handle: IO[bytes], info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array whose content is as long as these say, before room is made for it."""
    start = handle.tell()
    version = np.lib.format.read_magic(handle)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = readers[version](handle)
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds objects")
    if math.prod(shape) * dtype.itemsize != info.file_size - (handle.tell() - start):
        raise ValueError(f"{info.filename} is not as long as its shape says")
    return shape, fortran, dtype


def _crc(handle: IO[bytes], length: int) -> int:
    crc = 0
    while length > 0:
        block = handle.read(min(length, 1 << 22))
        if not block:
            raise EOFError("the file ends too early")
        crc = zlib.crc32(block, crc)
        length -= len(block)
    return crc


def _strings(values: NDArray[Any]) -> tuple[str, ...]:
    return tuple(values.tolist())


def _ascending(values: Floats) -> bool:
    return bool((np.diff(values, axis=1) >= 0).all())


def _hold(condition: bool, promise: str) -> None:
    if not condition:
        raise ValueError(f"it must have {promise}")


def _built(path: Path, build: Callable[[], _T]) -> _T:
    try:
        return build()
    except MemoryError:
        raise
    except Exception as error:  # NumPy and SciPy raise whatever the damage leads to
        raise _damaged(path, "this type", error) from error


def _damaged(path: Path, kind: str, error: Exception) -> ReidError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return ReidError(f"{path}: not a whole {kind} file: {reason}; delete it and run again")


def _unreadable(path: Path, error: OSError) -> ReidError:
    return ReidError(f"{path}: cannot be read: {error.strerror or error}")
