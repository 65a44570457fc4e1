"""Whether a JPEG is whole: its segments one after the other, and the codes of its scans.

Decoders fill what is missing, repair what is damaged and say nothing. So the scans of baseline, extended
and progressive files are followed code by code (`huffman`). What nobody can see: a bit that changed into
another valid one (half of a scan are values), a table that is not the encoder's, and what lies in remarks
and thumbnails. Arithmetic-coded and lossless files are looked at as far as their segments go.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from naic_reid.data import huffman

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))
_PROGRESSIVE = 0xC2
_LONGEST_HEAD = 4096  # bytes before a scan worth remembering: a thumbnail in them is another each time
_Asked = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], int, int]
"""What `huffman.only_scan` takes behind the data."""
_DHT, _EOI, _SOS, _DQT, _DRI = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
_ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))  # markers without a segment, and what is none
_WRONG = {
    huffman.NO_CODE: "hold what is no code",
    huffman.BEYOND_BLOCK: "have more coefficients than a block",
    huffman.BEYOND_RANGE: "hold a value that no image has",
    huffman.NO_IMAGE: "are one value throughout",
    huffman.TOO_SHORT: "end before the image does",
    huffman.TOO_LONG: "go on after the image has ended",
}


class Component(NamedTuple):
    """A channel of a frame, and where its blocks lie among all of the frame's."""

    across: int
    """Blocks in a unit of an interleaved scan, in a row; `down`: in a column."""
    down: int
    quantisation: int
    blocks: tuple[int, int]
    """Across and down, as far as the picture goes."""
    first: int
    stride: int
    """Blocks stored of each row; `rows` of them."""
    rows: int

    @property
    def places(self) -> NDArray[np.int64]:
        """The blocks of the picture among all of the frame's, line by line."""
        wide, high = self.blocks
        return (self.first + self.stride * np.arange(high)[:, None] + np.arange(wide)).ravel()


class Frame(NamedTuple):
    """What the frame's header says; of kinds that are not followed, only which."""

    kind: int
    units: tuple[int, int] = (0, 0)
    """Across and down, of interleaved scans."""
    components: dict[int, Component] = {}  # noqa: RUF012 (never written to)


class Scan(NamedTuple):
    """What a scan's header says, and its data."""

    names: bytes
    tables: bytes
    band: tuple[int, int]
    high: int
    low: int
    data: huffman.Ints
    intervals: huffman.Ints


@dataclass
class _Seen:
    """What the segments up to here have said."""

    frame: Frame | None = None
    tables: tuple[bytes, ...] = ()
    quantisations: tuple[bytes, ...] = ()
    restart: int = 0
    scans: int = 0
    known: dict[int, NDArray[np.int8]] = field(default_factory=dict)
    """Component → the lowest bit that is known of each coefficient; −1: none."""
    coefficients: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 64), np.int16))
    """Of a progressive frame, [blocks, 64]."""


def check(content: bytes) -> None:
    """Follow a JPEG up to its end marker.

    Raises:
        ValueError: what is wrong with it.
    """
    if _has_one_sound_scan(content):
        return
    seen = _Seen()
    at = 2
    while True:
        at = content.find(b"\xff", at)
        while content[at : at + 1] == b"\xff":
            at += 1
        if at < 0 or at >= len(content):
            raise ValueError("is a truncated JPEG")
        code = content[at]
        at += 1
        if code == _EOI:
            break
        if code in _ALONE:
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        segment = content[at + 2 : at + length]
        if length < 2 or len(segment) != length - 2:
            raise ValueError("is a truncated JPEG")
        at += length
        if code == _SOS:
            at = _scan(seen, segment, content, at)
        else:
            _told(seen, code, segment)
    _require_complete(seen)


def _has_one_sound_scan(content: bytes) -> bool:
    """Whether this is a whole baseline file of one scan, as nearly all are; no: nothing is known of it.

    What the bytes before the scan's data mean is remembered, for the files of a data set begin alike.
    """
    start = content.find(b"\xff\xda")
    begin = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    if start < 0 or begin > _LONGEST_HEAD:
        return False
    asked = _asked_of(content[:begin])
    if asked is None:
        return False
    fault, end = huffman.only_scan(np.frombuffer(content, np.uint8), begin, *asked)
    return not fault and content[end : end + 2] == b"\xff\xd9"


@lru_cache(maxsize=256)
def _asked_of(head: bytes) -> _Asked | None:
    """What the head of a file, up to its scan's data, says of a scan of all channels; None: not of such."""
    try:
        seen, segment = _begun(head)
        frame, names = seen.frame, segment[1:-3:2]
        if not (frame and frame.kind in _HUFFMAN - {_PROGRESSIVE} and seen.tables):
            return None
        if names != bytes(frame.components) or len(segment) != 4 + 2 * segment[0]:
            return None
        across, down = _units(frame, names)
        parts, quantisations = _parts(frame.components, names)
        tables = _tables(seen.tables, _named(segment[2:-3:2]))
        steps = _steps(seen.quantisations, quantisations)
    except ValueError:
        return None
    return parts, tables, steps, across * down, seen.restart


