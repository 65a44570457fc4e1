"""Settings of one network."""

import difflib
import re
from operator import not_
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
)

from naic_reid.config.section import (
    Name,
    Pixels,
    Positive,
    Section,
    require,
)

# The keys of models.BACKBONES; `timm/<name>` is known too. A test keeps these tables and the rooms' equal.
BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *("resnet18_ibn_a", "resnet34_ibn_a", "resnet50_ibn_a", "resnet101_ibn_a"),
    *("resnet18_ibn_b", "resnet34_ibn_b", "resnet50_ibn_b", "resnet101_ibn_b"),
    *("se_resnet50_ibn_a", "se_resnet101_ibn_a"),
)


class Model(Section):
    """One network at one resolution: trained once."""

    backbone: str = Field(description=f"{', '.join(BACKBONES)}, or timm/<name>")
    height: Pixels = Field(description="pixels")
    width: Pixels = Field(description="pixels")
    pooling: Literal["gem", "average"] = Field("gem", description="how the map becomes a vector; gem: p = 3")
    last_stride: Literal[1, 2] = Field(
        1, description="stride of a ResNet's last stage; 1 keeps twice the detail; timm's keep their own"
    )
    pretrained: str | None = Field(
        None, description="ImageNet weights: a file, https://…#sha256=…, or package:NAME; none: random start"
    )
    stripes: Annotated[int, Field(ge=0, le=12)] = Field(
        0, exclude_if=not_, description="stripes of the map with features of their own; 0: none; PCB: 6"
    )
    standardise: bool = Field(
        False, exclude_if=not_,
        description="bring each channel of each image to mean 0 and deviation 1: against colour casts",
    )  # fmt: skip
    carry_classes: bool = Field(
        False, exclude_if=not_,
        description="start the classes of known identities, too, from pretrained: a checkpoint of ours",
    )  # fmt: skip
    weight: Positive = Field(1.0, description="weight of this model's distances in the fusion")
    recipe: dict[Name, Any] = Field(
        {}, exclude_if=not_, description="words of train that differ for this model, e.g. {batch: 64}"
    )

    @field_validator("backbone")
    @classmethod
    def _known(cls, backbone: str) -> str:
        known = backbone in BACKBONES or re.fullmatch(r"timm/[a-z0-9_.]+", backbone)
        near = difflib.get_close_matches(backbone, BACKBONES, n=3) or BACKBONES
        require(bool(known), f"unknown backbone {backbone!r}; near: {', '.join(near)}; or timm/<name>")
        return backbone
