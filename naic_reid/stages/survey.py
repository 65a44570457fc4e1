"""Data folder → what it holds: label lists and images, by name, digest or size, and who is on them.

The workflow compares these small tables between runs instead of folders of a million images. A table
is written only when its content changed, so that looking again reruns nothing.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from naic_reid.artifacts import MadeBy, read_table, write_table
from naic_reid.config import Collect, DataSet, Split, Test
from naic_reid.data import layouts
from naic_reid.data.folders import flat
from naic_reid.data.labelled import Labelled
from naic_reid.data.layouts import Options
from naic_reid.errors import ReidError, listing
from naic_reid.files import digest

REVISION = 1
TRAIN_HEADER = ["path", "size", "digest"]
TEST_HEADER = ["path", "size"]

_log = logging.getLogger(__name__)


def run(
    collect: Collect,
    split: Split | None,
    tests: dict[str, Test],
    *,
    data: Path,
    train: Path,
    test: list[Path],
    sources: list[Path],
    sets: list[Path],
) -> None:
    """Write down what the config names in the data folder.

    Args:
        train: label lists (path, size, digest).
        test: at most one: the competition's test images (path, size), where there is its round.
        sources: one for each source in the order of the config that is no label list: its training images.
        sets: one for each of `tests`, in the order of names: its images in every role of a test.
    """
    problems: list[str] = []
    listed = [source for source in collect.sources if source.listed]
    lists = []
    for name in dict.fromkeys(source.list for source in listed):
        path = data / name
        if path.is_file():
            lists.append(f"{name}\t{path.stat().st_size}\t{digest(path)}")
        else:
            problems.append(f"{path}: no such label list")
    folders = (split.query, split.gallery) if split else ()
    images = [row for folder in folders for row in _images(data, folder, problems)]
    if problems:
        raise listing(problems, f"{data}: the data folder is not as the config says")
    others = [source for source in collect.sources if not source.listed]
    found = [_found(data, source.name, source, ("train",)) for source in others]
    found += [_answered(data, name, one) for name, one in tests.items()]
    _write(train, "TrainSurvey", {"lists": [source.list for source in listed]}, TRAIN_HEADER, lists)
    for path in test if split else ():
        settings = dict(zip(("query", "gallery"), folders, strict=True))
        _write(path, "TestSurvey", settings, TEST_HEADER, images)
    for path, (one, remarks) in zip([*sources, *sets], found, strict=True):
        if _written(path, one):
            for remark in remarks:
                _log.warning("survey: %s: %s", path.stem, remark)


def _roles(test: Test) -> tuple[str, ...]:
    return ("query", "gallery", *(("multi_query",) if test.multi_query else ()))


def _answered(data: Path, name: str, test: Test) -> tuple[Labelled, tuple[str, ...]]:
    """A test set that its protocol can score: found out before training, not after it.

    Raises:
        ReidError: as `_found`; or no query has a positive, and the message says by which rule.
    """
    from naic_reid import labels  # numba, which label lists need not wait for
    from naic_reid.retrieval import protocols

    found, remarks = _found(data, name, test, _roles(test))
    nothing = {row.path: "" for row in found.rows}
    lists = [found.image_list(role, found.made_by, nothing) for role in ("query", "gallery")]
    rule = protocols.named(test.rule)
    protocols.require_positives(rule, *labels.of_lists(*lists), f"{data / test.folder}: test {name}")
    return found, remarks


def _found(data: Path, name: str, one: DataSet, roles: tuple[str, ...]) -> tuple[Labelled, tuple[str, ...]]:
    """The images of a data set in these roles, and what their owner may want to know.

    Raises:
        ReidError: the folder is not of the layout, or something in it does not fit; everything is named.
    """
    options = Options(one.variant, one.pattern or "", one.table or "", one.special)
    read = layouts.read(data / one.folder, one.layout, roles, options)
    chosen = [row for row in read.rows if row.role in roles]
    # `protocol` is no matter of what lies in the folder.
    settings = {"name": name, "set": one.model_dump(exclude={"protocol"}), "roles": list(roles)}
    made_by = MadeBy.of("survey", REVISION, settings, [])
    remarks = (*read.remarks, *layouts.deviations(one.layout, one.variant, chosen))
    return Labelled.of(data, one.folder, name, chosen, made_by), remarks


def _images(data: Path, folder: str, problems: list[str]) -> list[str]:
    """`path, size` of the images in a flat folder, sorted."""
    found, wrong, others = flat(data / folder)
    problems += wrong
    if others:
        _log.warning("%s: %d entries that are no images by name are left out", data / folder, others)
    return [f"{folder}/{path.name}\t{path.stat().st_size}" for path in found]


def _written(path: Path, found: Labelled) -> bool:
    """Write what was found, if it is not there yet."""
    try:
        known = Labelled.read(path)
    except ReidError:  # not there yet, or damaged
        known = None
    if known == found:
        return False
    found.write(path)
    _log.info("%s: %d rows written", path, len(found.rows))
    return True


def _write(path: Path, kind: str, settings: Mapping[str, object], header: list[str], rows: list[str]) -> None:
    made_by = MadeBy.of("survey", REVISION, settings, [])
    try:
        known = read_table(path, kind, header)
    except ReidError:  # not there yet, or damaged
        known = None
    if known != (made_by, [row.split("\t") for row in rows]):
        write_table(path, kind, made_by, header, rows)
        _log.info("%s: %d rows written", path, len(rows))