def _begun(head: bytes) -> tuple[_Seen, bytes]:
    """What the segments before the first scan say, and that scan's, which ends the bytes.

    Raises:
        ValueError: they are not one such segment after another, or one of them is damaged.
    """
    seen, at = _Seen(), 2
    while head[at : at + 1] == b"\xff":
        code, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        segment = head[at + 4 : at + 2 + length]
        if code in _ALONE or length < 2 or len(segment) != length - 2:
            break
        at += 2 + length
        if code == _SOS and at == len(head):
            return seen, segment
        _told(seen, code, segment)
    raise ValueError("no segment")


def _named(tables: bytes) -> tuple[int, ...]:
    """The DC and the AC table of each channel, as `_tables` calls them."""
    return tuple(kind for table in tables for kind in (table >> 4, 0x10 | table & 15))


def _told(seen: _Seen, code: int, segment: bytes) -> None:
    """Keep what a segment says of the scans to come."""
    if code in _FRAMES:
        if seen.frame:
            raise _damaged("two frames")
        seen.frame = _frame(code, segment)
        seen.known = {name: np.full(64, -1, np.int8) for name in seen.frame.components}
        if code == _PROGRESSIVE:
            blocks = sum(one.stride * one.rows for one in seen.frame.components.values())
            seen.coefficients = np.zeros((blocks, 64), np.int16)
    elif code == _DHT:
        seen.tables += (segment,)
    elif code == _DQT:
        seen.quantisations += (segment,)
    elif code == _DRI:
        seen.restart = int.from_bytes(segment, "big")


def _scan(seen: _Seen, segment: bytes, content: bytes, at: int) -> int:
    """Follow a scan's codes; the place of the marker behind them."""
    number = segment[0] if segment else 0
    if not seen.frame or len(segment) != 4 + 2 * number or not number:
        raise _damaged("a scan that is none")
    seen.scans += 1
    data, intervals, end = huffman.unstuffed(np.frombuffer(content, np.uint8), at)
    if end >= len(content) - 1:
        raise ValueError("is a truncated JPEG")
    # Motion JPEG leaves out the tables that T.81 gives as examples: such codes are not followed.
    if seen.frame.kind not in _HUFFMAN or not seen.tables:
        return int(end)
    names, (first, last, bits) = segment[1:-3:2], segment[-3:]
    if any(name not in seen.known for name in names) or len(set(names)) < number:
        raise _damaged("a scan of channels that are none")
    units = _units(seen.frame, names)
    fault, intervals = huffman.fitting(intervals, units[0] * units[1], seen.restart)
    if not fault:
        scan = Scan(names, segment[2:-3:2], (first, last), bits >> 4, bits & 15, data, intervals)
        follow = _progressive if seen.frame.kind == _PROGRESSIVE else _sequential
        fault = follow(seen, seen.frame, scan)
    if fault:
        raise _damaged(f"its image data {_WRONG[fault]}")
    return int(end)


def _sequential(seen: _Seen, frame: Frame, scan: Scan) -> int:
    for name in scan.names:
        if seen.known[name][0] >= 0:
            raise _damaged("two scans of one channel")
        seen.known[name][:] = 0
    across, down = _units(frame, scan.names)
    parts, quantisations = _parts(frame.components, scan.names)
    return int(
        huffman.sequential(
            scan.data, scan.intervals, parts, _tables(seen.tables, _named(scan.tables)),
            _steps(seen.quantisations, quantisations), across * down, seen.restart,
        )
    )  # fmt: skip


def _progressive(seen: _Seen, frame: Frame, scan: Scan) -> int:
    (first, last), high, low = scan.band, scan.high, scan.low
    if first > last or last > 63 or (high and low != high - 1) or (last and not first):
        raise _damaged("a scan that is none")
    for name in scan.names:
        known = seen.known[name][first : last + 1]
        if (known != (high or -1)).any():
            raise _damaged("scans out of turn")
        known[:] = low
    components = [frame.components[name] for name in scan.names]
    told = huffman.Scan(scan.data, scan.intervals, seen.restart, low, high > 0)
    if first:
        if len(components) > 1:
            raise _damaged("a scan that is none")
        (row,) = _tables(seen.tables, (0x10 | scan.tables[0] & 15,))
        return int(huffman.progressive_ac(told, row, components[0].places, scan.band, seen.coefficients))
    alone = len(components) == 1
    blocks = [
        (1 if alone else one.across, 1 if alone else one.down, place, one.first, one.stride)
        for place, one in enumerate(components)
    ]
    wanted = () if high else tuple(table >> 4 for table in scan.tables)  # a finer bit has no code
    across, down = _units(frame, scan.names)
    return int(
        huffman.progressive_dc(
            told, np.array(blocks), _tables(seen.tables, wanted), across, across * down, seen.coefficients
        )
    )


