"""One page to look at: score card, ranked lists, curves, distances, data, and what made all of it."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from naic_reid import __version__, files, lineage, pages
from naic_reid import scores as scored
from naic_reid.artifacts import JUNK, Heads, ImageList, MadeBy, Ranking, read_json, read_table, write_json
from naic_reid.config import Report
from naic_reid.errors import ReidError
from naic_reid.pages import curves, lists, pictures
from naic_reid.scores import Scored

REVISION = 1
EXAMPLES = 12  # dropped images that are named
_COUNTS = ["source", "listed", "unreadable", "wrong_label", "repeated_line", "two_identities", "same_bytes",
           "same_pixels", "too_few_images", "images", "identities"]  # fmt: skip
_DROPPED = ["path", "identity", "line", "reason", "kept", "remark"]
_log = logging.getLogger(__name__)


def run(
    report: Report,
    *,
    data: Path,
    card: list[Path],
    scores: list[Path],
    heads: list[Path],
    rankings: list[Path],
    tested: list[Path],
    trained: Path,
    histories: list[Path],
    counts: Path,
    dropped: Path,
    page: Path,
    record: Path,
) -> None:
    """Reads what a run ended with, writes the page and, beside it, its record.

    Args:
        card: none where no answers are known.
        scores: of each domain whose answers are known, named like its file.
        heads: likewise.
        rankings: of each domain whose answers are not known.
        tested: lists of all domains, `query_DOMAIN` and `gallery_DOMAIN`.
        histories: of every model, in a folder named like it.
    """
    started = time.monotonic()
    report = report or Report()
    inputs = [*card, *scores, *heads, *rankings, *tested, trained, *histories, counts, dropped]
    made_by = MadeBy.of("report", REVISION, {"report": report}, inputs)
    told = (
        read_json(card[0], "Card")[1]
        if card
        else {"sections": {}, "rules": {}, "protocols": {}, "trained_on": {}}
    )
    read = {path.stem: scored.read(path) for path in scores}
    images = {path.stem: ImageList.read(path) for path in tested}
    domains = [*_judged(read, heads), *_unjudged(rankings, images)]
    shown = lists.shown(domains, report.queries, report.best)
    content = {
        "title": f"Person re-identification: {', '.join(domain.name for domain in domains) or 'no queries'}",
        "summary": _summary(images),
        "warnings": _warnings(told["trained_on"]),
        "card": told["sections"],
        "rules": told["rules"],
        "protocols": told["protocols"],
        "headline": _headline(told["sections"]),
        "distance": scored.distance,
        "charts": {"training": curves.training(histories), "ranks": _ranks(read)},
        "tables": [_sizes({"training": ImageList.read(trained)} | images), *_problems(counts, dropped)],
        **_chain(made_by),
        "numbers_json": _script({"sections": told["sections"], "trained_on": told["trained_on"]}),
    }
    text = _with_pictures(content, shown, data, report)
    with files.whole(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="replace")
    write_json(record, "Report", made_by, {"page": files.digest(page), "queries": shown.queries})
    _log.info("report: wrote %s, %.1f MB, in %.1f s", page, len(text) / 1e6, time.monotonic() - started)


def _judged(read: Mapping[str, Scored], heads: Sequence[Path]) -> Iterator[lists.Domain]:
    for (name, domain), path in zip(read.items(), heads, strict=True):
        found = Heads.read(path)
        if found.queries != tuple(domain.names):
            raise ReidError(
                f"{path}: is of other queries than the scores: delete both and run evaluate again"
            )
        if not found.indices.shape[2]:  # of drawn trials there is no one list
            continue
        rows = domain.rows[: len(found.members)]
        times = [np.maximum(row.each["counted"], 1) for row in rows]
        precisions = [row.each["mAP"] / number for row, number in zip(rows, times, strict=True)]
        firsts = [hits.first.tolist() for hits in domain.found[: len(rows)]]
        yield lists.of_heads(name, found, [own.tolist() for own in precisions], firsts)


def _unjudged(rankings: Sequence[Path], images: Mapping[str, ImageList]) -> Iterator[lists.Domain]:
    for path in rankings:
        name, found = path.stem, Ranking.read(path)
        queries, gallery = (images[f"{role}_{name}"] for role in ("query", "gallery"))
        if (queries.names, gallery.names) != (found.queries, found.gallery):
            raise ReidError(f"{path}: is not of the images of its lists: delete it and run fuse again")
        yield lists.of_ranking(name, found, queries.paths, gallery.paths)


def _summary(images: Mapping[str, ImageList]) -> str:
    asked, searched = (
        sum(len(one) for name, one in images.items() if name.startswith(f"{role}_"))
        for role in ("query", "gallery")
    )
    return f"{asked:,} queries, {searched:,} gallery images."


def _warnings(trained_on: Mapping[str, Sequence[int]]) -> list[str]:
    return [
        f"Trained on: {copies:,} of {total:,} images in {name} are copies of training images; a score is "
        "worth less for it."
        for name, (copies, total) in trained_on.items()
        if copies
    ]


def _headline(sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The row that is shown large: of the first domain with queries, the last single one."""
    for name, rows in sections.items():
        row = next((row for row in reversed(rows) if "multiple" not in row), None)
        if row and row.get("interval"):
            return {"name": name, "row": row, "distance": scored.distance(row)}
    return {}


