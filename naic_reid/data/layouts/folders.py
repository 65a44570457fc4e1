"""A folder for each identity, under `train`, `val`, `query`, `gallery` and `multi-query`, or without these.

The identity is the folder's name; class indices follow its lexicographic order. The camera stands in the
file's name (`…_c12…`), or where the config's pattern finds it; where it is in no name, cameras are unknown. A
group, as Partial-REID's protocol has, follows the camera (`…_c1_g5…`).
With a pattern that has a group `person`, images lie directly under the roles' folders, and need no folders of
identities. The folder `-1` is junk, `0000` distractors. Variant `trainval` trains on `train` and `val`,
or on `train_all` where that is all there is.
"""

import re
from collections.abc import Iterator

from naic_reid.data.layouts.reading import Folder, Layout, Options, Row, marked, number

_PLACES = {
    "train": ("train",),
    "val": ("val",),
    "query": ("query",),
    "gallery": ("gallery",),
    "multi_query": ("multi-query", "multi_query"),
}
_TOLD = r"(?:|.*?_)c(?P<camera>\d+)(?:_g(?P<group>\d+))?(?=[^0-9A-Za-z]|s)"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The images of every identity's folder, in every role."""
    names = [*(name for names in _PLACES.values() for name in names), "train_all"]
    home = folder.home(("pytorch",), names)
    there = {role: folder.first(home, *names) for role, names in _PLACES.items()}
    there = {role: below for role, below in there.items() if (folder.root / below).is_dir()}
    if (folder.root / home / "train_all").is_dir() and not {"train", "val"} & there.keys():
        there["train"] = f"{home}train_all"
    if not there:
        there = {"train": ""}
    for role, below in there.items():
        shown = "train" if role == "val" and options.variant == "trainval" else role
        yield from _of_role(folder, options, below, shown)


def told_in(name: str) -> tuple[str, str]:
    """The camera and the group that a file's name tells without a pattern; empty: none."""
    match = re.match(_TOLD, name)
    return (number(match["camera"]), number(match["group"] or "")) if match else ("", "")


def _of_role(folder: Folder, options: Options, below: str, role: str) -> Iterator[Row]:
    flat = "person" in re.compile(options.pattern).groupindex
    found = {"": folder.images(below, nested=True)} if flat else {}
    if not flat:
        for sub in folder.folders(below):
            found[sub.rpartition("/")[2]] = folder.images(sub, nested=True)
        for name in (name for name, images in found.items() if not images):
            folder.remarks.append(f"{folder.root / below / name}: an identity without images")
    pattern = re.compile(options.pattern or _TOLD)
    blind = 0
    for name, images in found.items():
        for path in images:
            match = pattern.match(path.rpartition("/")[2])
            if match is None and options.pattern:
                folder.wrong(f"the pattern {options.pattern} does not fit its name", path)
                continue
            told = match.groupdict() if match else {}
            blind += not told.get("camera")
            identity = told.get("person") or name
            camera, group = (number(told.get(what) or "") for what in ("camera", "group"))
            yield Row(path, role, identity, camera, group, marked(identity, options))
    if 0 < blind < sum(map(len, found.values())):
        folder.remarks.append(
            f"{folder.root / below}: {blind} names tell no camera, others do: give a pattern"
        )


LAYOUT = Layout(
    rows,
    "a folder for each identity, in train, query, gallery or directly here",
    "0002/0002_c1s1_000451_03.jpg",
    "market",
    ("", "trainval"),
)
