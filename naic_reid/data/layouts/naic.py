"""NAIC's layout: label lists beside folders of training images, and two folders of test images.

The test images have no labels. In a config a source of this layout names its list and its folder; here
the competition's own places are looked at.
"""

from collections.abc import Iterator

from naic_reid.data.label_lists import absent, parse
from naic_reid.data.layouts.reading import Folder, Layout, Options, Row
from naic_reid.files import regular

_TESTS = ("image_B_v1_1", "image_A_v1_1", "image_B", "image_A")


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The lines of every `train_list.txt`, and the query and gallery folders."""
    for below in folder.folders(""):
        if (folder.root / below / "train_list.txt").is_file():
            yield from _listed(folder, below)
    test = folder.first("", *_TESTS)
    for role in ("query", "gallery"):
        for path in folder.images(f"{test}/{role}"):
            yield Row(path, role)


def _listed(folder: Folder, below: str) -> Iterator[Row]:
    images = folder.first(f"{below}/", "images", "").rstrip("/")
    file = folder.root / below / "train_list.txt"
    entries, problems = parse(regular(file).read_bytes(), str(file))
    missing = absent(entries, folder.root / images, str(file))
    folder.problems += problems + missing
    first = {entry.name: entry for entry in reversed(entries)} if not missing else {}
    if len(first) < len(entries):
        folder.remarks.append(f"{file}: {len(entries) - len(first)} lines name an image again")
    for name, entry in first.items():
        yield Row(f"{images}/{name}", "train", f"{below}/{entry.label}")


LAYOUT = Layout(
    rows,
    "label lists train_…/train_list.txt and the folders image_B_v1_1/query and gallery",
    "00012345.png:17",
    "naic",
)