def _ranks(read: Mapping[str, Scored]) -> list[curves.Drawing]:
    """Of each domain the CMC of its rankings, and how far apart pairs are in those that tell it."""
    found = []
    for number, (name, domain) in enumerate(read.items()):
        firsts = {}
        for row, hits in zip(domain.rows, domain.found, strict=False):
            valid = row.each["counted"] > 0
            if valid.any() and "multiple" not in row.kind:
                firsts[row.name] = hits.first[valid]
        if firsts:
            found.append(curves.cmc(f"cmc-{number}", name, firsts))
        for row in domain.rows:
            if sum(row.histogram.get("same", [])):
                label, how = f"distances-{number}-{len(found)}", scored.distance(row.kind)
                found.append(curves.distances(label, name, how, row.histogram, row.limits))
    return found


def _sizes(images: Mapping[str, ImageList]) -> dict[str, Any]:
    rows = [
        [
            name,
            len(one),
            len({*one.identities} - {""}) or "–",
            len({*one.cameras} - {""}) or "–",
            one.marks.count(JUNK),
        ]
        for name, one in images.items()
    ]
    header = ["list", "images", "persons", "cameras", "junk"]
    return {"title": "Sizes", "note": "", "header": header, "rows": rows, "texts": [0]}


def _problems(counts: Path, dropped: Path) -> list[dict[str, Any]]:
    """What was found in the training lists, and some of what was left out for it."""
    rows = [
        [int(value) if value.isdigit() else value for value in row]
        for row in read_table(counts, "Counts", _COUNTS)[1]
    ]
    header = [name.replace("_", " ") for name in _COUNTS]
    out = read_table(dropped, "Dropped", _DROPPED)[1]
    seen: dict[str, int] = {}
    examples: list[list[str]] = []
    for row in out:  # a few of each reason
        seen[row[3]] = seen.get(row[3], 0) + 1
        if seen[row[3]] <= 3 and len(examples) < EXAMPLES:
            examples.append([row[0], row[1], row[3], row[4] or row[5]])
    note = f"{len(out):,} lines of the lists were left out" + (": some" if out else "") + "."
    return [
        {"title": "Training sources, and what was wrong with them", "note": "", "header": header,
         "rows": rows, "texts": [0]},
        {"title": "Left out", "note": note, "header": ["image", "identity", "because", "kept, or why"],
         "rows": examples, "texts": [0, 1, 2, 3]},
    ]  # fmt: skip


def _chain(made_by: MadeBy) -> dict[str, Any]:
    """Every file that the page was made from, each once, and the settings of every step."""
    links: list[dict[str, str]] = []
    settings: dict[str, str] = {}
    open_ones = [(Path(), given, recorded) for given, recorded in made_by.inputs]
    seen = set()
    for user, given, recorded in open_ones:
        path = lineage.place(user, given) if user.name else Path(given)
        if (given, recorded) in seen:
            continue
        seen.add((given, recorded))
        one = lineage.record(path) if path and path.is_file() else None
        by = f"{one.stage}, revision {one.revision}" if one else "given" if path else "is missing"
        links.append({"name": given, "by": by, "digest": recorded[:12]})
        if one and path:
            if one.settings != "{}":
                settings.setdefault(one.settings, one.stage)
            open_ones += [(path, below, digest) for below, digest in one.inputs]
    told: dict[str, str] = {}
    for text, stage in settings.items():
        told[f"{stage} {1 + sum(key.split()[0] == stage for key in told)}"] = text
    return {
        "chain": links,
        "settings": told,
        "footer": f"naic-reid {__version__}, from {len(links):,} files.",
    }


def _script(value: Any) -> str:
    """JSON that may stand in a page's script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # so that nothing in it ends the element


def _with_pictures(content: dict[str, Any], shown: lists.Shown, data: Path, report: Report) -> str:
    """The page, its pictures as large as the rest leaves room for."""
    content |= {
        "lists": shown,
        "lists_json": _script({"domains": shown.domains}),
        "pictures_json": _script({}),
    }
    notes = [
        f"The worst {shown.queries:,} of {shown.of:,} queries; report.queries in the config asks for more."
    ]
    content["lists_notes"] = notes if shown.queries < shown.of else []
    bare = len(pages.rendered("report.html.j2", **content).encode("utf-8", errors="replace"))
    room = max(0, int(1e6 * report.megabytes) - bare - 16 * len(shown.files) - 400)
    found = pictures.album({key: data / path for key, path in shown.files.items()}, room)
    if found.left_out:
        content["lists_notes"].append(
            f"{found.left_out:,} pictures had no room in {report.megabytes:g} MB; report.megabytes in the "
            "config gives more."
        )
    if found.missing:
        content["lists_notes"].append(f"{found.missing:,} images cannot be read any more.")
    return pages.rendered("report.html.j2", **content | {"pictures_json": _script(found.pictures)})
