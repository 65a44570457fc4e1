"""VeRi-776 (Liu et al., ECCV 2016): 776 vehicles, twenty cameras; image to image, by Market's rule."""

from collections.abc import Iterator

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, boxes

_PLACES = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
_NAME = r"(?P<person>\d+)_c(?P<camera>\d+)_\d+_\d+\."
_EXAMPLE = "0001_c001_00016450_0.jpg"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The three folders of images."""
    home = folder.home(("VeRi", "veri", "VeRi-776"), tuple(_PLACES.values()))
    return boxes(folder, options, home, _PLACES, _NAME, _EXAMPLE)


LAYOUT = Layout(
    rows,
    "the folders image_train, image_query and image_test, here or in VeRi",
    _EXAMPLE,
    "market",
    published={
        "": {
            "train": Counts(575, 37_778, 20),
            "query": Counts(200, 1_678, 20),
            "gallery": Counts(200, 11_579, 20),
        }
    },
)
