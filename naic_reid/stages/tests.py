"""A labelled test set → its query, gallery and multiple-query lists, with persons, cameras and marks.

Each image is looked at once: one that cannot be used is found before training, not after it. Junk (published
as −1: cut-off detections) is left out: no query meets it, published evaluations do not load it, and it would
have a part in re-ranking.
"""

import logging
import time
from pathlib import Path

from naic_reid.artifacts import JUNK, MadeBy
from naic_reid.data.labelled import Labelled
from naic_reid.data.looks import looks
from naic_reid.errors import listing
from naic_reid.progress import shown

REVISION = 3

_log = logging.getLogger(__name__)


def run(
    *, data: Path, found: Path, query: Path, gallery: Path, multi_query: Path, workers: int = 1
) -> None:  # fmt: skip
    """Reads what `survey` found of a test set, writes an `ImageList` for each role; one may be empty."""
    began = time.monotonic()
    labelled = Labelled.read(found)
    paths = sorted({row.path for row in labelled.rows if row.mark != JUNK})
    junk = len({row.path for row in labelled.rows}) - len(paths)
    _log.info("tests: %s: %d images%s", found, len(paths), f"; {junk} of junk are left out" if junk else "")
    seen = shown(looks(data, paths, workers=workers), "tests: images", len(paths))
    told = {path: (known.digest.hex(), known.fault) for path, known in zip(paths, seen, strict=True)}
    faults = [f"{data / path}: {fault}" for path, (_, fault) in told.items() if fault]
    if faults := faults or labelled.resized(data):
        raise listing(faults, "unusable test images; mend them: a score must answer every query")
    made_by = MadeBy.of("tests", REVISION, {}, [found])
    digests = {path: digest for path, (digest, _) in told.items()}
    for role, path in (("query", query), ("gallery", gallery), ("multi_query", multi_query)):
        images = labelled.image_list(role, made_by, digests)
        images.write(path)
        _log.info(
            "tests: %s: %d images of %d identities by %d cameras",
            path, len(images), len(set(images.identities)), len(set(images.cameras) - {""}),
        )  # fmt: skip
    _log.info("tests: wrote the lists in %.1f s", time.monotonic() - began)
