"""One file → its pixels, and what one reading of its bytes tells about it.

A reader that trains on a damaged image is worse than one that stops: OpenCV fills what a truncated
JPEG lacks with grey and says nothing, and asks for 1.2 GB when a header promises 20,000 × 20,000
pixels. So the bytes are looked at before they are decoded, and there are two ways to decode them:

* `checked`, for `collect`, `split` and `tests`, which meet an image for the first time: the format by
  content and not by name, the size in the header, every PNG checksum, every code of a JPEG, the length
  that a BMP, a WebP or a TIFF says it has.
* `decode`, for training and extraction, which meet it again and again: what costs a few microseconds of
  that (format, size, the end of a JPEG); libpng sums up a PNG by itself. The pixels are the same.

What is accepted, and what it becomes (always uint8 [H, W, 3], RGB): greyscale is repeated three
times; a palette is looked up; alpha is dropped; of 16 bits the upper 8 stay; CMYK is converted; an
EXIF rotation is ignored, as the original's reader does, so pixels stay as stored.
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from naic_reid.data import jpeg
from naic_reid.errors import ReidError

Pixels = NDArray[np.uint8]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MIN_SIDE = 8  # pixels; nothing smaller shows a person
MAX_PIXELS = 1 << 26  # of the header; 200 MB when decoded
MAX_BYTES = 1 << 28  # of the file

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}  # first bytes → order of all others
_ORIENTATION = [274, 3, 1]  # number, type and count of the tag
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xD9), 0xFF))  # 0xFF fills up
_END = b"\xff\xd9"
_MOST_SEGMENTS = 10_000  # before the first scan; a photograph has about ten


class Look(NamedTuple):
    """What one reading of an image file tells.

    `digest` and `pixels` are BLAKE2b, 128 bits, of the file's bytes and of shape and decoded RGB;
    `means` are the channels' averages in the order B, G, R; `scene` is a 64-bit difference hash,
    close (in bits) for the same scene re-compressed or resized. Without decoding, `pixels` is empty
    and `means` and `scene` are zero. `fault` says why the file is no usable image; empty: it is one.
    """

    digest: bytes = b""
    pixels: bytes = b""
    height: int = 0
    width: int = 0
    means: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scene: int = 0
    fault: str = ""


def read(path: Path, digest: str = "") -> Pixels:
    """The image in a PNG, JPEG, BMP, TIFF or WebP file that `collect`, `split` or `tests` has seen.

    uint8 [H, W, 3] in RGB.

    Args:
        path: the file.
        digest: of the bytes that were seen then, as in `Look`, in hexadecimal digits; empty: not known.

    Raises:
        ReidError: the file is missing, damaged, too small, too large, of another format, or not what it was.
    """
    try:
        content = _content(path)
        if digest and blake2b(content, digest_size=16).hexdigest() != digest:
            raise ReidError(
                f"{path}: has changed since it was listed: put the image back, or run the workflow again, "
                "which makes anew what depends on it"
            )
        return decode(content)
    except OSError as error:
        raise ReidError(f"{path}: {_reason(error)}; put the image there or take it off its list") from error
    except ValueError as error:
        raise ReidError(f"{path}: {error}; replace the image or take it off its list") from error


def look(path: Path | str, *, with_pixels: bool = True) -> Look:
    """What the file's bytes tell, read once; never an error: what is wrong stands in `fault`.

    Args:
        path: the image file.
        with_pixels: decode it; else only the bytes are hashed and the header is looked at.
    """
    digest = b""
    try:
        content = _content(path)
        digest = blake2b(content, digest_size=16).digest()
        if not with_pixels:
            height, width = header(content)
            return Look(digest, b"", height, width)
        image = checked(content)
    except OSError as error:
        return Look(digest, fault=_reason(error))
    except ValueError as error:
        return Look(digest, fault=str(error))
    height, width = image.shape[:2]
    shape = np.array((height, width), "<u4").tobytes()
    pixels = blake2b(shape + image.tobytes(), digest_size=16).digest()
    red, green, blue, _ = cv2.sumElems(image)  # whole numbers: the quotient is the exact mean, rounded once
    area = height * width
    return Look(digest, pixels, height, width, (blue / area, green / area, red / area), _scene(image))


def checked(content: bytes) -> Pixels:
    """The image in the bytes of a file, uint8 [H, W, 3] in RGB, after all that can be checked.

    Raises:
        ValueError: why it is not a whole image of usable size.
    """
    header(content)
    _require_whole(content)
    return _decoded(content)


def decode(content: bytes) -> Pixels:
    """The pixels that `checked` gives, without what takes long to check.

    Raises:
        ValueError: why it is not a whole image of usable size.
    """
    header(content)
    if content.startswith(_JPEG):
        _require_end(content)
    try:
        return _decoded(content)
    except ValueError:
        _require_whole(content)  # names what is wrong, where it can
        raise


def _decoded(content: bytes) -> Pixels:
    content = _as_stored(content) if content[:4] in _TIFF else content
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError("out of memory while decoding") from error
        raise ValueError("cannot be decoded") from error
    if image is None:
        raise ValueError("cannot be decoded")
    return np.asarray(image, np.uint8)


def header(content: bytes) -> tuple[int, int]:
    """Height and width as the first bytes state them.

    Raises:
        ValueError: none of the known formats, or a size that is no person's picture.
    """
    if not content:
        raise ValueError("is empty")
    if content.startswith(_PNG):
        if content[12:16] != b"IHDR" or len(content) < 24:
            raise ValueError("is a damaged PNG: no header")
        width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    elif content.startswith(_JPEG):
        height, width, _ = _jpeg_header(content)
    elif other := next((read for magic, read in _OTHERS.items() if content.startswith(magic)), None):
        height, width = other(content)
    else:
        raise ValueError(f"is neither PNG nor JPEG, BMP, TIFF or WebP: it begins with {content[:8]!r}")
    if height * width > MAX_PIXELS:
        raise ValueError(f"is {width} × {height} pixels by its header, more than {MAX_PIXELS:,} in all")
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"is only {width} × {height} pixels; at least {MIN_SIDE} × {MIN_SIDE} are needed")
    return height, width


def _content(path: Path | str) -> bytes:
    # Plain system calls: at a million small files the conveniences of `open` cost as much as reading.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe must not hold us up
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("is not a regular file")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"is a file of {about.st_size:,} bytes, more than {MAX_BYTES:,}")
        content = os.read(descriptor, about.st_size + 1)
        while more := os.read(descriptor, 1 << 20):  # as good as never: grown, or given in parts
            content += more
        return content
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def _require_whole(content: bytes) -> None:
    """What can be told about an image without decoding it; its header is sound."""
    if content.startswith(_PNG):
        _require_chunks(content)
    elif content.startswith(_JPEG):
        jpeg.check(content)


def _require_chunks(content: bytes) -> None:
    """Every chunk is there, whole, up to the last."""
    view = memoryview(content)
    at = len(_PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 12 + length
        if end > len(content):
            break
        kind = content[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            raise ValueError(f"is a damaged PNG: wrong checksum in {kind.decode('latin-1')}")
        if kind == b"IEND":
            return
        at = end
    raise ValueError("is a truncated PNG")


def _jpeg_header(content: bytes) -> tuple[int, int, int]:
    """Height and width of a JPEG, and where its first scan begins: behind the thumbnails of its header."""
    size: tuple[int, int] | None = None
    at = 2
    for _ in range(_MOST_SEGMENTS):
        at = content.find(b"\xff", at)
        if at < 0 or at + 9 > len(content):
            break
        code = content[at + 1]
        if code == _SCAN:
            if size is None:
                break
            return *size, at
        if code in _WITHOUT_LENGTH:
            at += 1 if code == 0xFF else 2
            continue
        if code in _FRAMES:
            size = (_word(content, at + 5), _word(content, at + 7))
        at += 2 + _word(content, at + 2)
    raise ValueError("is a truncated JPEG" if size else "is a damaged JPEG: no size")


def _word(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 2], "big")


def _require_end(content: bytes) -> None:
    # Searched from the end of the bytes, where a whole file has it. Within a scan FF D9 is nothing else.
    if content.rfind(_END, _jpeg_header(content)[2]) < 0:
        raise ValueError("is a truncated JPEG")


def _bmp_size(content: bytes) -> tuple[int, int]:
    if len(content) < 26 or len(content) < int.from_bytes(content[2:6], "little"):
        raise ValueError("is a truncated BMP")
    old = content[14:18] == b"\x0c\0\0\0"  # of OS/2
    width, height = struct.unpack("<hh" if old else "<ii", content[18 : 22 if old else 26])
    return abs(height), abs(width)


def _webp_size(content: bytes) -> tuple[int, int]:
    if len(content) < 30 or len(content) < int.from_bytes(content[4:8], "little") + 8:
        raise ValueError("is a truncated WebP")
    kind = content[12:16]
    if kind == b"VP8X":
        return tuple(int.from_bytes(content[at : at + 3], "little") + 1 for at in (27, 24))  # type: ignore[return-value]
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = struct.unpack("<HH", content[26:30])
    return height & 0x3FFF, width & 0x3FFF


def _tiff_size(content: bytes) -> tuple[int, int]:
    """Of the first picture, all of whose strips or tiles must lie within the bytes."""
    order = _TIFF[content[:4]]
    try:
        tags = dict(_tiff_tags(content, order))
        ends = [
            start + length
            for starts, lengths in ((273, 279), (324, 325))
            for start, length in zip(tags.get(starts, ()), tags.get(lengths, ()), strict=True)
        ]
        height, width = tags[257][0], tags[256][0]
    except (struct.error, KeyError, IndexError, ValueError) as error:
        raise ValueError("is a damaged TIFF: no whole table of its picture") from error
    if not ends or max(ends) > len(content):
        raise ValueError("is a truncated TIFF")
    return height, width


def _tiff_tags(content: bytes, order: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Number and values of the first picture's tags that hold whole numbers of 16 or 32 bits."""
    for entry, tag, kind, count in _tiff_entries(content, order):
        letter = {3: "H", 4: "I"}.get(kind)
        if letter and count * struct.calcsize(letter) <= len(content):
            inside = count * struct.calcsize(letter) <= 4
            place = entry + 8 if inside else struct.unpack_from(f"{order}I", content, entry + 8)[0]
            yield tag, struct.unpack_from(f"{order}{count}{letter}", content, place)


def _tiff_entries(content: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Place, number, type and count of the first picture's tags."""
    (at,) = struct.unpack_from(f"{order}I", content, 4)
    (num,) = struct.unpack_from(f"{order}H", content, at)
    for entry in range(at + 2, at + 2 + 12 * num, 12):
        yield entry, *struct.unpack_from(f"{order}HHI", content, entry)


def _as_stored(content: bytes) -> bytes:
    """A sound TIFF that says it lies upright: OpenCV turns others, whatever it is told."""
    order = _TIFF[content[:4]]
    for entry, *tag in _tiff_entries(content, order):
        if tag == _ORIENTATION:
            return content[: entry + 8] + struct.pack(f"{order}H", 1) + content[entry + 10 :]
    return content


_OTHERS = {b"BM": _bmp_size, b"RIFF": _webp_size, **dict.fromkeys(_TIFF, _tiff_size)}


def _scene(image: Pixels) -> int:
    """Signs of horizontal differences of a 9 × 8 grey thumbnail, as 64 bits."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    # In two steps, the second by whole numbers: OpenCV's area mean is slow by fractions.
    sampled = cv2.resize(grey, (36, 32), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(sampled, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")
