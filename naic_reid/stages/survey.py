"""Data folder → what it holds: label lists and test images, by name and digest.

The workflow compares these two small tables between runs instead of folders of a million images. A
table is written only when its content changed, so that looking again reruns nothing.
"""

import logging
from pathlib import Path

from naic_reid.artifacts import MadeBy, read_table, write_table
from naic_reid.config import Collect, Split
from naic_reid.data.folders import flat
from naic_reid.errors import ReidError, listing
from naic_reid.files import digest

REVISION = 1
TRAIN_HEADER = ["path", "size", "digest"]
TEST_HEADER = ["path", "size"]

_log = logging.getLogger(__name__)


def run(collect: Collect, split: Split, *, data: Path, train: Path, test: Path) -> None:
    """Write down the label lists (path, size, digest) and the test images (path, size)."""
    problems: list[str] = []
    lists = []
    for name in dict.fromkeys(source.list for source in collect.sources):
        path = data / name
        if path.is_file():
            lists.append(f"{name}\t{path.stat().st_size}\t{digest(path)}")
        else:
            problems.append(f"{path}: no such label list")
    images = [row for folder in (split.query, split.gallery) for row in _images(data, folder, problems)]
    if problems:
        raise listing(problems, f"{data}: the data folder is not as the config says")
    _write(train, "TrainSurvey", {"lists": [source.list for source in collect.sources]}, TRAIN_HEADER, lists)
    _write(test, "TestSurvey", {"query": split.query, "gallery": split.gallery}, TEST_HEADER, images)


def _images(data: Path, folder: str, problems: list[str]) -> list[str]:
    """`path, size` of the images in a flat folder, sorted."""
    found, wrong, others = flat(data / folder)
    problems += wrong
    if others:
        _log.warning("%s: %d entries that are no images by name are left out", data / folder, others)
    return [f"{folder}/{path.name}\t{path.stat().st_size}" for path in found]


def _write(path: Path, kind: str, settings: dict[str, object], header: list[str], rows: list[str]) -> None:
    made_by = MadeBy.of("survey", REVISION, settings, [])
    try:
        known = read_table(path, kind, header)
    except ReidError:  # not there yet, or damaged
        known = None
    if known != (made_by, [row.split("\t") for row in rows]):
        write_table(path, kind, made_by, header, rows)
        _log.info("%s: %d rows written", path, len(rows))
