"""Images → images without repeats, wrong labels and persons seen once.

The order matters: wrong labels go first, so that they unite nobody; persons seen once go last, when
it is known who is one person. Every line of every list ends in the list of images or in the table of
what was dropped, with the reason; the counts say so per source.
"""

import logging
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path, PurePosixPath

from naic_reid.artifacts import ImageList, MadeBy, write_table
from naic_reid.config import Collect, Dedupe
from naic_reid.data import duplicates
from naic_reid.data.duplicates import Link
from naic_reid.data.label_lists import names
from naic_reid.data.records import Records
from naic_reid.errors import ReidError, listing
from naic_reid.files import regular

REVISION = 2
REASONS = (
    "unreadable", "wrong label", "repeated line", "two identities", "same bytes", "same pixels",
    "too few images",
)  # fmt: skip
DROPPED_HEADER = ["path", "identity", "line", "reason", "kept", "remark"]
COUNTS_HEADER = [
    "source", "listed", *(reason.replace(" ", "_") for reason in REASONS), "images", "identities",
]  # fmt: skip

_log = logging.getLogger(__name__)
_Drops = dict[int, tuple[str, str, str]]  # row → reason, path kept in its place, remark


def run(
    collect: Collect, dedupe: Dedupe, *,
    images: Path, wrong: list[Path], kept: Path, dropped: Path, counts: Path,
) -> None:  # fmt: skip
    """Write the list to train on, the table of dropped lines, and the counts of both per source."""
    began = time.monotonic()
    records = Records.read(images)
    _log.info("dedupe: %d lines of %d sources", len(records), len(collect.sources))
    exempt = _exempt(collect, dedupe, records)
    drops: _Drops = {row: ("unreadable", "", fault) for row, fault in enumerate(records.faults) if fault}
    _drop_wrong_labels(records, _wrong_paths(collect, dedupe, wrong), drops)
    _drop_repeated_lines(records, exempt, drops)
    links = _drop_same_images(records, exempt, dedupe.by_pixels, drops)
    persons = _united(records, links, dedupe) if dedupe.unite else {}
    _drop_rare(records, exempt, persons, dedupe.min_images, drops)

    made_by = MadeBy.of("dedupe", REVISION, {"collect": collect, "dedupe": dedupe}, [images, *wrong])
    rows = sorted((row for row in range(len(records)) if row not in drops), key=records.paths.__getitem__)
    # Not among the step's outputs, which the workflow deletes when a step fails.
    reasons = dropped.with_name("none_left.tsv")
    if not rows:
        _write_dropped(reasons, made_by, records, drops)
        raise ReidError(
            f"{images}: no image is left to train on: {_totals(drops)}; {reasons} names each with its reason"
        )
    reasons.unlink(missing_ok=True)
    paths = tuple(records.paths[row] for row in rows)
    _require_each_once(paths)
    cameras = tuple(records.cameras[row] for row in rows)
    identities = tuple(persons.get(records.identities[row], records.identities[row]) for row in rows)
    digests = tuple(records.digests[row] for row in rows)
    _write_dropped(dropped, made_by, records, drops)
    _write_counts(counts, made_by, collect, records, drops, persons)
    ImageList(paths, identities, made_by, cameras=cameras, digests=digests).write(kept)
    _log.info(
        "dedupe: %d images of %d identities → %s; %s; %.1f s",
        len(paths), len(set(identities)), kept, _totals(drops), time.monotonic() - began,
    )  # fmt: skip


def _exempt(collect: Collect, dedupe: Dedupe, records: Records) -> set[int]:
    """The rows of benchmarks, whose repeats and persons seen once belong to their protocol."""
    benchmarks = {source.name for source in collect.sources if not (source.listed or dedupe.benchmarks)}
    if benchmarks:
        _log.info(
            "dedupe: off for %s: published protocols have their repeats; dedupe.benchmarks: true asks for it",
            ", ".join(sorted(benchmarks)),
        )
    return {row for row, source in enumerate(records.sources) if source in benchmarks}


def _require_each_once(paths: tuple[str, ...]) -> None:
    """Paths in their order: one that two sources share would be two rows of one list."""
    twice = [one for one, other in pairwise(paths) if one == other]
    if twice:
        raise listing(
            twice, "two sources name the same images: leave one out, or set dedupe.benchmarks: true"
        )


