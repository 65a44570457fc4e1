"""A baseline JPEG's quantised coefficients, bit by bit, from the definition (ITU-T T.81, annexes C, E, F)."""

import re
from collections.abc import Iterator


def segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, its content) up to the first scan, which ends with the file's last bytes."""
    at = 2
    while True:
        code, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        yield code, content[at + 4 : at + 2 + length]
        at += 2 + length
        if code == 0xDA:
            yield 0, content[at : content.rindex(b"\xff\xd9")]
            return


def codes(lengths: bytes, symbols: bytes) -> dict[str, int]:
    """Code, written out in bits → symbol (C.2)."""
    found, code, remaining = {}, 0, list(symbols)
    for length, number in enumerate(lengths, start=1):
        for _ in range(number):
            found[f"{code:0{length}b}"] = remaining.pop(0)
            code += 1
        code *= 2
    return found


def tables(content: bytes) -> dict[int, dict[str, int]]:
    found = {}
    for marker, body in segments(content):
        while marker == 0xC4 and body:
            number = sum(body[1:17])
            found[body[0]] = codes(body[1:17], body[17 : 17 + number])
            body = body[17 + number :]
    return found


def coefficients(content: bytes) -> dict[int, list[list[int]]]:
    """Component → its blocks in the order of the scan, 64 numbers in zigzag order each.

    For one interleaved scan. Raises ValueError where the bits are none that an encoder writes.
    """
    known = dict(segments(content))
    frame, scan, data = known[0xC0], known[0xDA], known[0]
    restart = int.from_bytes(known.get(0xDD, b""), "big")
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    sampling = {frame[at]: (frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(6, len(frame), 3)}
    chosen = [(scan[at], scan[at + 1]) for at in range(1, 1 + 2 * scan[0], 2)]
    side = [8 * max(pair[axis] for pair in sampling.values()) for axis in (0, 1)]
    units = -(-width // side[0]) * -(-height // side[1])
    if len(chosen) == 1:
        units = -(-width // 8) * -(-height // 8)
        sampling = dict.fromkeys(sampling, (1, 1))
    huffman = tables(content)
    found: dict[int, list[list[int]]] = {name: [] for name, _ in chosen}
    pieces = re.split(rb"\xff[\xd0-\xd7]", data)
    if len(pieces) != (-(-units // restart) if restart else 1):
        raise ValueError("another number of intervals")
    for number, piece in enumerate(pieces):
        bits = Bits(piece)
        before = dict.fromkeys(sampling, 0)
        for _ in range(min(restart, units - number * restart) if restart else units):
            for name, table in chosen:
                across, down = sampling[name]
                for _ in range(across * down):
                    block = _block(bits, huffman[table >> 4], huffman[16 | table & 15])
                    block[0] += before[name]
                    before[name] = block[0]
                    found[name].append(block)
        if not re.fullmatch("1{0,7}|0{0,7}", bits.text[bits.at :]):
            raise ValueError("bits are left")
    return found


class Bits:
    def __init__(self, piece: bytes) -> None:
        self.text = "".join(f"{byte:08b}" for byte in piece.replace(b"\xff\x00", b"\xff"))
        self.at = 0

    def take(self, number: int) -> str:
        taken = self.text[self.at : self.at + number]
        if len(taken) < number:
            raise ValueError("no bits are left")
        self.at += number
        return taken

    def symbol(self, table: dict[str, int]) -> int:
        code = ""
        while code not in table:
            code += self.take(1)
            if len(code) > 16:
                raise ValueError("no code")
        return table[code]

    def value(self, size: int) -> int:
        if size == 0:
            return 0
        text = self.take(size)
        return int(text, 2) if text[0] == "1" else int(text, 2) - 2**size + 1


def _block(bits: Bits, dc: dict[str, int], ac: dict[str, int]) -> list[int]:
    size = bits.symbol(dc)
    if size > 11:
        raise ValueError("a value beyond 8 bits")
    block = [bits.value(size)]
    while len(block) < 64:
        run, size = divmod(bits.symbol(ac), 16)
        if size == 0 and run == 0:
            block += [0] * (64 - len(block))
        elif (size == 0 and run < 15) or size > 10:
            raise ValueError("no such symbol")
        else:
            block += [0] * run + [bits.value(size)]
            if len(block) > 64 or (size == 0 and len(block) == 64):
                raise ValueError("beyond the block")
    return block
