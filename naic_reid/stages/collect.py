"""Training sources → one table of their images, each file read once.

Every line of every list is checked before an image is opened, and every image before training
begins; each time all problems are named together.
"""

import logging
import time
from pathlib import Path, PurePosixPath
from sys import intern

from naic_reid import files
from naic_reid.artifacts import MadeBy, read_table
from naic_reid.config import Collect
from naic_reid.data.images import Look
from naic_reid.data.label_lists import Entry, listed
from naic_reid.data.labelled import Labelled
from naic_reid.data.looks import looks
from naic_reid.data.records import Records
from naic_reid.errors import ReidError, listing
from naic_reid.progress import shown

REVISION = 1

_UNUSABLE = "the label lists have lines that cannot be used"
_log = logging.getLogger(__name__)


def run(
    collect: Collect, *, data: Path, lists: Path, sources: list[Path], images: Path, workers: int = 1,
    cache: Path | None = None,
) -> None:  # fmt: skip
    """Read the label lists and the data sets that `survey` found, and every image they name once."""
    began = time.monotonic()
    entries = _entries(collect, data, lists, sources)
    paths = list(dict.fromkeys(path for path, *_ in entries))
    _log.info(
        "collect: %d lines of %d sources name %d images", len(entries), len(collect.sources), len(paths)
    )
    seen = looks(data, paths, with_pixels=collect.decode, workers=workers, cache=cache)
    bar = shown(seen, "collect: images", len(paths))
    # Of each look only this is kept: there may be a million.
    found = {
        path: (known.digest.hex(), known.pixels.hex(), known.fault, _size(known))
        for path, known in zip(paths, bar, strict=True)
    }
    faults = [f"{data / path}: {fault}" for path, (*_, fault, _) in found.items() if fault]
    if faults and collect.unreadable == "fail":
        raise listing(
            faults, "unusable images; mend them, take them off their lists, or set collect.unreadable: drop"
        )
    rows = (
        (path, identity, line, *found[path][:3], camera, found[path][3])
        for path, identity, line, camera in entries
    )
    made_by = MadeBy.of("collect", REVISION, {"collect": collect}, [lists, *sources])
    Records.of(rows, made_by).write(images)
    _log.info(
        "collect: %d lines → %s in %.1f s; %d unusable images",
        len(entries), images, time.monotonic() - began, len(faults),
    )  # fmt: skip


def _size(known: Look) -> str:
    return intern(f"{known.height} {known.width}") if known.height else ""


def _entries(
    collect: Collect, data: Path, lists: Path, sources: list[Path]
) -> list[tuple[str, str, int, str]]:
    """(path in the data folder, identity, line, camera) of every line, or one error about all bad ones."""
    _, surveyed = read_table(lists, "TrainSurvey", ["path", "size", "digest"])
    known = {path: checksum for path, _, checksum in surveyed}
    found, problems = [], []
    others = iter(sources)
    for source in collect.sources:
        if not source.listed:
            labelled = Labelled.read(next(others))
            problems += labelled.resized(data)
            found += [
                (row.path, intern(row.identity), line, intern(row.camera))
                for line, row in enumerate(labelled.rows, start=1)
            ]
            continue
        file = data / source.list
        if source.list not in known:
            raise ReidError(f"{lists}: does not name {source.list}: run survey again with this config")
        content = _content(file)
        if files.digest_of(content) != known[source.list]:
            raise ReidError(f"{file}: changed since the survey: run survey again")
        entries, wrong, gave_up = listed(content, data / source.images, str(file))
        problems += wrong
        if gave_up:
            raise listing(problems, _UNUSABLE, more=True)
        prefix = "" if PurePosixPath(source.images) == PurePosixPath() else f"{PurePosixPath(source.images)}/"
        found += [_placed(source.name, prefix, entry) for entry in entries]
    if problems:
        raise listing(problems, _UNUSABLE)
    return found


def _content(file: Path) -> bytes:
    try:
        return files.content(file)
    except OSError as error:
        raise ReidError(f"{file}: cannot be read: {error.strerror or error}") from error


def _placed(source: str, prefix: str, entry: Entry) -> tuple[str, str, int, str]:
    identity = intern(f"{source}/{entry.label}")  # one object for a person's many lines
    return prefix + entry.name, identity, entry.line, ""
