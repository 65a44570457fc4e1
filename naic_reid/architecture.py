"""The options of a network: the one list that config, checkpoint, record and `models.build` share.

An option that came later than others has `exclude_if`: at its default nothing names it, neither a
record nor a checkpoint, so that what was made before it existed still fits.
"""

import difflib
import re
from collections.abc import Mapping
from operator import not_
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *("resnet18_ibn_a", "resnet34_ibn_a", "resnet50_ibn_a", "resnet101_ibn_a"),
    *("resnet18_ibn_b", "resnet34_ibn_b", "resnet50_ibn_b", "resnet101_ibn_b"),
    *("se_resnet50_ibn_a", "se_resnet101_ibn_a"),
)
"""The keys of `models.BACKBONES`, here for those who need no torch; a test keeps the two equal."""

Pixels = Annotated[int, Field(ge=16, le=2048)]


class Architecture(BaseModel):
    """A network's options: with them and its weights it can be built again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(description=f"{', '.join(BACKBONES)}, or timm/<name>")
    height: Pixels = Field(description="pixels")
    width: Pixels = Field(description="pixels")
    pooling: Literal["gem", "average"] = Field("gem", description="how the map becomes a vector; gem: p = 3")
    last_stride: Literal[1, 2] = Field(
        1, description="stride of a ResNet's last stage; 1 keeps twice the detail; timm's keep their own"
    )
    stripes: Annotated[int, Field(ge=0, le=12)] = Field(
        0, exclude_if=not_, description="stripes of the map with features of their own; 0: none; PCB: 6"
    )
    standardise: bool = Field(
        False, exclude_if=not_,
        description="bring each channel of each image to mean 0 and deviation 1: against colour casts",
    )  # fmt: skip

    @field_validator("backbone")
    @classmethod
    def _known(cls, backbone: str) -> str:
        if backbone not in BACKBONES and not re.fullmatch(r"timm/[a-z0-9_.]+", backbone):
            near = difflib.get_close_matches(backbone, BACKBONES, n=3) or BACKBONES
            raise ValueError(f"unknown backbone {backbone!r}; near: {', '.join(near)}; or timm/<name>")
        return backbone

    @classmethod
    def within(cls, settings: Mapping[str, Any]) -> Self:
        """The architecture that wider settings hold, such as those of a model in a config.

        Raises:
            ValueError: a needed option is missing, or one has a wrong value.
        """
        return cls(**{name: settings[name] for name in cls.model_fields if name in settings})

    @property
    def options(self) -> dict[str, Any]:
        """What records and checkpoints name: no option that is off."""
        return {name: value for name, value in self.model_dump(mode="json").items() if name in _NAMES}

    def __str__(self) -> str:
        return f"{self.backbone} at {self.height} × {self.width}"


_NAMES = frozenset(Architecture.model_fields)
