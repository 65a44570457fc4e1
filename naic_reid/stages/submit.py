"""Puts the rankings of all domains into the competition's JSON, with a record of what made it beside."""

import json
import logging
from pathlib import Path

from naic_reid import files
from naic_reid.artifacts import ImageList, MadeBy, Ranking, write_json
from naic_reid.artifacts import submission as json_of
from naic_reid.errors import listing

REVISION = 1
_log = logging.getLogger(__name__)


def run(
    *, rankings: list[Path], queries: list[Path], galleries: list[Path], submission: Path, record: Path
) -> None:
    """Reads a `Ranking` and two `ImageList`s of each domain; writes the JSON and its record.

    Raises:
        ReidError: a query of the lists is missing, or answered with images of another domain.
    """
    read = [Ranking.read(path) for path in rankings]
    answers = json_of.merge(read)
    domains = [
        (ImageList.read(one).names, ImageList.read(other).names)
        for one, other in zip(queries, galleries, strict=True)
    ]
    wrong = json_of.problems(answers, domains)
    if wrong:
        raise listing(wrong, "the rankings do not fit the lists of images; run fuse again on these lists")
    made_by = MadeBy.of("submit", REVISION, {}, [*rankings, *queries, *galleries])
    with files.whole(submission) as unfinished:
        unfinished.write_text(json.dumps(answers, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    told = {
        "submission": files.digest(submission),
        "rankings": {
            path.as_posix(): json.loads(ranking.made_by.to_json())
            for path, ranking in zip(rankings, read, strict=True)
        },
    }
    write_json(record, "Record", made_by, told)
    _log.info("submit: wrote %s, %d queries", submission, len(answers))
