"""FastReID's model zoo and the friendly baseline's: rows, a row as a config, what of a published file fits.

    naic-reid zoo                                             # the table: rows and published numbers
    naic-reid zoo market1501 sbs resnet50_ibn_a > mine.yaml   # a row's recipe as one config
    naic-reid zoo market1501/sbs/resnet50_ibn_a@head          # the same as FastReID's code has it today
    naic-reid zoo market1501/baseline+losses+circle/resnet50  # one of the friendly baseline's
    naic-reid zoo --check market_sbs_R50-ibn.pth              # what this file is, tensor by tensor
    naic-reid zoo --sizes                                     # the rows as CSV, their networks counted anew

A file that `--check` finds whole can be used wherever a model is asked for: `naic-reid embed FILE PHOTOS …`,
`Extractor.load(FILE)`.
"""

import argparse
from pathlib import Path

from naic_reid import zoo
from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.pages.sections import Section, as_text


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument(
        "row", nargs="*", metavar="WORD", help="data, method and backbone, or data/method/backbone"
    )
    parser.add_argument("--check", type=Path, metavar="FILE", help="a published file of weights")
    parser.add_argument(
        "--sizes", action="store_true", help="the rows as CSV, parameters and GFLOPs counted anew"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the table, a config, or what a file holds.

    Raises:
        ReidError: no such row, or the file is none of FastReID's or lacks something.
    """
    if bool(options.row) + bool(options.check) + options.sizes > 1:
        raise ReidError("give a row, --check FILE or --sizes, not two of them")
    if options.sizes:
        print(_sized(), end="")
    elif options.check is not None:
        print(_checked(options.check), end="")
    elif options.row:
        print(zoo.written(zoo.row("/".join(options.row))), end="")
    else:
        print(_table(), end="")
    return 0


_COLUMNS = 5 + len(zoo.SCORES)
"""Of FastReID's table; the baseline's has one more."""


def _table() -> str:
    header = ("data", "method", "backbone", *zoo.SCORES, "M parameters", "GFLOPs")
    lines: dict[str, list[tuple[str, ...]]] = {"": [], "baseline": []}
    for row in zoo.rows():
        scores = (_shown(getattr(row, name)) for name in zoo.SCORES)
        size = f"{row.parameters / 1e6:.1f}", f"{row.GFLOPs:.2f}"
        lines[row.zoo].append((row.data, row.method, row.backbone, *scores, *size))
    ours = [tuple(map(str, one)) for one in zoo.measured()]
    small = "Measured here, small: 768 photographs of 48 persons, 8 epochs (docs/log/models.md)"
    return as_text(
        [
            Section("FastReID's zoo, as published (percent); GFLOPs of one image", header, lines[""]),
            Section(
                "The friendly baseline's, as published; a method is its words", header, lines["baseline"]
            ),
            Section(small, zoo.Measured._fields, ours),
        ]
    )


def _sized() -> str:
    # Here, for the table and configs need no torch.
    from naic_reid.models import size

    known: dict[Architecture, size.Size] = {}
    lines: list[list[str]] = []
    for row in zoo.rows():
        if not lines or (row.zoo and len(lines[-1]) == _COLUMNS):  # each table has its own head
            lines.append(["data", "method", "backbone", *zoo.SCORES, "parameters", "GFLOPs"])
            lines[-1] += ["split"] * bool(row.zoo)
        architecture = Architecture.within(zoo.settings(row)["models"][row.model])
        found = known[architecture] = known.get(architecture) or size.of(architecture)
        scores = [_shown(getattr(row, name)) for name in zoo.SCORES]
        lines.append(
            [row.data, row.method, row.backbone, *scores, str(found.parameters),
             f"{found.multiplications / 1e9:.3f}", *[row.split] * bool(row.zoo)]
        )  # fmt: skip
    return "".join(",".join(line) + "\n" for line in lines)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


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
    return as_text([Section(str(path), ("what", ""), lines)])
