"""Market-1501 (Zheng et al., ICCV 2015): 1,501 persons, six cameras; file names tell person and camera.

Person −1 is junk: a bad detection of somebody, neither right nor wrong. Person 0000 is a distractor.
`gt_bbox` holds hand-drawn boxes, of which multiple queries are made. Variant `500k` adds the folder
`images` of further distractors to the gallery, whatever their names say.
"""

import re
from collections.abc import Iterator

from naic_reid.artifacts import DISTRACTOR
from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, boxes, number

_PLACES = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
    "multi_query": "gt_bbox",
}
_NAME = r"(?P<person>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+\."
_EXAMPLE = "0002_c1s1_000451_03.jpg"
_PUBLISHED = {
    "train": Counts(751, 12_936, 6),
    "query": Counts(750, 3_368, 6),
    "gallery": Counts(751, 15_913, 6),
    "multi_query": Counts(None, 25_259, None),
}


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The four folders, and the 500,000 distractors where the variant asks for them."""
    home = folder.home(("Market-1501-v15.09.15", "Market-1501", "market1501"), tuple(_PLACES.values()))
    yield from boxes(folder, options, home, _PLACES, _NAME, _EXAMPLE)
    if options.variant == "500k":
        more = folder.images(f"{home}images")
        if not more:
            folder.wrong("no images of the 500k distractors", f"{home}images")
        for path in more:
            camera = re.search(r"_c(\d+)", path.rpartition("/")[2])
            yield Row(path, "gallery", "0000", number(camera[1]) if camera else "", mark=DISTRACTOR)


LAYOUT = Layout(
    rows,
    "the folders bounding_box_train, query and bounding_box_test, here or in Market-1501-v15.09.15",
    _EXAMPLE,
    "market",
    ("", "500k"),
    {"": _PUBLISHED, "500k": {role: count for role, count in _PUBLISHED.items() if role != "gallery"}},
)
