"""Says whether files are valid submissions: {query: [at most 200 gallery names, each once]}.

With --query and --gallery it also says whether every query is answered with images that exist.
Give the pair once for each domain to check that no answer leaves its query's domain, or once with
the whole folders. Exit status 2 if a file is not valid.

    naic-reid check results/submission.json --query data/query --gallery data/gallery
"""

import argparse
from pathlib import Path

from naic_reid.artifacts import ImageList, submission
from naic_reid.errors import ReidError, listing
from naic_reid.files import regular


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="submissions")
    for role in ("query", "gallery"):
        parser.add_argument(
            f"--{role}",
            type=Path,
            action="append",
            default=[],
            metavar="PLACE",
            help=f"folder of {role} images, a file with one name a line, or a list made by split; repeatable",
        )


def run(options: argparse.Namespace) -> int:
    """Prints a line for each valid file; a `ReidError` lists what is wrong with the first that is not."""
    if len(options.query) != len(options.gallery):
        raise ReidError("--query and --gallery belong together: give as many of one as of the other")
    domains = [
        (_names(query), _names(gallery))
        for query, gallery in zip(options.query, options.gallery, strict=True)
    ]
    for path in options.files:
        answers = submission.read(path)
        wrong = submission.problems(answers, domains or None)
        if wrong:
            raise listing(wrong, f"{path}: not a valid submission")
        names = sum(map(len, answers.values()))
        looked = "" if domains else " (shape only: give --query and --gallery to check the names)"
        print(f"{path}: valid: {len(answers)} queries, {names} names{looked}")
    return 0


def _names(place: Path) -> tuple[str, ...]:
    """File names in a folder or in a list."""
    try:
        if place.is_dir():
            return tuple(sorted(entry.name for entry in place.iterdir() if entry.is_file()))
        text = regular(place).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{place}: cannot be read: {error}; name a folder of images or a list") from error
    if text.startswith("# ImageList"):
        return ImageList.read(place).names
    return tuple(line.strip().rpartition("/")[2] for line in text.splitlines() if line.strip())
