"""The tables of a run's data: how large the lists are, what was wrong with the sources, what was left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from naic_reid.artifacts import JUNK, ImageList, read_table
from naic_reid.data.records import Records
from naic_reid.pages import findings as inspected
from naic_reid.pages.findings import Listed
from naic_reid.pages.sections import Section

EXAMPLES = 12  # dropped images that are named
COUNTS = ["source", "listed", "unreadable", "wrong_label", "repeated_line", "two_identities", "same_bytes",
          "same_pixels", "too_few_images", "images", "identities"]  # fmt: skip
_WRONG = "wrong label"  # the reason for which dedupe drops what is known to be so
DROPPED = ["path", "identity", "line", "reason", "kept", "remark"]


def sizes(images: Mapping[str, ImageList], known: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """How large lists are.

    Args:
        images: name → list.
        known: name → who is on its images, of lists that do not tell it themselves.
    """
    rows = [
        [
            name,
            len(one),
            len({*one.identities} - {""} or {*known.get(name, ())} - {""}) or "–",
            len({*one.cameras} - {""}) or "–",
            one.marks.count(JUNK),
        ]
        for name, one in images.items()
    ]
    header = ["list", "images", "persons", "cameras", "junk"]
    return {"title": "Sizes", "note": "", "header": header, "rows": rows, "texts": [0], "strips": []}


def findings(data: Path, collected: Path, dropped: Path) -> list[dict[str, Any]]:
    """What `naic-reid inspect` finds in training lists, of the images as they were collected."""
    out = read_table(dropped, "Dropped", DROPPED)[1]
    wrong = {(path, identity, int(line)) for path, identity, line, reason, *_ in out if reason == _WRONG}
    listed = Listed.of(data, Records.read(collected), wrong)
    return [_of_section(section) for section in inspected.sections(listed)]


def _of_section(section: Section) -> dict[str, Any]:
    texts = [at for at in range(len(section.header)) if any(isinstance(row[at], str) for row in section.rows)]
    return {"title": section.title, "note": section.note, "header": section.header,
            "rows": section.rows, "texts": texts, "strips": section.strips}  # fmt: skip


def problems(counts: Path, dropped: Path) -> list[dict[str, Any]]:
    """What was found in the training lists, and some of what was left out for it."""
    rows = [
        [int(value) if value.isdigit() else value for value in row]
        for row in read_table(counts, "Counts", COUNTS)[1]
    ]
    header = [name.replace("_", " ") for name in COUNTS]
    out = read_table(dropped, "Dropped", DROPPED)[1]
    seen: dict[str, int] = {}
    examples: list[list[str]] = []
    for row in out:  # a few of each reason
        seen[row[3]] = seen.get(row[3], 0) + 1
        if seen[row[3]] <= 3 and len(examples) < EXAMPLES:
            examples.append([row[0], row[1], row[3], row[4] or row[5]])
    note = f"{len(out):,} lines of the lists were left out" + ("; some of them:" if out else ".")
    return [
        {"title": "Training sources, and what was wrong with them", "note": "", "header": header,
         "rows": rows, "texts": [0], "strips": []},
        {"title": "Left out", "note": note, "header": ["image", "identity", "because", "kept, or why"],
         "rows": examples, "texts": [0, 1, 2, 3], "strips": []},
    ]  # fmt: skip
