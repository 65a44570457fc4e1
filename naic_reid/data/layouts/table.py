"""A CSV file with the columns path, identity, role and, where known, camera and group.

The roles are train, val, query, gallery and multi_query, and of gallery images also junk (neither right nor
wrong) and distractor (always wrong). The file is the only .csv of the folder, or the one that the config
names; paths are relative to the folder.
"""

import csv
from collections.abc import Iterator

from naic_reid.artifacts import DISTRACTOR, JUNK
from naic_reid.data.layouts.reading import ROLES, Folder, Layout, Options, Row, marked, number

_NEEDED = ("path", "identity", "role")
_KNOWN = (*_NEEDED, "camera", "group")


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The rows of the CSV file."""
    file = options.table or _only_csv(folder)
    lines = dict(folder.lines(file)) if file else {}
    reader = csv.DictReader(lines.values(), skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    missing = [name for name in _NEEDED if name not in header]
    if lines and missing:
        folder.wrong(f"has no column {', '.join(missing)}; it needs path, identity, role", file, 1)
        return
    try:
        read = list(zip(list(lines)[1:], reader, strict=False))
    except csv.Error as error:
        folder.wrong(f"is no CSV table: {error}", file, reader.line_num + 1)
        return
    for line, raw in read:
        if None in raw or None in raw.values():
            folder.wrong(f"has not the {len(header)} columns of its header", file, line)
            continue
        told = {name: (raw.get(name) or "").strip() for name in _KNOWN}
        mark = told["role"] if told["role"] in (JUNK, DISTRACTOR) else ""
        role = "gallery" if mark else told["role"]
        if role not in ROLES:
            known = ", ".join((*ROLES, JUNK, DISTRACTOR))
            folder.wrong(f"its role is missing or unknown ({role!r}): there are {known}", file, line)
        elif not told["identity"] and not mark:
            folder.wrong("its identity is missing", file, line)
        elif image := folder.named(told["path"], line, file):
            mark = mark or marked(told["identity"], options)
            yield Row(image, role, told["identity"], number(told["camera"]), number(told["group"]), mark)


def _only_csv(folder: Folder) -> str:
    """The name of the folder's CSV file; a problem where there are several."""
    found = sorted(path.name for path in folder.root.glob("*.csv"))
    if len(found) > 1:
        folder.problems.append(f"{folder.root}: {len(found)} tables, {', '.join(found)}: name one in `table`")
    return found[0] if len(found) == 1 else ""


LAYOUT = Layout(
    rows, "a CSV file with the columns path, identity, camera, role", "a/1.jpg,0002,3,query", "market"
)
