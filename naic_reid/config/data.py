"""Settings of what is trained on and searched: lists, images, domains."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from naic_reid.architecture import Pixels
from naic_reid.config.section import Count, Name, Section, Share, require


class Toy(Section):
    """Generated images in the competition's layout, when there are no real ones."""

    train_identities: Annotated[int, Field(ge=8)] = Field(48, description="persons to train on")
    test_identities: Annotated[int, Field(ge=4)] = Field(16, description="persons in query and gallery")
    images: Annotated[int, Field(ge=4)] = Field(10, description="images of each person")
    cameras: Annotated[int, Field(ge=2)] = Field(4, description="cameras, each with its colours and blur")
    height: Pixels = Field(128, description="pixels of a drawn image")
    width: Pixels = Field(64, description="pixels of a drawn image")


class Source(Section):
    """One published label list and the folder its paths start from, both within the data folder."""

    name: Name = Field(description="short name; identities are called name/label")
    list: str = Field(description="the label list, e.g. train_2020_fs/train_list.txt")
    images: str = Field(description="folder the listed paths are relative to, e.g. train_2020_fs/images")


class Collect(Section):
    """Where training images come from."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(
        description="label lists, most trusted first: of identical images the first source's is kept"
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


class Holdout(Section):
    """Whole identities set aside as a labelled query and gallery: the domain `holdout`."""

    share: Share = Field(0.05, description="share of identities set aside; 0 switches the hold-out off")
    query_images: Count = Field(1, description="images of each identity that become queries")


class Split(Section):
    """Query and gallery folders into domains that are searched on their own."""

    query: str = Field("image_B_v1_1/query", description="folder of query images in the data folder")
    gallery: str = Field("image_B_v1_1/gallery", description="folder of gallery images in the data folder")
    rule: Literal["brightness", "none"] = Field(
        "brightness",
        description="brightness: green if all channel means exceed the threshold; none: one domain",
    )
    threshold: Annotated[float, Field(ge=0, le=255)] = Field(65.0, description="grey levels, strictly above")

    @property
    def domains(self) -> tuple[str, ...]:
        """The competition's domains under this rule."""
        return ("green", "normal") if self.rule == "brightness" else ("all",)
