"""Settings of what is trained on and searched: data sets, lists, images, domains."""

import difflib
import re
from operator import not_
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from naic_reid.architecture import Pixels
from naic_reid.config.section import Count, Inside, Kept, Name, Section, Share, require


class Toy(Section):
    """Generated images in the competition's layout, when there are no real ones."""

    train_identities: Annotated[int, Field(ge=8)] = Field(48, description="persons to train on")
    test_identities: Annotated[int, Field(ge=4)] = Field(16, description="persons in query and gallery")
    images: Annotated[int, Field(ge=4)] = Field(10, description="images of each person")
    cameras: Annotated[int, Field(ge=2)] = Field(4, description="cameras, each with its colours and blur")
    height: Pixels = Field(128, description="pixels of a drawn image")
    width: Pixels = Field(64, description="pixels of a drawn image")


# The keys of retrieval.protocols.PROTOCOLS.
PROTOCOLS = ("naic", "market", "market_trapezoid", "single_shot", "vehicleid", "groups")
# The keys of data.layouts.LAYOUTS: the variants of each, the first where none is named, and the protocol
# of its tests unless they say another. A test keeps this table and the rooms' equal.
LAYOUTS: dict[str, tuple[tuple[str, ...], str]] = {
    "naic": (("",), "naic"),
    "market1501": (("", "500k"), "market"),
    "dukemtmc": (("",), "market"),
    "occluded_duke": (("",), "market"),
    "msmt17": (("", "trainval"), "market"),
    "cuhk03_np": (("labeled", "detected"), "market"),
    "veri776": (("",), "market"),
    "vehicleid": (("small", "medium", "large"), "vehicleid"),
    "veriwild": (("small", "medium", "large"), "market"),
    "partial_reid": (("",), "groups"),
    "partial_ilids": (("",), "market"),
    "occluded_reid": (("",), "market"),
    "folders": (("", "trainval"), "market"),
    "table": (("",), "market"),
}
# Layouts whose file names tell who it is, and the groups that a pattern in their place must have.
_BOXES = ("market1501", "dukemtmc", "occluded_duke", "cuhk03_np", "veri776")
_PARTS = ("partial_reid", "partial_ilids", "occluded_reid")
_IN_NAMES: dict[str, frozenset[str]] = {
    **{layout: frozenset({"person", "camera"}) for layout in _BOXES},
    **{layout: frozenset({"person"}) for layout in _PARTS},
    "folders": frozenset(),
}


class DataSet(Section):
    """A data set in one of the field's layouts, within the data folder."""

    layout: str = Field(description=f"how it lies in its folder: {', '.join(LAYOUTS)}")
    folder: Inside = Field(".", exclude_if=".".__eq__, description="where it lies in the data folder")
    variant: str = Field(
        "", exclude_if=not_,
        description="which of it, e.g. 500k, trainval, detected, small, large; none: the layout's first",
    )  # fmt: skip
    pattern: str | None = Field(
        None, exclude_if=not_,
        description="of file names that no layout knows, with groups (?P<person>…) and (?P<camera>…)",
    )  # fmt: skip
    table: Inside | None = Field(
        None, exclude_if=not_, description="layout table: the CSV file; none: the only one of the folder"
    )
    special: bool = Field(
        True, exclude_if=True.__eq__,
        description="persons published as -1 are junk and those published as 0000 distractors",
    )  # fmt: skip

    @field_validator("layout")
    @classmethod
    def _known(cls, layout: str) -> str:
        near = difflib.get_close_matches(layout, LAYOUTS, n=3) or LAYOUTS
        require(layout in LAYOUTS, f"unknown layout {layout!r}; near: {', '.join(near)}")
        return layout

    @model_validator(mode="after")
    def _options_fit_the_layout(self) -> Self:
        known = [variant for variant in LAYOUTS[self.layout][0] if variant]
        require(
            not self.variant or self.variant in known,
            f"the layout {self.layout} has no variant {self.variant!r}; it has: {', '.join(known) or 'none'}",
        )
        require(not self.table or self.layout == "table", f"the layout {self.layout} reads no table")
        if self.pattern is not None:
            needed = _IN_NAMES.get(self.layout)
            require(needed is not None, f"the layout {self.layout} reads no file names: leave pattern out")
            groups = _groups(self.pattern)
            require(
                bool(groups) and (needed or frozenset()) <= groups <= {"person", "camera", "group"},
                f"pattern {self.pattern!r} needs named groups (?P<…>) for "
                f"{' and '.join(sorted(needed or ())) or 'person or camera'}",
            )
        return self


class Source(DataSet):
    """A labelled data set to train on; in NAIC's layout a label list and the folder its paths start from."""

    name: Name = Field(description="short name; identities are called name/label")
    layout: str = Field("naic", exclude_if="naic".__eq__, description="as of tests; naic: a list and images")
    list: Inside | Literal[""] = Field(
        "", exclude_if=not_, description="naic: the label list, e.g. train_2020_fs/train_list.txt"
    )
    images: Inside | Literal[""] = Field(
        "", exclude_if=not_, description="naic: folder the listed paths are relative to"
    )

    @property
    def listed(self) -> bool:
        """Whether a label list names its images."""
        return self.layout == "naic"

    @model_validator(mode="after")
    def _list_and_images(self) -> Self:
        if self.listed:
            require(bool(self.list and self.images), "layout naic needs list and images")
            require(self.folder == ".", "layout naic has no folder: list and images start in the data folder")
        else:
            require(not self.list and not self.images, f"layout {self.layout} has no list and no images")
        return self