def _require_complete(seen: _Seen) -> None:
    """Every channel was scanned, and holds what 8-bit samples give."""
    if not seen.frame or not seen.scans:
        raise ValueError("is a truncated JPEG")
    if not seen.tables:
        return
    for name, one in seen.frame.components.items():
        if seen.known[name][0] < 0:
            raise _damaged("a channel without a scan")
        if seen.frame.kind == _PROGRESSIVE:
            rows = seen.coefficients[one.first : one.first + one.stride * one.rows]
            (steps,) = _steps(seen.quantisations, (one.quantisation,))
            if not huffman.within_range(rows, steps):
                raise _damaged(f"its image data {_WRONG[huffman.BEYOND_RANGE]}")


def _units(frame: Frame, names: bytes) -> tuple[int, int]:
    """Units of a scan across and down: blocks, of a single channel."""
    return frame.components[names[0]].blocks if len(names) == 1 else frame.units


# ── Headers; most files of a data set have the same few, so what was made of them is kept ──


@lru_cache(maxsize=256)
def _frame(kind: int, segment: bytes) -> Frame:
    if kind not in _HUFFMAN:
        return Frame(kind)
    number = segment[5] if len(segment) > 5 else 0
    if not 1 <= number <= 4 or len(segment) != 6 + 3 * number or segment[0] != 8:
        raise _damaged("no frame of 8-bit samples")
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    rows = [segment[6 + 3 * at : 9 + 3 * at] for at in range(number)]
    factors = [(row[1] >> 4, row[1] & 15) for row in rows]
    if not height * width or any(not 1 <= factor <= 4 for pair in factors for factor in pair):
        raise _damaged("impossible sizes in its frame")
    most = max(across for across, _ in factors), max(down for _, down in factors)
    units = _over(width, 8 * most[0]), _over(height, 8 * most[1])
    components: dict[int, Component] = {}
    first = 0
    for (name, _, quantisation), (across, down) in zip(rows, factors, strict=True):
        blocks = _over(_over(width * across, most[0]), 8), _over(_over(height * down, most[1]), 8)
        stride, lines = units[0] * across, units[1] * down
        components[name] = Component(across, down, quantisation, blocks, first, stride, lines)
        first += stride * lines
    if len(components) != number:
        raise _damaged("two channels of one name")
    return Frame(kind, units, components)


def _over(number: int, divisor: int) -> int:
    """The quotient, rounded up."""
    return -(-number // divisor)


def _parts(components: dict[int, Component], names: bytes) -> tuple[huffman.Ints, tuple[int, ...]]:
    """The channels of a scan as `huffman.sequential` takes them, and their quantisations."""
    chosen = [components[name] for name in names]
    alone = len(chosen) == 1
    rows = [
        (1 if alone else one.across * one.down, 2 * place, 2 * place + 1, place)
        for place, one in enumerate(chosen)
    ]
    return np.array(rows), tuple(one.quantisation for one in chosen)


@lru_cache(maxsize=256)
def _tables(segments: tuple[bytes, ...], wanted: tuple[int, ...]) -> NDArray[np.int32]:
    """The rows of these Huffman tables: 0 … 15 for DC, 16 … 31 for AC."""
    found: dict[int, NDArray[np.int32]] = {}
    for segment in segments:
        at = 0
        while at < len(segment):
            lengths = segment[at + 1 : at + 17]
            number = sum(lengths)
            symbols = segment[at + 17 : at + 17 + number]
            if len(lengths) != 16 or len(symbols) != number or number > 256:
                raise _damaged("a code table that is none")
            found[segment[at]] = huffman.table(lengths, symbols)
            at += 17 + number
    if any(name not in found for name in wanted):
        raise _damaged("a scan without its code table")
    return np.array([found[name] for name in wanted], np.int32).reshape(-1, huffman.ROW)


@lru_cache(maxsize=256)
def _steps(segments: tuple[bytes, ...], wanted: tuple[int, ...]) -> huffman.Ints:
    """The quantisation steps [·, 64] of these names, in zigzag order."""
    found: dict[int, huffman.Ints] = {}
    for segment in segments:
        at = 0
        while at < len(segment):
            kind = ">u2" if segment[at] >> 4 else "u1"
            end = at + 1 + 64 * np.dtype(kind).itemsize
            values = np.frombuffer(segment[at + 1 : end].ljust(end - at - 1, b"\0"), kind)
            if not values.all():
                raise _damaged("a quantisation that is none")
            found[segment[at] & 15] = values.astype(np.int64)
            at = end
    if any(name not in found for name in wanted):
        raise _damaged("a channel without its quantisation")
    return np.array([found[name] for name in wanted], np.int64)


def _damaged(how: str) -> ValueError:
    return ValueError(f"is a damaged JPEG: {how}")
