"""FastReID's model zoo: its rows, a row as a config, and what of a published file fits.

    naic-reid zoo                                             # the table: rows and published numbers
    naic-reid zoo market1501 sbs resnet50_ibn_a > mine.yaml   # a row's recipe as one config
    naic-reid zoo --check market_sbs_R50-ibn.pth              # what this file is, tensor by tensor

A file that `--check` finds whole can be used wherever a model is asked for: `naic-reid embed FILE PHOTOS …`,
`Extractor.load(FILE)`.
"""

import argparse
from pathlib import Path

from naic_reid import zoo
from naic_reid.errors import ReidError
from naic_reid.tools import page
from naic_reid.tools.page import Section


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument(
        "row", nargs="*", metavar="WORD", help="data, method and backbone, or data/method/backbone"
    )
    parser.add_argument("--check", type=Path, metavar="FILE", help="a published file of weights")


def run(options: argparse.Namespace) -> int:
    """Prints the table, a config, or what a file holds.

    Raises:
        ReidError: no such row, or the file is none of FastReID's or lacks something.
    """
    if options.check is not None:
        if options.row:
            raise ReidError("give a row or --check FILE, not both")
        print(_checked(options.check), end="")
    elif options.row:
        print(zoo.written(zoo.row("/".join(options.row))), end="")
    else:
        print(_table(), end="")
    return 0


def _table() -> str:
    header = ("data", "method", "backbone", "R1", "R5", "mAP", "mINP")
    lines = [tuple(_shown(getattr(row, name)) for name in header) for row in zoo.rows()]
    return page.text([Section("FastReID's zoo, as published (percent)", header, lines)])


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _checked(path: Path) -> str:
    # Here, for the table and configs need no torch.
    from naic_reid.models import fastreid
    from naic_reid.models.weights import loaded

    tensors = fastreid.tensors_of(loaded(path))
    if tensors is None:
        raise ReidError(f"{path}: its tensors are not called as FastReID's are")
    converted = fastreid.convert(tensors, path)
    options = converted.checkpoint.architecture.options
    lines = [
        ("network", ", ".join(f"{name} {value}" for name, value in options.items())),
        ("tensors", str(converted.report)),
        ("left out", ", ".join(converted.left_out) or "nothing"),
        ("assumed", "; ".join(converted.assumed) or "nothing"),
        *((name, " × ".join(map(str, tensor.shape)) or "1") for name, tensor in tensors.items()),
    ]
    return page.text([Section(str(path), ("what", ""), lines)])
