"""Shows where a model looks in photographs: each beside its heat map.

    naic-reid heatmap model.pt a.jpg b.jpg --html heat.html       one page
    naic-reid heatmap model.pt photos/ --out heat/                 a PNG for each photograph
    naic-reid heatmap model.pt photos/ --html heat.html --same-scale

Yellow is strong, dark blue is weak: the length of the last map's activations at each place, over the
photograph. Each map has its own scale, from its least to its greatest, unless --same-scale gives all one,
so that they can be compared.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from naic_reid import files
from naic_reid.data import folders, images
from naic_reid.errors import ReidError
from naic_reid.pages.sections import Picture, Section, as_html
from naic_reid.progress import shown
from naic_reid.tools import model


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    model.arguments(parser)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO",
                        help="photographs, or folders of them, sub-folders too")  # fmt: skip
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with all of them, written")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="a PNG for each of them, written here")
    parser.add_argument("--same-scale", action="store_true", help="one scale for all, to compare them")


def run(options: argparse.Namespace) -> int:
    """Writes what was asked for."""
    if not (options.html or options.out):
        raise ReidError("nothing would be shown: name a page (--html FILE), a folder (--out FOLDER) or both")
    photos = list(_listed(options.photos))
    targets = [options.out / name for name in _names(photos)] if options.out else []
    model.apart(options, [options.html, *targets], options.photos)
    from naic_reid.heat import heat, overlay  # here, for --help need not wait for torch

    extractor = model.loaded(options)
    read = [images.read(photo) for photo in photos]
    maps = [heat(extractor, picture) for picture in shown(read, "heat maps", len(read))]
    limits = None
    if options.same_scale:
        limits = min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)
    made = [overlay(picture, each, limits) for picture, each in zip(read, maps, strict=True)]
    for target, picture in zip(targets, made, strict=False):
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(target) as unfinished:
            unfinished.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    if options.html:
        pairs = [np.concatenate(pair, axis=1) for pair in zip(read, made, strict=True)]
        _write(options.html, photos, pairs, options)
    print(" and ".join(str(place) for place in (options.html, options.out) if place))
    return 0


def _listed(given: Sequence[Path]) -> Iterator[Path]:
    """The photographs themselves, those of a folder by name; each once."""
    seen: set[Path] = set()
    for path in given:
        names = folders.below(path) if path.is_dir() else [""]
        if not names:
            raise ReidError(f"{path}: no images ({', '.join(sorted(images.SUFFIXES))}) in this folder")
        for photo in (path / name if name else path for name in names):
            if photo not in seen:
                seen.add(photo)
                yield photo


def _names(photos: Sequence[Path]) -> list[str]:
    """Of the PNGs: the photographs' own, numbered where two are the same."""
    found: dict[str, None] = {}
    for photo in photos:
        numbered = (f"{photo.stem}_{number}.png" for number in count(2))
        found[next(name for name in chain([f"{photo.stem}.png"], numbered) if name not in found)] = None
    return list(found)


def _write(
    path: Path, photos: Sequence[Path], pairs: Sequence[NDArray[np.uint8]], options: argparse.Namespace
) -> None:
    strip = [Picture(pair, photo.name) for photo, pair in zip(photos, pairs, strict=True)]
    scale = "one scale for all" if options.same_scale else "each on its own scale"
    note = f"yellow: strong, dark: weak; {scale}; the last map of {options.model}"
    with files.whole(path) as unfinished:
        section = Section("Photographs, and where the model looks", note=note, strips=[strip])
        unfinished.write_text(as_html("Heat maps", [section]), encoding="utf-8", errors="replace")
