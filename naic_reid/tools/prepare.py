"""Lays a data set out anew: a folder for each identity, under train, val, query, gallery and others.

    naic-reid prepare market1501 data/Market-1501-v15.09.15 data/market
    naic-reid prepare vehicleid data/VehicleID data/cars --variant small --copy

Files are hard links, which take no room, or copies where the two folders lie on different disks. The new
folder is there whole or not at all; the old one is left as it is. The layout `folders` reads it back, and so
do projects that expect this form. Where the data set has no validation images, val gets one image of each
person of several; train and val share none.
"""

import argparse
import os
import shutil
from collections import Counter
from pathlib import Path

from naic_reid.data import layouts
from naic_reid.data.layouts import LAYOUTS, Options
from naic_reid.data.prepared import Placed, plan
from naic_reid.errors import ReidError
from naic_reid.files import whole
from naic_reid.pages.sections import Section, as_text
from naic_reid.progress import shown


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("layout", choices=LAYOUTS, metavar="LAYOUT", help=", ".join(LAYOUTS))
    parser.add_argument("source", type=Path, metavar="FROM", help="the data set's folder")
    parser.add_argument("target", type=Path, metavar="TO", help="the new folder")
    parser.add_argument("--variant", default="", metavar="NAME", help="of the layout, e.g. small, detected")
    parser.add_argument("--copy", action="store_true", help="copy the files instead of linking them")
    parser.add_argument("--seed", type=int, default=0, metavar="INT", help="of the draw for val; default: 0")


def run(options: argparse.Namespace) -> int:
    """Writes the new folder and prints what it holds.

    Raises:
        ReidError: the folder is not of the layout, something in it does not fit, or the new one exists.
    """
    if options.target.exists() or options.target.is_symlink():
        raise ReidError(f"{options.target}: exists: name a new folder, or remove this one first")
    found = layouts.read(options.source, options.layout, (), Options(options.variant))
    placed = plan(found.rows, options.seed)
    with whole(options.target, folder=True) as place:
        for one in shown(iter(placed), "prepare: images", len(placed)):
            target = place / one.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _put(options.source / one.source, target, copy=options.copy)
    for remark in found.remarks:
        print(remark)
    print(as_text([_told(options.target, placed)]), end="")
    return 0


def _put(source: Path, target: Path, *, copy: bool) -> None:
    if not copy:
        try:
            os.link(source.resolve(), target)
            return
        except OSError:  # another disk, or one that knows no links
            pass
    shutil.copyfile(source, target)


def _told(folder: Path, placed: list[Placed]) -> Section:
    images = Counter(one.path.partition("/")[0] for one in placed)
    persons = Counter(path.partition("/")[0] for path in {one.path.rpartition("/")[0] for one in placed})
    rows = [(role, persons[role], num) for role, num in images.items()]
    return Section(f"{folder}", ("folder", "identities", "images"), rows)
