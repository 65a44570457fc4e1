"""Partial-REID (Zheng et al. 2015), Partial-iLIDS (He et al. 2018) and Occluded-REID (Zhuo et al. 2018).

Queries show a part of a person, the gallery whole persons. Nobody published cameras: the role is the camera,
so that no rule about cameras removes anything. The number in a name is the group, of which Partial-REID's
protocol makes single-shot trials.
"""

from collections.abc import Iterator, Mapping, Sequence

from naic_reid.data.layouts.reading import Counts, Folder, Layout, Options, Row, number

_NUMBERED = r"(?P<person>\d+)_(?P<group>\d+)\."
_SINGLE = r"(?P<person>\d+)(?P<group>)[_.]"


def _rows(
    folder: Folder, options: Options, roots: Sequence[str], places: Mapping[str, Sequence[str]], pattern: str,
    example: str, *, nested: bool = False,
) -> Iterator[Row]:  # fmt: skip
    home = folder.home(roots, [name for names in places.values() for name in names])
    for camera, (role, names) in enumerate(places.items()):
        images = folder.images(folder.first(home, *names), nested=nested)
        for path, match in folder.fitting(images, options.pattern or pattern, example):
            group = number(match["group"]) if "group" in match.re.groupindex else ""
            yield Row(path, role, match["person"], str(camera), group)


def partial_reid(folder: Folder, options: Options) -> Iterator[Row]:
    """Sixty persons, five partial and five whole images of each."""
    places = {"query": ("partial_body_images", "query"), "gallery": ("whole_body_images", "gallery")}
    return _rows(folder, options, ("Partial_REID", "PartialREID"), places, _NUMBERED, "001_1.jpg")


def partial_ilids(folder: Folder, options: Options) -> Iterator[Row]:
    """119 persons, one partial and one whole image of each."""
    places = {
        "query": ("Probe", "query", "partial_body_images"),
        "gallery": ("Gallery", "gallery", "whole_body_images"),
    }
    return _rows(folder, options, ("Partial_iLIDS", "PartialiLIDS"), places, _SINGLE, "001.jpg")


def occluded_reid(folder: Folder, options: Options) -> Iterator[Row]:
    """200 persons, five occluded and five whole images of each, flat or in a folder for each person."""
    places = {"query": ("occluded_body_images", "query"), "gallery": ("whole_body_images", "gallery")}
    roots = ("Occluded_REID", "OccludedREID")
    return _rows(folder, options, roots, places, _NUMBERED, "001_01.tif", nested=True)


PARTIAL_REID = Layout(
    partial_reid,
    "the folders partial_body_images and whole_body_images, or query and gallery, here or in Partial_REID",
    "001_1.jpg",
    "groups",
    published={"": {"query": Counts(60, 300), "gallery": Counts(60, 300)}},
)
PARTIAL_ILIDS = Layout(
    partial_ilids,
    "the folders Probe and Gallery, or query and gallery, here or in Partial_iLIDS",
    "001.jpg",
    "market",
    published={"": {"query": Counts(119, 119), "gallery": Counts(119, 119)}},
)
OCCLUDED_REID = Layout(
    occluded_reid,
    "the folders occluded_body_images and whole_body_images, or query and gallery, here or in Occluded_REID",
    "001_01.tif",
    "market",
    published={"": {"query": Counts(200, 1_000), "gallery": Counts(200, 1_000)}},
)
