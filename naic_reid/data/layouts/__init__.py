"""How the field's data sets lie in their folders: a function and a line for each.

A layout turns a folder into rows (path, role, identity, camera, group, mark). It refuses a folder that is not
its own with what it expected and what is there, names all problems at once, follows no path out of the
folder, and knows what the data set's authors counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from naic_reid.artifacts import JUNK
from naic_reid.data.layouts import (
    cuhk03_np,
    dukemtmc,
    folders,
    market1501,
    msmt17,
    naic,
    partial,
    table,
    vehicleid,
    veri776,
    veriwild,
)
from naic_reid.data.layouts.reading import ROLES, Counts, Folder, Layout, Options, Row
from naic_reid.errors import ReidError, listing

__all__ = [
    "LAYOUTS",
    "ROLES",
    "Counts",
    "Found",
    "Layout",
    "Options",
    "Row",
    "counted",
    "deviations",
    "look",
    "read",
]

LAYOUTS: dict[str, Layout] = {
    "naic": naic.LAYOUT,
    "market1501": market1501.LAYOUT,
    "dukemtmc": dukemtmc.LAYOUT,
    "occluded_duke": dukemtmc.OCCLUDED,
    "msmt17": msmt17.LAYOUT,
    "cuhk03_np": cuhk03_np.LAYOUT,
    "veri776": veri776.LAYOUT,
    "vehicleid": vehicleid.LAYOUT,
    "veriwild": veriwild.LAYOUT,
    "partial_reid": partial.PARTIAL_REID,
    "partial_ilids": partial.PARTIAL_ILIDS,
    "occluded_reid": partial.OCCLUDED_REID,
    "folders": folders.LAYOUT,
    "table": table.LAYOUT,
}


@dataclass(frozen=True)
class Found:
    """What a folder holds under a layout."""

    rows: tuple[Row, ...]
    """Sorted by role, in the order of `ROLES`, and path."""
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    def of(self, role: str) -> list[Row]:
        """The rows of a role."""
        return [row for row in self.rows if row.role == role]


def look(folder: Path, name: str, options: Options = Options()) -> Found:  # noqa: B008 (a constant)
    """What the folder holds under a layout, with all problems gathered.

    Raises:
        ReidError: the folder is not there, holds nothing of the layout, or the variant is unknown.
    """
    layout = LAYOUTS[name]
    variant = options.variant or layout.variants[0]
    if variant not in layout.variants:
        known = ", ".join(filter(None, layout.variants)) or "none"
        raise ReidError(f"the layout {name} has no variant {variant!r}; it has: {known}")
    if not folder.is_dir():
        raise ReidError(f"{folder}: no such folder; the layout {name} expects {layout.expects}")
    place = Folder(folder)
    rows = sorted(layout.rows(place, options._replace(variant=variant)), key=_order)
    if not rows:
        wrong = f"nothing in it fits, first of {len(place.problems)} problems: " if place.problems else ""
        raise _not_its_own(folder, name, f"{wrong}{place.problems[0]}; " if wrong else "")
    twice = [one for one, other in pairwise(rows) if _order(one) == _order(other)]
    for path, role, *_ in twice:
        place.wrong(f"is listed twice as {role}", path)
    if place.others:
        place.remarks.append(f"{folder}: {place.others} files that are no images by name are passed over")
    return Found(tuple(rows), tuple(place.problems), tuple(place.remarks))


def read(
    folder: Path,
    name: str,
    roles: Sequence[str],
    options: Options = Options(),  # noqa: B008 (a constant)
) -> Found:
    """As `look`, but every problem is an error, and so is one of these roles without an image.

    Raises:
        ReidError: one sentence for each problem, with its file and line.
    """
    found = look(folder, name, options)
    if found.problems:
        raise listing(list(found.problems), f"{folder}: not a whole folder of the layout {name}")
    empty = [role for role in roles if not found.of(role)]
    if empty:
        raise _not_its_own(folder, name, f"no images for {' and '.join(empty)}; ")
    return found


def counted(rows: Iterable[Row]) -> dict[str, Counts]:
    """Identities, images and cameras of each role, junk left out."""
    kept = [row for row in rows if row.mark != JUNK]
    found = {role: [row for row in kept if row.role == role] for role in ROLES}
    return {
        role: Counts(
            len({row.identity for row in of_role} - {""}),
            len(of_role),
            len({row.camera for row in of_role} - {""}),
        )
        for role, of_role in found.items()
        if of_role
    }


def deviations(name: str, variant: str, rows: Iterable[Row]) -> list[str]:
    """Where a copy has other counts than its authors published, a sentence for each role."""
    published = LAYOUTS[name].published.get(variant or LAYOUTS[name].variants[0], {})
    told = []
    for role, found in counted(rows).items():
        theirs = published.get(role, Counts(None, None))
        if any(theirs[at] not in (None, num) for at, num in enumerate(found)):
            mine, other = (
                " / ".join("–" if num is None else f"{num:,}" for num in counts) for counts in (found, theirs)
            )
            told.append(f"{role}: {mine} identities / images / cameras; published: {other}")
    return told


def _order(row: Row) -> tuple[int, str]:
    return ROLES.index(row.role), row.path


def _not_its_own(folder: Path, name: str, lacks: str = "") -> ReidError:
    there = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    found = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "") or "nothing"
    return ReidError(
        f"{folder}: not a folder of the layout {name}: {lacks}expected {LAYOUTS[name].expects}; found {found}"
    )
