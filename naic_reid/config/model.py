"""Settings of one network."""

from operator import not_
from typing import Any

from pydantic import Field

from naic_reid.architecture import Architecture
from naic_reid.config.section import Name, Positive, Section


class Model(Architecture, Section):
    """One network at one resolution: trained once."""

    pretrained: str | None = Field(
        None, description="ImageNet weights: a file, https://…#sha256=…, or package:NAME; none: random start"
    )
    carry_classes: bool = Field(
        False, exclude_if=not_,
        description="start the classes of known identities, too, from pretrained: a checkpoint of ours",
    )  # fmt: skip
    weight: Positive = Field(1.0, description="weight of this model's distances in the fusion")
    recipe: dict[Name, Any] = Field(
        {}, exclude_if=not_, description="words of train that differ for this model, e.g. {batch: 64}"
    )
