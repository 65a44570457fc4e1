"""A small world of label lists and images, drawn by the tests themselves."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from naic_reid.config import Collect, Source, Split
from naic_reid.stages import survey


def picture(seed: int, level: int = 128) -> NDArray[np.uint8]:
    """Random pixels, uint8 [16, 8, 3], whose mean is near `level`."""
    rng = np.random.default_rng([seed, 7])
    return rng.integers(max(0, 2 * level - 255), min(255, 2 * level) + 1, (16, 8, 3)).astype(np.uint8)


def draw(path: Path, seed: int, level: int = 128, compression: int = 3) -> None:
    """Write the picture of this seed; another compression is other bytes with equal pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(seed, level), [cv2.IMWRITE_PNG_COMPRESSION, compression])


def settings(*names: str, **more: object) -> Collect:
    """`collect` with these sources, most trusted first; the lists stand beside their images."""
    sources = tuple(Source(name=name, list=f"{name}/list.txt", images=f"{name}/images") for name in names)
    return Collect(sources=sources, **more)  # type: ignore[arg-type]


def world(data: Path, lists: dict[str, list[tuple[str, int, int]]]) -> Collect:
    """Draw every listed image (name, label, seed of its picture) and write the lists."""
    for source, lines in lists.items():
        for name, _, seed in lines:
            draw(data / source / "images" / name, seed)
        text = "".join(f"{name}:{label}\n" for name, label, _ in lines)
        (data / source / "list.txt").write_text(text)
    query_and_gallery(data)
    return settings(*lists)


def query_and_gallery(data: Path) -> Split:
    """Query and gallery folders with two bright and two dark images each."""
    split = Split()
    for number, folder in enumerate((split.query, split.gallery)):
        for i in range(4):
            draw(data / folder / f"{number}{i}.png", 100 + 10 * number + i, level=110 if i % 2 else 40)
    return split


def surveyed(collect: Collect, split: Split, data: Path) -> None:
    """Write `train.tsv` and `test.tsv` beside the data folder, as the walk begins."""
    train, test = data.parent / "train.tsv", data.parent / "test.tsv"
    survey.run(collect, split, {}, data=data, train=train, test=[test], sources=[], sets=[])
