"""Arrays: uncompressed `.npz` without dates and pickles, each array under its CRC, one of them mapped."""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from naic_reid.artifacts.checks import damaged, unreadable
from naic_reid.artifacts.made_by import MadeBy
from naic_reid.errors import ReidError
from naic_reid.files import regular, whole

FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # zip's first date: files carry no time of their own


def write_arrays(path: Path, kind: str, made_by: MadeBy, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An uncompressed `.npz` of a type's name, the record and the arrays, without dates."""
    with whole(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        put(archive, "type", np.array(kind))
        put(archive, "made_by", np.array(made_by.to_json()))
        for name, values in arrays.items():
            put(archive, name, values)


def put(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", FIRST_DATE), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, values, allow_pickle=False)


def read_arrays(path: Path, kind: str, mapped: str = "") -> tuple[MadeBy, dict[str, NDArray[Any]]]:
    """Record and arrays of a file; CRCs are checked for all; `mapped` names one array not to hold."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                arrays[name] = _map(path, info) if name == mapped else member(archive, info)
        if str(arrays.pop("type")) != kind:
            raise ValueError("it holds another type")
        return MadeBy.from_json(str(arrays.pop("made_by"))), arrays
    except (MemoryError, ReidError):
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # zipfile and NumPy raise whatever the damage leads to
        raise damaged(path, kind, error) from error


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
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
    with regular(path).open("rb") as handle:
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
