"""Shows a finished run's worst queries: what they were taken for, and where in them a model looks.

    naic-reid hard RUN                              a table: the worst of all queries first
    naic-reid hard RUN --html hard.html             as a page, too, with pictures and heat maps
    naic-reid hard RUN --model wide --domain green --queries 50

For each query its average precision, the rank of the first right image, the best wrong one before that, and
the place of the last map where activations are strongest: row and column from 0, and the pixels of the
picture that it covers. On the page that place is framed. Answers must be known: a run with a truth, or with a
test set that has labels.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from naic_reid import files, pages, runs
from naic_reid.artifacts import NOT_MET, RIGHT, WRONG, Floats
from naic_reid.data.crops import Part
from naic_reid.errors import ReidError
from naic_reid.pages.pictures import thumbnail
from naic_reid.pages.sections import Section, as_text
from naic_reid.progress import shown
from naic_reid.runs import Run
from naic_reid.scores import POOLED

if TYPE_CHECKING:  # torch, which --help need not wait for
    from naic_reid.extractor import Extractor
    from naic_reid.heat import Peak

_HEIGHT = 256  # pixels of a picture on the page
_HEADER = ("domain", "query", "AP", "first right", "wrong before it", "h", "w", "rows", "columns")


class Image(NamedTuple):
    """One of a ranking."""

    path: str
    rank: int
    """From 1, among those that count for the query."""


class Hard(NamedTuple):
    """A query, and how it went wrong."""

    domain: str
    path: str
    person: str
    precision: float
    first: int
    """Rank of the first right image; 0: none is in the gallery's list."""
    wrong: Image | None
    """The best wrong one before it."""
    right: Image | None
    """The first right one, where the run kept so much of the ranking."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder in which a run ended")
    parser.add_argument("--queries", type=int, default=20, help="how many are shown; default 20")
    parser.add_argument("--domain", help="of this one alone; default: the worst of all")
    parser.add_argument("--ranking", metavar="NAME", help="as on the card, with a comma: 'small/epoch_10, "
                        "plain'; default: the last of each domain")  # fmt: skip
    parser.add_argument("--model", metavar="NAME",
                        help="of the config: whose map is shown; default: the first by name")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="FOLDER",
                        help="of the pictures; default: the run's toy or data/MyDataSet")  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default auto")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with pictures, written")


def run(options: argparse.Namespace) -> int:
    """Prints the table, and writes the page."""
    if options.queries < 1:
        raise ReidError("--queries must be at least 1")
    if options.html:
        runs.apart(options.html, [options.run])
    finished = runs.read(options.run)
    hard = _worst(finished, options)
    from naic_reid.extractor import Extractor  # here, for --help need not wait for torch

    checkpoint = _checkpoint(runs.results_of(options.run), options.model)
    words = finished.settings.get("extract", {})
    seen = _Seen(Extractor.load(checkpoint, options.device, **words), finished, options)
    peaks = [seen.peak(one.domain, "query", one.path) for one in shown(hard, "heat maps", len(hard))]
    rows = [_row(one, place) for one, place in zip(hard, peaks, strict=True)]
    note = f"by {options.ranking or 'the last ranking'}; map of {checkpoint}"
    print(as_text([Section(f"The {len(hard)} worst queries", _HEADER, rows, note)]), end="")
    if options.html:
        told = [_told(one, place, seen) for one, place in zip(hard, peaks, strict=True)]
        text = pages.rendered("hard.html.j2", queries=told, note=note, run=str(options.run))
        with files.whole(options.html) as unfinished:
            unfinished.write_text(text, encoding="utf-8", errors="replace")
        print(f"{options.html}: the page")
    return 0


def _worst(finished: Run, options: argparse.Namespace) -> list[Hard]:
    """Those of all domains, or of the one that is asked for, by average precision."""
    domains = [name for name in finished.domains if name != POOLED and finished.heads(name) is not None]
    if options.domain:
        if options.domain not in domains:
            raise ReidError(f"--domain {options.domain}: there are {', '.join(domains) or 'none'}")
        domains = [options.domain]
    found = [one for domain in domains for one in _of_domain(finished, domain, options.ranking)]
    if not found:
        raise ReidError(f"{options.run}: keeps no list of any query: run evaluate again")
    return sorted(found, key=lambda one: (one.precision, one.domain, one.path))[: options.queries]


def _of_domain(finished: Run, domain: str, ranking: str | None) -> Iterator[Hard]:
    heads, scored = finished.heads(domain), finished.domains[domain]
    assert heads is not None, "a domain without was left out"
    if heads.queries != tuple(scored.names):
        raise ReidError(f"{finished.folder}: {domain}: its lists are of other queries: run evaluate again")
    names = [", ".join(words) for words in heads.rankings]
    if ranking and ranking not in names:
        raise ReidError(f"--ranking: {domain} has no {ranking!r}; there are: {'; '.join(names)}")
    at = names.index(ranking) if ranking else len(names) - 1
    counted, sums = scored.rows[at].each["counted"], scored.rows[at].each["mAP"]
    for query in np.flatnonzero(counted > 0).tolist():
        marks = heads.marks[at, query].tolist()
        right = marks.index(RIGHT) if RIGHT in marks else len(marks)
        wrong = marks.index(WRONG) if WRONG in marks[:right] else None

        def image(place: int, query: int = query, marks: list[int] = marks) -> Image:
            rank = 1 + sum(mark != NOT_MET for mark in marks[:place])
            return Image(heads.gallery[heads.indices[at, query, place]], rank)

        yield Hard(
            domain, heads.queries[query], heads.queried[query], float(sums[query] / counted[query]),
            int(scored.found[at].first[query]) if scored.found else 0,
            None if wrong is None else image(wrong), image(right) if right < len(marks) else None,
        )  # fmt: skip


def _checkpoint(results: Path, model: str | None) -> Path:
    """The last that is kept of a model, or of the first."""
    epochs: dict[str, list[Path]] = {}
    for path in sorted((results / "train").glob("*/epoch_*.pt")):
        epochs.setdefault(path.parent.name, []).append(path)
    if not epochs or (model and model not in epochs):
        told = f"--model {model}: there are {', '.join(epochs)}" if epochs else "no model is there any more"
        raise ReidError(f"{results / 'train'}: {told}")
    return max(epochs[model or next(iter(epochs))], key=lambda path: int(path.stem.removeprefix("epoch_")))


class _Seen:
    """Pictures as the run showed them, each with its heat."""

    def __init__(self, extractor: "Extractor", finished: Run, options: argparse.Namespace) -> None:
        self._extractor = extractor
        self._data = options.data or runs.data_of(options.run)
        self._crops = cache(finished.crops)
        self._kept: dict[tuple[str, str, str], tuple[NDArray[np.uint8], Floats]] = {}

    def peak(self, domain: str, role: str, path: str) -> "Peak":
        """Where a picture's map is strongest."""
        from naic_reid.heat import peak

        picture, strengths = self._of(domain, role, path)
        return peak(strengths, *picture.shape[:2])

    def told(self, domain: str, role: str, path: str, *, frame: bool = False) -> dict[str, Any]:
        """A picture and its heat map for the page; with a frame around the peak."""
        from naic_reid.heat import framed, overlay, peak

        picture, strengths = self._of(domain, role, path)
        width = max(1, round(picture.shape[1] * _HEIGHT / picture.shape[0]))
        large = np.asarray(cv2.resize(picture, (width, _HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
        heated = overlay(large, strengths)
        if frame:
            place = peak(strengths, _HEIGHT, width)
            large, heated = framed(large, place), framed(heated, place)
        pictures = [thumbnail(each, _HEIGHT) for each in (large, heated)]
        return {"name": Path(path).name, "pictures": pictures}

    def _of(self, domain: str, role: str, path: str) -> tuple[NDArray[np.uint8], Floats]:
        from naic_reid.heat import heat

        key = domain, role, path
        if key not in self._kept:
            picture = Part(self._data / path, crop=self._crops(domain, role).get(path, "")).read()
            self._kept[key] = picture, heat(self._extractor, picture)
        return self._kept[key]


def _row(one: Hard, place: "Peak") -> tuple[object, ...]:
    wrong = f"{one.wrong.rank}: {Path(one.wrong.path).name}" if one.wrong else "-"
    return (
        one.domain, Path(one.path).name, f"{100 * one.precision:.1f}", one.first or "-", wrong, place.row,
        place.column, f"{place.top}-{place.bottom}", f"{place.left}-{place.right}",
    )  # fmt: skip


def _told(one: Hard, place: "Peak", seen: _Seen) -> dict[str, Any]:
    """A query as the page shows it: itself, what it was taken for, and what it should have been."""
    shown_as: list[dict[str, Any]] = [
        {"kind": "asked", "said": "query", "sign": "", **seen.told(one.domain, "query", one.path, frame=True)}
    ]
    for image, kind, sign in ((one.wrong, "wrong", "✗"), (one.right, "right", "✓")):
        if image:
            told = seen.told(one.domain, "gallery", image.path)
            shown_as.append({"kind": kind, "sign": sign, "said": f"rank {image.rank}, {kind}", **told})
    missing = "" if one.right else f"The first right image, rank {one.first or 'none'}, is not in the list."
    return {
        "domain": one.domain, "name": Path(one.path).name, "person": one.person, "first": one.first,
        "precision": f"{100 * one.precision:.1f}", "place": place, "images": shown_as, "missing": missing,
    }  # fmt: skip
