"""A labelled test → the same with partial bodies: the part of each image that every model is shown."""

import logging
from dataclasses import replace
from pathlib import Path

from naic_reid.artifacts import ImageList, MadeBy
from naic_reid.config import Cut
from naic_reid.data.crops import Rule
from naic_reid.data.looks import looks
from naic_reid.errors import listing
from naic_reid.progress import shown

REVISION = 1

_log = logging.getLogger(__name__)


def run(
    seed: int, cut: Cut, *, data: Path, query: Path, gallery: Path, cut_query: Path, cut_gallery: Path,
    workers: int = 1,
) -> None:  # fmt: skip
    """Reads the lists of a test, writes them with the part of each image that is shown.

    A draw depends on the seed, the test's name and the image's path alone: entries of one test that differ in
    how much stays cut each image at the same quantile.
    """
    rule = Rule(cut.side, cut.keep)
    settings = {"seed": seed, "cut": cut}
    made_by = MadeBy.of("cut", REVISION, settings, [query, gallery])
    for role, given, made in (("query", query, cut_query), ("gallery", gallery, cut_gallery)):
        images = replace(ImageList.read(given), made_by=made_by)
        if role == "query" or cut.roles == "both":
            seen = list(shown(looks(data, images.paths, workers=workers), f"cut: {role}", len(images)))
            faults = [
                f"{path}: {look.fault}" for path, look in zip(images.paths, seen, strict=True) if look.fault
            ]
            if faults:
                raise listing(faults, "unusable test images; mend them: a score must answer every query")
            crops = [
                rule.drawn(look.height, look.width, seed=seed, test=cut.of, image=path)
                for path, look in zip(images.paths, seen, strict=True)
            ]
            images = replace(images, crops=tuple(map(str, crops)))
        images.write(made)
        _log.info(
            "cut: %s: %d images of %s, %s", made, len(images), cut.of, rule if any(images.crops) else "whole"
        )
