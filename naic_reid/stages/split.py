"""Query and gallery folders → one list for each domain.

Each domain is searched on its own: a query can only be answered from the gallery of its domain.
"""

import logging
import time
from pathlib import Path

import numpy as np

from naic_reid.artifacts import ImageList, MadeBy, read_table, write_table
from naic_reid.config import Split
from naic_reid.data import domains
from naic_reid.data.looks import looks
from naic_reid.errors import ReidError, listing
from naic_reid.progress import shown

REVISION = 2
MEANS_HEADER = ["role", "path", "mean_b", "mean_g", "mean_r", "domain"]

_log = logging.getLogger(__name__)


def run(
    split: Split, *, data: Path, test: Path, query: list[Path], gallery: list[Path], means: Path,
    workers: int = 1, cache: Path | None = None,
) -> None:  # fmt: skip
    """Write a role's images by domain, in the order of `split.domains`, and every image's means."""
    began = time.monotonic()
    _, surveyed = read_table(test, "TestSurvey", ["path", "size"])
    paths = [path for path, _ in surveyed]
    _log.info("split: %d images", len(paths))
    seen = looks(data, paths, workers=workers, cache=cache)
    found = list(shown(seen, "split: images", len(paths)))
    faults = [
        f"{data / path}: {known.fault}" for path, known in zip(paths, found, strict=True) if known.fault
    ]
    faults += [
        f"{data / path}: another size than surveyed; run survey again"
        for (path, size), known in zip(surveyed, found, strict=True)
        if not known.fault and (data / path).stat().st_size != int(size)
    ]
    if faults:
        raise listing(faults, "unusable test images; mend them: a submission must answer every query")

    values = np.array([known.means for known in found]).reshape(-1, 3)
    named = _named(split, values)
    made_by = MadeBy.of("split", REVISION, {"split": split}, [test])
    digest_of = {path: known.digest.hex() for path, known in zip(paths, found, strict=True)}
    rows = []
    for role, folder, lists in (("query", split.query, query), ("gallery", split.gallery, gallery)):
        mine = [at for at, path in enumerate(paths) if path.rpartition("/")[0] == folder]
        rows += [_row(role, paths[at], values[at].tolist(), named[at]) for at in mine]
        for domain, path in zip(split.domains, lists, strict=True):
            chosen = tuple(sorted(paths[at] for at in mine if named[at] == domain))
            if not chosen:
                raise ReidError(
                    f"{data / folder}: no image is in the domain {domain}: set split.rule: none, or mend "
                    f"split.threshold ({split.threshold:g})"
                )
            digests = tuple(digest_of[image] for image in chosen)
            ImageList(chosen, ("",) * len(chosen), made_by, digests=digests).write(path)
            _log.info("split: %d images of the %s are %s", len(chosen), role, domain)
    write_table(means, "Means", made_by, MEANS_HEADER, rows)
    close = int(domains.close_calls(values, split.threshold).sum()) if split.rule == "brightness" else 0
    _log.info(
        "split: %d of %d images have a mean within 1 of the threshold; %.1f s",
        close, len(paths), time.monotonic() - began,
    )  # fmt: skip


def _named(split: Split, means: domains.Means) -> list[str]:
    """The domain of each row."""
    if split.rule == "none":
        return ["all"] * len(means)
    return ["green" if bright else "normal" for bright in domains.green(means, split.threshold)]


def _row(role: str, path: str, means: list[float], domain: str) -> str:
    return "\t".join((role, path, *(f"{mean:.4f}" for mean in means), domain))