def _wrong_paths(collect: Collect, dedupe: Dedupe, files: list[Path]) -> set[str]:
    """Paths in the data folder of the wrongly labelled images."""
    wrong: set[str] = set()
    for file in files:
        try:
            wrong |= names(regular(file).read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            raise ReidError(f"{file}: cannot be read: {error}; name a list of wrong labels") from error
    known = [source for source in collect.sources if source.listed]
    folders = [source.images for source in known if source.name in dedupe.wrong_label_sources]
    return {str(PurePosixPath(folder) / name) for folder in folders for name in wrong}


def _drop_wrong_labels(records: Records, wrong: set[str], drops: _Drops) -> None:
    if not wrong:
        return
    for row, path in enumerate(records.paths):
        if path in wrong:
            drops.setdefault(row, ("wrong label", "", ""))


def _drop_repeated_lines(records: Records, exempt: set[int], drops: _Drops) -> None:
    seen: dict[tuple[str, str], int] = {}
    for row, pair in enumerate(zip(records.paths, records.identities, strict=True)):
        if row in drops or row in exempt:
            continue
        if (first := seen.setdefault(pair, row)) != row:
            drops[row] = ("repeated line", pair[0], f"line {records.lines[first]}")


def _drop_same_images(records: Records, exempt: set[int], by_pixels: bool, drops: _Drops) -> list[Link]:
    """Drop all but one record of each image; what this tells about who is who."""
    hashes = records.pixels if by_pixels else records.digests
    keys = {row: key for row, key in enumerate(hashes) if row not in drops and row not in exempt}
    if not all(keys.values()):
        raise ReidError(
            "dedupe.by_pixels compares pixels, but collect did not decode: set collect.decode: true"
        )
    verdict = duplicates.judge(duplicates.groups(keys), records.identities)
    for row, others in verdict.conflicts.items():
        drops[row] = ("two identities", "", f"also {', '.join(others)}")
    for row, first in verdict.repeats.items():
        same = records.digests[row] == records.digests[first]
        drops[row] = ("same bytes" if same else "same pixels", records.paths[first], "")
    return verdict.links


def _united(records: Records, links: list[Link], dedupe: Dedupe) -> dict[str, str]:
    """Identity → person, reported; refused where a person would swallow too many identities."""
    persons = duplicates.unite(links, records.identities)
    people = duplicates.components(persons)
    if not people:
        return persons
    largest, members = next(iter(people.items()))
    between = Counter(
        " + ".join(sorted({name.partition("/")[0] for name in found})) for found in people.values()
    )
    _log.info(
        "dedupe: %d identities are %d persons (%s); the largest is %s: %s",
        len(persons), len(people), ", ".join(f"{num} in {who}" for who, num in between.most_common()),
        largest, ", ".join(members[:10]),
    )  # fmt: skip
    if len(members) > dedupe.max_component:
        chain = [
            f"{records.identities[a]} = {records.identities[b]}: {records.paths[a]} and {records.paths[b]}"
            for a, b in duplicates.chain(links, records.identities, largest)
        ]
        raise listing(
            chain,
            f"{len(members)} identities would become one person, more than dedupe.max_component = "
            f"{dedupe.max_component}; put wrong images into dedupe.wrong_labels, or raise the cap; the links",
        )
    return persons


def _drop_rare(
    records: Records, exempt: set[int], persons: dict[str, str], least: int, drops: _Drops
) -> None:
    left = [row for row in range(len(records)) if row not in drops and row not in exempt]
    people = [persons.get(records.identities[row], records.identities[row]) for row in left]
    num_images = Counter(people)
    for row, name in zip(left, people, strict=True):
        if num_images[name] < least:
            drops[row] = ("too few images", "", f"{num_images[name]} of {name}")


def _write_dropped(path: Path, made_by: MadeBy, records: Records, drops: _Drops) -> None:
    rows = [
        "\t".join((records.paths[row], records.identities[row], str(records.lines[row]), *drops[row]))
        for row in sorted(drops)
    ]
    write_table(path, "Dropped", made_by, DROPPED_HEADER, rows)


def _write_counts(
    path: Path, made_by: MadeBy, collect: Collect, records: Records, drops: _Drops, persons: dict[str, str]
) -> None:
    """Per source, and in all: lines listed = lines dropped by reason + images kept."""
    sources = tuple(records.sources)
    listed = Counter(sources)
    reasons = Counter((sources[row], drop[0]) for row, drop in drops.items())
    people: dict[str, set[str]] = {source.name: set() for source in collect.sources}
    for row, identity in enumerate(records.identities):
        if row not in drops:
            people[sources[row]].add(persons.get(identity, identity))
    lines = []
    for name, found in people.items():
        by_reason = [reasons[name, reason] for reason in REASONS]
        lines.append([name, listed[name], *by_reason, listed[name] - sum(by_reason), len(found)])
    # A united person counts in each of her sources, but once in all.
    totals = [sum(column) for column in zip(*(line[1:-1] for line in lines), strict=True)]
    lines.append(["(all)", *totals, len(set().union(*people.values()))])
    write_table(path, "Counts", made_by, COUNTS_HEADER, ["\t".join(map(str, line)) for line in lines])


def _totals(drops: _Drops) -> str:
    found = Counter(reason for reason, *_ in drops.values())
    return ", ".join(f"{found[reason]} {reason}" for reason in REASONS if found[reason]) or "nothing dropped"
