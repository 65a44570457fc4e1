"""The entropy-coded scans of a JPEG, walked code by code to see whether they can be what an encoder wrote.

Nothing is decoded to pixels: decoders repair what is damaged and say nothing, so the codes themselves are
followed (ITU-T T.81, annexes F and G) and must use valid Huffman codes only, stay within their 64
coefficients and the range that 8-bit samples can give, fill the picture exactly, and end with their bytes.

Positions are in bits. A Huffman table is a row of int32: for each first byte its code (length · 256 +
symbol; 0: longer than 8 bits), then, by length 0 … 17, the first 16-bit window beyond the codes of that
length, and what leads from a code to its symbol, then the symbols.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

FINE, NO_CODE, BEYOND_BLOCK, BEYOND_RANGE, NO_IMAGE, TOO_SHORT, TOO_LONG = range(7)
SLACK = 256  # no block is longer, so its end may be looked for once it is read
_LIMITS, _OFFSETS, _SYMBOLS = 256, 256 + 18, 256 + 36
ROW = _SYMBOLS + 256
_LONGEST = 16  # bits of a code
_MOST_DC, _MOST_AC = 11, 10  # bits of a value, of 8-bit samples
_LARGEST = (1 << 15) - 1
_RANGE = 8 * 160  # of a coefficient: samples lie within 128 of grey, and MozJPEG puts 31 more on white


class Scan(NamedTuple):
    """A scan of a progressive JPEG: its codes, and how it changes coefficients."""

    data: Ints
    intervals: Ints
    """[number, 2], where those between restart markers begin and end."""
    restart: int
    """Units in an interval; 0: all."""
    low: int
    """The lowest bit that it tells (T.81: Al)."""
    refines: bool
    """It adds one bit to coefficients that are known."""


def table(lengths: bytes, symbols: bytes) -> NDArray[np.int32]:
    """The row of a Huffman table, from the numbers of codes by length and the symbols (T.81, annex C).

    Raises:
        ValueError: there are no such codes.
    """
    row = np.zeros(ROW, np.int32)
    row[_SYMBOLS : _SYMBOLS + len(symbols)] = np.frombuffer(symbols, np.uint8)
    code = used = 0
    for length, number in enumerate(lengths, start=1):
        row[_OFFSETS + length] = used - code
        for symbol in symbols[used : used + number] if length <= 8 else b"":
            row[code << (8 - length) : (code + 1) << (8 - length)] = length << 8 | symbol
            code += 1
        code += number if length > 8 else 0
        used += number
        if code > 1 << length:
            raise ValueError("is a damaged JPEG: more codes than there can be")
        row[_LIMITS + length] = code << (_LONGEST - length)
        code <<= 1
    return row


@njit(nogil=True, cache=True)
def unstuffed(content: Bytes, at: int) -> tuple[Ints, Ints, int]:
    """The data of the scan that begins at this byte; where its intervals begin and end; where it ends.

    Data are the 40 bits from each byte on, so that one reading gives a code and its value. Intervals are
    int64 [number, 2], in bits. A restart marker out of turn ends the scan.
    """
    data = np.empty(len(content) - at + SLACK, np.int64)
    bounds = [0]
    size = 0
    while at < len(content):
        byte = content[at]
        if byte != 0xFF:
            data[size] = byte
            size += 1
            at += 1
            continue
        after = at + 1
        while after < len(content) and content[after] == 0xFF:  # fill bytes
            after += 1
        if after == len(content):
            break
        mark = content[after]
        if mark == 0 and after == at + 1:
            data[size] = 0xFF
            size += 1
        elif mark == 0xD0 + (len(bounds) - 1) % 8:
            bounds.append(size)
        else:
            break
        at = after + 1
    bounds.append(size)
    data = data[: size + SLACK]
    data[size:] = 0
    for place in range(len(data) - 4):
        later = data[place + 1] << 24 | data[place + 2] << 16 | data[place + 3] << 8 | data[place + 4]
        data[place] = data[place] << 32 | later
    ends = np.array(bounds, np.int64) * 8
    return data, np.stack((ends[:-1], ends[1:]), axis=1), at


@njit(nogil=True, cache=True)
def _next(data: Ints, at: int, row: NDArray[np.int32]) -> tuple[int, int, int]:
    """The symbol of the code at a position (−1: none begins like this), the value behind it, and its end.

    Of a symbol's lower four bits is the size of the value (T.81, F.2.2.1).
    """
    ahead = data[at >> 3] >> (8 - (at & 7)) & 0xFFFFFFFF
    length = 0
    symbol = -1
    short = row[ahead >> 24]
    if short:
        symbol, length = short & 0xFF, short >> 8
    else:
        for longer in range(9, _LONGEST + 1):
            if ahead >> 16 < row[_LIMITS + longer]:
                length = longer
                symbol = row[_SYMBOLS + (ahead >> (32 - longer)) + row[_OFFSETS + longer]]
                break
        if not length:
            return -1, 0, at
    size = symbol & 15
    value = ahead >> (32 - length - size) & ((1 << size) - 1)
    if size and not value >> (size - 1):
        value += 1 - (1 << size)
    return symbol, value, at + length + size


@njit(nogil=True, cache=True)
def _bits(data: Ints, at: int, number: int) -> int:
    """So many bits, at most 16, as a whole number."""
    ahead: int = data[at >> 3] >> (40 - number - (at & 7))
    return ahead & ((1 << number) - 1)


@njit(nogil=True, cache=True)
def _impossible(value: int, step: int) -> bool:
    return abs(value) * step > _RANGE + step


@njit(nogil=True, cache=True)
def _ended(data: Ints, at: int, end: int) -> int:
    """What is wrong where an interval is over: fewer than 8 bits may be left, all ones, or all zeros."""
    if at > end:
        return TOO_SHORT
    left = end - at
    if left >= 8:
        return TOO_LONG
    padding = _bits(data, at, left)
    return FINE if padding in (0, (1 << left) - 1) else TOO_LONG


@njit(nogil=True, cache=True)
def sequential(
    data: Ints,
    intervals: Ints,
    components: Ints,
    tables: NDArray[np.int32],
    steps: Ints,
    units: int,
    restart: int,
) -> int:
    """What is wrong with a scan of whole blocks (T.81, annex F); 0: nothing.

    Args:
        data: of the scan.
        intervals: [number, 2].
        components: for each component of the scan: blocks in a unit, rows of its DC and AC table in `tables`,
            row of its quantisation in `steps`.
        tables: int32 [·, ROW].
        steps: [·, 64].
        units: how many the scan has (MCUs, or blocks of a single component).
        restart: units of an interval; 0: there is one.
    """
    means = np.zeros(len(components), np.int64)
    evens = False
    for interval in range(len(intervals)):
        means[:] = 0
        at, end = intervals[interval]
        here = min(restart, units - interval * restart) if restart else units
        for _ in range(here):
            for component in range(len(components)):
                dc, ac, row = (
                    tables[components[component, 1]],
                    tables[components[component, 2]],
                    steps[components[component, 3]],
                )
                for _ in range(components[component, 0]):
                    size, change, at = _next(data, at, dc)
                    if size < 0:
                        return NO_CODE
                    means[component] += change
                    if size > _MOST_DC or _impossible(means[component], row[0]):
                        return BEYOND_RANGE
                    fault, at, even = _coefficients(data, at, ac, row)
                    if fault:
                        return fault
                    if even and evens:
                        return NO_IMAGE
                    evens = even
                    if at > end:
                        return TOO_SHORT
        fault = _ended(data, at, end)
        if fault:
            return fault
    return FINE


@njit(nogil=True, cache=True)
def fitting(intervals: Ints, units: int, restart: int) -> tuple[int, Ints]:
    """What is wrong with the number of a scan's intervals, and those that hold its units."""
    expected = -(-units // restart) if restart else 1
    if len(intervals) == expected + 1 and intervals[-1, 0] == intervals[-1, 1]:
        intervals = intervals[:-1]  # a restart marker behind the last, which nothing forbids
    if len(intervals) == expected:
        return FINE, intervals
    return (TOO_SHORT if len(intervals) < expected else TOO_LONG), intervals


@njit(nogil=True, cache=True)
def only_scan(
    content: Bytes,
    at: int,
    components: Ints,
    tables: NDArray[np.int32],
    steps: Ints,
    units: int,
    restart: int,
) -> tuple[int, int]:
    """What is wrong with the one scan of a file, whose data begin at this byte, and where these end.

    The arguments are those of `sequential`.
    """
    data, intervals, end = unstuffed(content, at)
    fault, intervals = fitting(intervals, units, restart)
    if fault:
        return fault, end
    return sequential(data, intervals, components, tables, steps, units, restart), end


@njit(nogil=True, cache=True)
def _coefficients(data: Ints, at: int, row: NDArray[np.int32], steps: Ints) -> tuple[int, int, bool]:
    """What is wrong with the 63 AC coefficients of a block, the position after, and if all are one value.

    Two such blocks in a row are no image: it is what stretches of equal bytes stand for.
    """
    k = 1
    equal, last = 0, 0
    while k < 64:
        symbol, value, at = _next(data, at, row)
        if symbol < 0:
            return NO_CODE, at, False
        run, size = symbol >> 4, symbol & 15
        if size == 0:
            if run == 0:
                break
            if run != 15:
                return NO_CODE, at, False
            k += 16
            if k > 63:  # sixteen zeros at the end are an end of block
                return BEYOND_BLOCK, at, False
            continue
        k += run
        if k > 63:
            return BEYOND_BLOCK, at, False
        if size > _MOST_AC or _impossible(value, steps[k]):
            return BEYOND_RANGE, at, False
        equal += value == last
        last = value
        k += 1
    return FINE, at, equal == 62


@njit(nogil=True, cache=True)
def progressive_dc(
    scan: Scan,
    components: Ints,
    tables: NDArray[np.int32],
    across: int,
    units: int,
    coefficients: NDArray[np.int16],
) -> int:
    """What is wrong with a scan of DC coefficients (T.81, G.1.2.1); they are put into `coefficients`.

    `components` has for each component of the scan: blocks of a unit across and down, row of its table, its
    first block in `coefficients` [blocks, 64], and its blocks in a row. `across`: units in a row.
    """
    data, intervals, restart, low, refines = scan
    means = np.zeros(len(components), np.int64)
    for interval in range(len(intervals)):
        means[:] = 0
        at, end = intervals[interval]
        start = interval * restart
        for unit in range(start, min(start + restart, units) if restart else units):
            for component in range(len(components)):
                wide, high, table_row, first, stride = components[component]
                for block in range(wide * high):
                    row = unit // across * high + block // wide
                    place = first + row * stride + unit % across * wide + block % wide
                    if refines:
                        coefficients[place, 0] |= _bits(data, at, 1) << low
                        at += 1
                        continue
                    size, change, at = _next(data, at, tables[table_row])
                    if size < 0:
                        return NO_CODE
                    means[component] += change
                    if size > _MOST_DC or abs(means[component]) << low > _LARGEST:
                        return BEYOND_RANGE
                    coefficients[place, 0] = means[component] << low
            if at > end:
                return TOO_SHORT
        fault = _ended(data, at, end)
        if fault:
            return fault
    return FINE


@njit(nogil=True, cache=True)
def progressive_ac(
    scan: Scan,
    row: NDArray[np.int32],
    places: Ints,
    band: tuple[int, int],
    coefficients: NDArray[np.int16],
) -> int:
    """What is wrong with a scan of AC coefficients (T.81, G.1.2.2 and G.1.2.3); they are put in place.

    `places` are the blocks of the scan in `coefficients` [blocks, 64], in its order; `band` is the first
    and the last coefficient.
    """
    data, intervals, restart, low, refines = scan
    for interval in range(len(intervals)):
        at, end = intervals[interval]
        start = interval * restart
        over = 0  # blocks, from this one on, of which nothing new follows
        for block in places[start : start + restart if restart else len(places)]:
            values = coefficients[block]
            if refines:
                fault, at, over = _refined(data, at, row, band, 1 << low, over, values)
            else:
                fault, at, over = _first(data, at, row, band, low, over, values)
            if fault:
                return fault
            if at > end:
                return TOO_SHORT
        fault = _ended(data, at, end)
        if fault or over:
            return fault or TOO_SHORT
    return FINE


@njit(nogil=True, cache=True)
def _first(
    data: Ints, at: int, row: NDArray[np.int32], band: tuple[int, int], low: int, over: int,
    values: NDArray[np.int16],
) -> tuple[int, int, int]:  # fmt: skip
    """A block's coefficients, seen for the first time: fault, position, blocks that are over."""
    if over:
        return FINE, at, over - 1
    k, last = band
    while k <= last:
        symbol, value, at = _next(data, at, row)
        if symbol < 0:
            return NO_CODE, at, 0
        run, size = symbol >> 4, symbol & 15
        if size == 0 and run < 15:
            return FINE, at + run, (1 << run) + _bits(data, at, run) - 1
        k += run
        if k > last:
            return BEYOND_BLOCK, at, 0
        if size:
            if size + low > _MOST_AC:
                return BEYOND_RANGE, at, 0
            values[k] = value << low
        k += 1
    return FINE, at, 0


@njit(nogil=True, cache=True)
def _refined(
    data: Ints, at: int, row: NDArray[np.int32], band: tuple[int, int], step: int, over: int,
    values: NDArray[np.int16],
) -> tuple[int, int, int]:  # fmt: skip
    """A block's coefficients, each a bit finer, and new ones: fault, position, blocks that are over."""
    k, last = band
    while k <= last and not over:
        symbol, value, at = _next(data, at, row)
        if symbol < 0:
            return NO_CODE, at, 0
        run, size = symbol >> 4, symbol & 15
        if size > 1:
            return BEYOND_RANGE, at, 0
        if size == 0 and run < 15:
            over = (1 << run) + _bits(data, at, run)
            at += run
            break
        while k <= last and (values[k] or run):
            if values[k]:
                at = _finer(data, at, values, k, step)
            else:
                run -= 1
            k += 1
        if k > last:
            return BEYOND_BLOCK, at, 0
        values[k] = value * step
        k += 1
    if not over:
        return FINE, at, 0
    for rest in range(k, last + 1):
        if values[rest]:
            at = _finer(data, at, values, rest, step)
    return FINE, at, over - 1


@njit(nogil=True, cache=True)
def _finer(data: Ints, at: int, values: NDArray[np.int16], k: int, step: int) -> int:
    """A coefficient with its next bit, and the position after it."""
    if _bits(data, at, 1):
        values[k] += step if values[k] > 0 else -step
    return at + 1


@njit(nogil=True, cache=True)
def within_range(coefficients: NDArray[np.int16], steps: Ints) -> bool:
    """Whether 8-bit samples can give these quantised coefficients [blocks, 64] at these steps [64]."""
    for row in coefficients:
        for k in range(64):
            if _impossible(row[k], steps[k]):
                return False
    return True