class Test(DataSet):
    """A labelled query and gallery that is scored: a domain of its own, called as in the table."""

    protocol: str | None = Field(
        None, exclude_if=not_, description=f"rule of ranking: {', '.join(PROTOCOLS)}; none: the layout's"
    )
    multi_query: bool = Field(
        False,
        exclude_if=not_,
        description="score multiple queries, too: features of one person and camera averaged",
    )

    @field_validator("layout")
    @classmethod
    def _labelled(cls, layout: str) -> str:
        require(layout != "naic", "NAIC's test images have no labels: its round is the section split")
        return layout

    @field_validator("protocol")
    @classmethod
    def _a_protocol(cls, protocol: str | None) -> str | None:
        known = protocol is None or protocol in PROTOCOLS
        require(known, f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
        return protocol

    @property
    def rule(self) -> str:
        """The protocol it is scored by."""
        return self.protocol or LAYOUTS[self.layout][1]


class Cut(Section):
    """Partial bodies of a labelled test: a domain of its own, of the same images, cut."""

    of: Name = Field(description="the test that is cut, or holdout")
    side: Literal["legs", "head", "both", "mostly_legs"] = Field(
        "legs", description="what is cut off; both: either, by even odds; mostly_legs: four times of five"
    )
    keep: tuple[Kept, Kept] = Field(
        (0.5, 0.5), description="least and greatest share of the rows that stay, above 1: all"
    )
    roles: Literal["query", "both"] = Field("query", description="whose images are cut: queries, or all")

    @field_validator("keep")
    @classmethod
    def _the_least_first(cls, keep: tuple[float, float]) -> tuple[float, float]:
        require(keep[0] <= keep[1], f"{keep[0]:g}, {keep[1]:g}: the least share comes first")
        return keep


class Collect(Section):
    """Where training images come from."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(
        description="data sets, most trusted first: of identical images the first source's is kept"
    )
    unreadable: Literal["fail", "drop"] = Field(
        "fail",
        description="what to do with images that cannot be decoded: stop before training, or leave out",
    )
    decode: bool = Field(
        True, description="decode every image: finds damaged ones before training; dedupe.by_pixels needs it"
    )

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [source.name for source in self.sources]
        require(len(set(names)) == len(names), "two sources have the same name")
        return self


class Dedupe(Section):
    """What is dropped and who is united before training."""

    wrong_labels: str | None = Field(
        None, description="file of wrongly labelled listed paths, e.g. data_lists/wrong_labels.txt"
    )
    wrong_label_sources: tuple[str, ...] = Field((), description="sources the wrong labels occur in")
    by_pixels: bool = Field(True, description="also compare decoded pixels, not only file bytes")
    unite: bool = Field(True, description="make one identity of two that share an image; false: the original")
    max_component: Annotated[int, Field(ge=2)] = Field(
        16, description="refuse to make one person of more identities than this: a wrong link is likelier"
    )
    min_images: Count = Field(2, description="identities with fewer images are dropped, last of all")
    benchmarks: bool = Field(
        False, exclude_if=not_,
        description="also of sources that are no label lists; by default all their images stay, repeats and "
        "persons seen once, as their published protocols have them",
    )  # fmt: skip


class Holdout(Section):
    """Whole identities set aside as a labelled query and gallery: the domain `holdout`."""

    share: Share = Field(0.05, description="share of identities set aside; 0 switches the hold-out off")
    query_images: Count = Field(1, description="images of each identity that become queries")
    folds: Annotated[int, Field(ge=0)] = Field(
        0,
        exclude_if=not_,
        description="parts that identities are cut into, of which one is set aside; 0: share",
    )
    fold: Annotated[int, Field(ge=0)] = Field(0, exclude_if=not_, description="which of the folds, from 1")

    @property
    def asked(self) -> bool:
        """Whether anybody is set aside."""
        return bool(self.share or self.folds)

    @model_validator(mode="after")
    def _a_fold_of_folds(self) -> Self:
        require(self.folds != 1, "folds 1: nobody would be left to train on: give 2 or more")
        known = range(1, self.folds + 1) if self.folds else (0,)
        told = f"from 1 to {self.folds}" if self.folds else "folds, too"
        require(self.fold in known, f"fold {self.fold}: give {told}")
        return self


class Split(Section):
    """The competition's round: query and gallery folders without labels, into domains searched apart."""

    query: Inside = Field("image_B_v1_1/query", description="folder of query images in the data folder")
    gallery: Inside = Field("image_B_v1_1/gallery", description="folder of gallery images in the data folder")
    rule: Literal["brightness", "none"] = Field(
        "brightness",
        description="brightness: green if all channel means exceed the threshold; none: one domain",
    )
    threshold: Annotated[float, Field(ge=0, le=255)] = Field(65.0, description="grey levels, strictly above")

    @model_validator(mode="after")
    def _two_folders(self) -> Self:
        require(
            self.query != self.gallery,
            f"query and gallery are one folder, {self.query!r}: every query would find itself",
        )
        return self

    @property
    def domains(self) -> tuple[str, ...]:
        """The competition's domains under this rule."""
        return ("green", "normal") if self.rule == "brightness" else ("all",)


def _groups(pattern: str) -> set[str]:
    """The names of a regular expression's groups."""
    try:
        return set(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error
