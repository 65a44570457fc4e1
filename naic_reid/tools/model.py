"""What commands that take a model have in common: its options, and how it is loaded."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from naic_reid import files
from naic_reid.data import folders

if TYPE_CHECKING:  # torch, which --help need not wait for
    from naic_reid.extractor import Extractor


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds MODEL, and how its features are taken."""
    parser.add_argument("model", type=Path, metavar="MODEL",
                        help="a checkpoint (.pt), or a folder that Extractor.save wrote")  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default auto")
    parser.add_argument("--precision", metavar="WORD",
                        help="fp32, tf32, bf16 or fp16; default: what the model says, else fp32")  # fmt: skip
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, default=None,
                        help="add the mirror image's feature; default: as the model says")  # fmt: skip
    group = parser.add_argument_group("how pictures come to the input", "defaults: as the model says")
    group.add_argument("--geometry", choices=("resize", "crop", "pad"),
                       help="stretched; or as large as fits: alone, or on a blank input")  # fmt: skip
    group.add_argument("--widen", type=float, metavar="F", help="crop, pad: factor of pictures' widths")
    group.add_argument("--scales", type=areas, metavar="A,B",
                       help="sum features of inputs of A, B times as many pixels, e.g. 1,1.1")  # fmt: skip
    group.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of the input, in pixels")


def loaded(options: argparse.Namespace) -> "Extractor":
    """The model as the options ask for it."""
    from naic_reid.extractor import Extractor

    return Extractor.load(options.model, options.device, **words(options))


def words(options: argparse.Namespace) -> dict[str, Any]:
    """How its features are taken, by the options; None: as the model says."""
    names = ("precision", "flip", "geometry", "widen", "size", "scales")
    return {name: getattr(options, name) for name in names}


def areas(text: str) -> list[float]:
    """Numbers with commas between them."""
    return [float(number) for number in text.split(",")]


def apart(options: argparse.Namespace, written: list[Path | None], read: Sequence[Path | None] = ()) -> None:
    """Refuse to write over the model or what else is read: files, and folders of images.

    Raises:
        ReidError: a file to be written is one of those, or written twice.
    """
    parts = sorted(options.model.iterdir()) if options.model.is_dir() else []
    given = [options.model, *parts, *filter(None, read)]
    files.apart(written, given)
    for folder in given:
        folders.apart(written, folder)
