"""What it costs to follow every code of a JPEG, and how much damage it shows.

    python benchmarks/whole_jpegs.py FOLDER [--images 300] [--repeats 5]

FOLDER holds JPEGs, in it or below. Processor time of one look at a file (hashes, checks, decoding), as
`collect` takes it, over the same look without following the codes; both in turns, the least of the repeats.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from naic_reid.data import images, jpeg

Damage = Callable[[bytearray, np.random.Generator, int, int], None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.jpg"))[: options.images]
    began = time.perf_counter()
    faults = [fault for file in files if (fault := images.look(file).fault)]  # compiles, too
    print(
        f"{len(files)} files, {len(faults)} of them refused; first pass {time.perf_counter() - began:.1f} s"
    )
    with_codes, without = [], []
    for _ in range(options.repeats):
        with_codes.append(_seconds(files))
        with mock.patch.object(jpeg, "check", return_value=None):
            without.append(_seconds(files))
    ratio = min(with_codes) / min(without)
    print(f"a look: {1e6 * min(with_codes) / len(files):.0f} µs, {ratio:.2f} × one without the codes")
    print("| damage in the scan | refused |\n|---|---|")
    for damage in (_bit, _byte, _cut, _zeros):
        print(f"| {damage.__doc__} | {100 * _refused(files[:100], damage):.1f} % |")


def _seconds(files: list[Path]) -> float:
    began = time.process_time()
    for file in files:
        images.look(file)
    return time.process_time() - began


def _refused(files: list[Path], damage: Damage) -> float:
    """The share of damaged files that are refused, ten of each."""
    rng = np.random.default_rng(0)
    refused = 0
    for file in files:
        whole = file.read_bytes()
        scan = whole.rindex(b"\xff\xda")
        for _ in range(10):
            content = bytearray(whole)
            damage(content, rng, scan + 14, len(whole) - 2)
            try:
                images.checked(bytes(content))
            except ValueError:
                refused += 1
    return refused / (10 * len(files))


def _bit(content: bytearray, rng: np.random.Generator, start: int, end: int) -> None:
    """one bit"""
    content[rng.integers(start, end)] ^= 1 << int(rng.integers(8))


def _byte(content: bytearray, rng: np.random.Generator, start: int, end: int) -> None:
    """one byte, any other value"""
    content[rng.integers(start, end)] ^= int(rng.integers(1, 256))


def _cut(content: bytearray, rng: np.random.Generator, start: int, end: int) -> None:
    """a quarter cut out"""
    at = int(rng.integers(start, start + (end - start) // 2))
    del content[at : at + (end - start) // 4]


def _zeros(content: bytearray, rng: np.random.Generator, start: int, end: int) -> None:
    """a quarter zeroed"""
    at = int(rng.integers(start, start + (end - start) // 2))
    content[at : at + (end - start) // 4] = bytes((end - start) // 4)


if __name__ == "__main__":
    main()
