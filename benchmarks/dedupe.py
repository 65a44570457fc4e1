"""Collecting and deduplicating at size, against only reading and hashing the same files.

Draws its own tree of small PNGs in a temporary folder (four sources, one image in twenty a copy of
another source's), checks that exactly the planted copies are dropped, and then measures, interleaved
and with the same number of workers:

* hash       read every file and BLAKE2b it: the reference
* look       our pass over the bytes without the pixel key; the ratio is hash / look, 1 is as fast
* pixels     our pass with the pixel key, means and integrity checks (every image decoded)
* again      the same pass over unchanged files, remembered
* stages     collect and dedupe, list to list, each in a process of its own, with their peak memory

and, for scale, the original's comparison of all pairs on 2,000 images. `--names` lists each image
under several names (hard links), to reach a competition's number of lines with fewer bytes.

    python benchmarks/dedupe.py --images 100000 --workers 2
"""

import argparse
import base64
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np

from naic_reid.artifacts import ImageList
from naic_reid.config import Collect, Dedupe, Source, Split
from naic_reid.data.looks import looks
from naic_reid.stages import collect, dedupe, survey

SOURCES = ("2020fs", "2020cs", "2019fs", "2019cs")
COPY_EVERY = 20
PER_PERSON = 16
PAIRS = 2_000


def draw(data: Path, images: int, names: int) -> tuple[Collect, int]:
    """Write the tree and its lists; the settings, and how many images must be kept."""
    rng = np.random.default_rng(0)
    per_source = images // len(SOURCES)
    times = max(1, names // images)
    originals = 0
    first: list[bytes] = []
    for number, source in enumerate(SOURCES):
        folder = data / source
        folder.mkdir(parents=True)
        lines = []
        for i in range(per_source):
            is_copy = number > 0 and i % COPY_EVERY == 0
            if is_copy:
                content = first[i]
            else:
                small = rng.integers(0, 256, (8, 4, 3), np.uint8)
                picture = cv2.resize(small, (32, 64), interpolation=cv2.INTER_CUBIC)
                content = cv2.imencode(".png", picture)[1].tobytes()
                originals += 1
            if number == 0:
                first.append(content)
            (folder / f"{i:07}.png").write_bytes(content)
            lines.append(f"{i:07}.png:{i // PER_PERSON}")
            for more in range(1, times):
                name = f"{i:07}_{more}.png"
                os.link(folder / f"{i:07}.png", folder / name)
                lines.append(f"{name}:{i // PER_PERSON}")
        (data / f"{source}.txt").write_text("\n".join(lines) + "\n")
    for role in (Split().query, Split().gallery):
        (data / role).mkdir(parents=True)
        (data / role / "0.png").write_bytes(first[0])
    sources = tuple(Source(name=name, list=f"{name}.txt", images=name) for name in SOURCES)
    return Collect(sources=sources, decode=False), originals


def hash_all(paths: Sequence[Path], workers: int) -> list[bytes]:
    """The reference: read every file and hash it."""

    def some(start: int) -> list[bytes]:
        chunk = paths[start : start + 64]
        return [blake2b(path.read_bytes(), digest_size=16).digest() for path in chunk]

    with ThreadPoolExecutor(workers) as pool:
        return [one for chunk in pool.map(some, range(0, len(paths), 64)) for one in chunk]


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def all_pairs(paths: Sequence[Path]) -> int:
    """Equal pairs as the original finds them: base64 of every image, each compared with each."""
    texts = [base64.b64encode(path.read_bytes()).decode() for path in paths]
    return sum(texts[i] == texts[j] for i in range(len(texts)) for j in range(i + 1, len(texts)))


def in_own_process(work: Callable[..., None], *given: object) -> tuple[float, float]:
    """Seconds and peak memory in GB of a call in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, given))


def _measured(work: Callable[..., None], given: tuple[object, ...]) -> tuple[float, float]:
    seconds = timed(lambda: work(*given))
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def run_collect(settings: Collect, data: Path, out: Path, workers: int, cache: Path | None) -> None:
    collect.run(
        settings, data=data, lists=out / "train.tsv", images=out / "images.tsv", workers=workers, cache=cache
    )


def run_dedupe(settings: Collect, out: Path, by_pixels: bool) -> None:
    dedupe.run(
        settings, Dedupe(by_pixels=by_pixels, max_component=64), images=out / "images.tsv", wrong=[],
        kept=out / "kept.tsv", dropped=out / "dropped.tsv", counts=out / "counts.tsv",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000, help="files of their own")
    parser.add_argument("--names", type=int, default=0, help="listed names; none: as many as files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the tree is drawn; none: the temporary folder")
    options = parser.parse_args()
    workers = options.workers
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        data, out = Path(place) / "data", Path(place) / "out"
        began = time.perf_counter()
        settings, originals = draw(data, options.images, options.names)
        print(f"drew the tree in {time.perf_counter() - began:.0f} s")
        survey.run(settings, Split(), data=data, train=out / "train.tsv", test=out / "test.tsv")

        # The answer first: exactly the planted copies go.
        collected = in_own_process(run_collect, settings, data, out, workers, None)
        deduped = in_own_process(run_dedupe, settings, out, False)
        kept = len(ImageList.read(out / "kept.tsv"))
        assert kept == originals, (kept, originals)

        paths = sorted(path for source in SOURCES for path in (data / source).iterdir())
        names = [path.relative_to(data).as_posix() for path in paths]
        size = sum(path.stat().st_size for path in paths)
        assert [one.digest for one in looks(data, names[:500], with_pixels=False)] == hash_all(paths[:500], 1)
        seconds: dict[str, list[float]] = {"hash": [], "look": []}
        for _ in range(options.repeats):
            seconds["hash"].append(timed(lambda: hash_all(paths, workers)))
            seconds["look"].append(
                timed(lambda: sum(1 for _ in looks(data, names, with_pixels=False, workers=workers)))
            )
        cache = out / "looks.sqlite"
        pixels = timed(lambda: sum(1 for _ in looks(data, names, workers=workers, cache=cache)))
        again = timed(lambda: sum(1 for _ in looks(data, names, workers=workers, cache=cache)))
        few = paths[:PAIRS]
        pairs = timed(lambda: all_pairs(few))
        best = {name: min(values) for name, values in seconds.items()}
        lines = len(paths)
        print(f"{lines:,} files, {size / 1e6:,.0f} MB, {workers} workers, best of {options.repeats}")
        rows = [
            ("hash: read and BLAKE2b", best["hash"]),
            ("look: pixel key off", best["look"]),
            ("pixels: every image decoded", pixels),
            ("again: remembered", again),
            (f"collect: {collected[1]:.2f} GB", collected[0]),
            (f"dedupe: {deduped[1]:.2f} GB", deduped[0]),
        ]
        for name, value in rows:
            print(f"  {name:<30}{value:8.2f} s {lines / value:12,.0f} images/s")
        print(f"  ratio hash / look {best['hash'] / best['look']:.2f}")
        whole = pairs * (lines / len(few)) ** 2
        print(f"  all pairs of {len(few):,}: {pairs:.2f} s; of {lines:,} it would be {whole / 3600:.1f} h")
        print(json.dumps({"ratio": best["hash"] / best["look"], "seconds": dict(rows), "all_pairs": pairs}))


if __name__ == "__main__":
    main()
