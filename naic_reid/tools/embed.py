"""Takes a feature of every image in a folder or a list, with a trained model.

    naic-reid embed model.pt photos/ --features photos.npz
    naic-reid embed model.pt list.txt --npy rows.npy --names rows.txt
    naic-reid embed model.pt photos/ --attributes worn.csv

A folder is looked through with its sub-folders; a list is a text file with one path a line, relative to its
own folder. Features are float32 rows of length 1: the cosine of two images is the product of their rows.
--attributes wants a model that was trained with `train.attributes`, and writes a line for each image: the
likeliest value of each attribute. From Python: naic_reid.Extractor, naic_reid.worn.Teller.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from naic_reid import files
from naic_reid.errors import ReidError
from naic_reid.tools import model

if TYPE_CHECKING:
    from naic_reid.extractor import Extracted
    from naic_reid.worn import Teller


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    model.arguments(parser)
    parser.add_argument("images", type=Path, metavar="FOLDER_OR_LIST", help="a folder, or a list of paths")
    parser.add_argument(
        "--features", type=Path, metavar="FILE", help=".npz: names [N], values float32 [N, D]"
    )
    parser.add_argument("--npy", type=Path, metavar="FILE", help="the values alone, float32 [N, D]")
    parser.add_argument("--names", type=Path, metavar="FILE", help="the names alone, one a line")
    parser.add_argument("--attributes", type=Path, metavar="FILE", help="what is worn, as a CSV file")
    parser.add_argument("--skip", action="store_true", help="leave out what is no usable image, and say so")
    parser.add_argument("--batch", type=int, default=0, help="images at once; default: what suits the device")


def run(options: argparse.Namespace) -> int:
    """Writes the features; prints one line about them."""
    outputs = [options.features, options.npy, options.names, options.attributes]
    if not any(outputs):
        raise ReidError(
            "nothing would be written: give --features FILE, --npy FILE, --names FILE or --attributes FILE"
        )
    listed = [] if options.images.is_dir() else _listed(options.images)
    model.apart(options, outputs, [options.images, *listed])
    teller = _teller(options) if options.attributes else None
    extractor = model.loaded(options)
    how = {"on_error": "skip" if options.skip else "raise", "batch": options.batch}
    found = extractor.files(listed, **how) if listed else extractor.folder(options.images, **how)
    _write(found, options)
    if teller:
        _write_attributes(teller, found.names, options)
    for name, reason in found.skipped:
        print(f"skipped {name}: {reason}")
    count, width = found.values.shape
    written = ", ".join(str(path) for path in outputs if path)
    masses = f", the last {found.regions} masses of visible regions" if found.regions else ""
    print(f"{written}: {count} images, {width} numbers each{masses}")
    return 0


def _teller(options: argparse.Namespace) -> "Teller":
    """The model's attribute heads."""
    from naic_reid.worn import Teller

    return Teller.load(options.model, options.device, **model.words(options))


def _write_attributes(teller: "Teller", names: Sequence[str], options: argparse.Namespace) -> None:
    root = options.images if options.images.is_dir() else Path()
    told = teller.most_likely(teller.files([root / name for name in names], batch=options.batch))
    with (
        files.whole(options.attributes) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle,
    ):
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(["image", *teller.values])
        table.writerows([name, *worn.values()] for name, worn in zip(names, told, strict=True))


def _listed(path: Path) -> list[Path]:
    """The paths that a list names, each from the list's own folder."""
    try:
        lines = files.regular(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: cannot be read: {error}; name a folder or a list of paths") from error
    names = [line.strip() for line in lines if line.strip()]
    if wrong := next((name for name in names if "\0" in name), None):
        raise ReidError(f"{path}: {wrong!r}: no file can be called so")
    if not names:
        raise ReidError(f"{path}: names no image; a list has one path a line")
    return [path.parent / name for name in names]


def _write(found: "Extracted", options: argparse.Namespace) -> None:
    if options.features:
        found.write(options.features)
    if options.npy:
        with files.whole(options.npy) as unfinished, unfinished.open("wb") as handle:
            np.save(handle, found.values)
    if options.names:
        with files.whole(options.names) as unfinished:
            # A name that is not UTF-8 keeps its bytes.
            text = "".join(f"{name}\n" for name in found.names)
            unfinished.write_text(text, encoding="utf-8", errors="surrogateescape")
