"""DukeMTMC-reID (Ristani et al. 2016; Zheng et al., ICCV 2017) and Occluded-Duke (Miao et al., ICCV 2019).

Eight cameras. 408 persons of the gallery have no query: they need no mark to be wrong for all. In
Occluded-Duke images moved from gallery to query; folders and names are the same.
"""

from collections.abc import Iterator

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, boxes

_PLACES = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_NAME = r"(?P<person>\d+)_c(?P<camera>\d+)_f\d+\."
_EXAMPLE = "0001_c2_f0046182.jpg"


def rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The three folders of DukeMTMC-reID."""
    home = folder.home(("DukeMTMC-reID", "dukemtmc-reid"), tuple(_PLACES.values()))
    return boxes(folder, options, home, _PLACES, _NAME, _EXAMPLE)


def occluded_rows(folder: Folder, options: Options) -> Iterator[Row]:
    """The three folders of Occluded-Duke."""
    home = folder.home(("Occluded_Duke", "Occluded-DukeMTMC-reID"), tuple(_PLACES.values()))
    return boxes(folder, options, home, _PLACES, _NAME, _EXAMPLE)


LAYOUT = Layout(
    rows,
    "the folders bounding_box_train, query and bounding_box_test, here or in DukeMTMC-reID",
    _EXAMPLE,
    "market",
    published={
        "": {
            "train": Counts(702, 16_522, 8),
            "query": Counts(702, 2_228, 8),
            "gallery": Counts(1_110, 17_661, 8),
        }
    },
)
OCCLUDED = Layout(
    occluded_rows,
    "the folders bounding_box_train, query and bounding_box_test, here or in Occluded_Duke",
    _EXAMPLE,
    "market",
    published={
        "": {
            "train": Counts(702, 15_618, 8),
            "query": Counts(519, 2_210, 8),
            "gallery": Counts(1_110, 17_661, 8),
        }
    },
)
