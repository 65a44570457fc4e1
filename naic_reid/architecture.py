"""The options of a network: the one list that config, checkpoint, record and `models.build` share.

An option that came later than others has `exclude_if`: at its default nothing names it, neither a
record nor a checkpoint, so that what was made before it existed still fits.
"""

import difflib
import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from operator import not_
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *("resnet18_ibn_a", "resnet34_ibn_a", "resnet50_ibn_a", "resnet101_ibn_a"),
    *("resnet18_ibn_b", "resnet34_ibn_b", "resnet50_ibn_b", "resnet101_ibn_b"),
    *("se_resnet50_ibn_a", "se_resnet101_ibn_a"),
    *("resnest50", "resnest101"),
    *("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0"),
    *("osnet_ain_x1_0", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"),
)
"""The keys of `models.BACKBONES`, here for those who need no torch; a test keeps the two equal."""

SCALES = 0.5, 3.0
"""How far apart taps of kernels may be spread: beyond, nothing is interpolated that a kernel has seen."""

Pixels = Annotated[int, Field(ge=16, le=2048)]


@lru_cache(maxsize=1)
def timm_names() -> frozenset[str]:
    """The networks of the installed timm; none where it is not installed.

    Read from its source: to import it, and torch with it, takes seconds.
    """
    package = importlib.util.find_spec("timm")
    if package is None or package.origin is None:
        return frozenset()
    found: set[str] = set()
    for module in (Path(package.origin).parent / "models").glob("*.py"):
        source = module.read_text(encoding="utf-8")
        found.update(re.findall(r"^@register_model\ndef (\w+)", source, re.MULTILINE))
        for renamed in re.findall(
            r"^register_model_deprecations\(__name__, \{(.*?)\}\)", source, re.DOTALL | re.M
        ):
            found.update(re.findall(r"^ *'(\w+)':", renamed, re.MULTILINE))
    return frozenset(found)


class Architecture(BaseModel):
    """A network's options: with them and its weights it can be built again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(description=f"{', '.join(BACKBONES)}, or timm/<name>")
    height: Pixels = Field(description="pixels")
    width: Pixels = Field(description="pixels")
    pooling: Literal["gem", "gem_learnt", "average"] = Field(
        "gem", description="how the map becomes a vector; gem: p = 3; gem_learnt: p is learnt, from 3"
    )
    last_stride: Literal[1, 2] | None = Field(
        None,
        description="of a ResNet's last stage; none: 1, which keeps twice the detail; others keep theirs",
    )
    transition_stride: Literal[1, 2] = Field(
        2, exclude_if=(2).__eq__, description="of a DenseNet's last pooling; 1 keeps twice the detail"
    )
    drop_path: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, exclude_if=not_,
        description="stochastic depth of a timm network: how often its last block is skipped in training",
    )  # fmt: skip
    head: Literal["single", "mgn", "mgn_relu", "pcb"] = Field(
        "single", exclude_if="single".__eq__,
        description="branches: one, MGN's eight over three trunks (mgn_relu: as in its published files), or "
        "the friendly baseline's PCB: six stripes, without metric losses",
    )  # fmt: skip
    reduction: Annotated[int, Field(ge=0, le=8192)] = Field(
        0, exclude_if=not_, description="width of a linear layer before the neck, e.g. 512; 0: none"
    )
    neck_relu: bool = Field(
        False, exclude_if=not_, description="ReLU after the neck: with reduction: 512, OSNet's own head"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, exclude_if=not_, description="of the feature that identity losses see, while training"
    )
    non_local: bool = Field(
        False, exclude_if=not_,
        description="non-local blocks in layers 2 and 3 of a ResNet-50, ResNet-101 or ResNeSt (AGW, SBS)",
    )  # fmt: skip
    usam: bool = Field(
        False, exclude_if=not_,
        description="attention by subtraction in a ResNet's stem and after its layer 1 (Lin et al. 2022)",
    )  # fmt: skip
    ceil_pool: bool = Field(
        False, exclude_if=not_,
        description="the stem's max-pool has no border and rounds up: FastReID since August 2020",
    )  # fmt: skip
    dilated: bool = Field(
        False, exclude_if=not_,
        description="a ResNeSt's last stage looks two positions around: FastReID since December 2020",
    )  # fmt: skip
    stripes: Annotated[int, Field(ge=0, le=12)] = Field(
        0, exclude_if=not_, description="stripes of the map with features of their own; 0: none; PCB: 6"
    )
    regions: Annotated[int, Field(ge=0, le=12)] = Field(
        0, exclude_if=not_,
        description="visible regions (VPM) of a body, compared where both images show them; 0: none; VPM: 6",
    )  # fmt: skip
    ratio: Annotated[int, Field(ge=0, le=4)] = Field(
        0, exclude_if=not_,
        description="a ResNet-18 up to this layer beside the network, which tells how much taller than usual "
        "bodies appear; 0: none",
    )  # fmt: skip
    ratio_output: Literal["exp", "linear"] = Field(
        "exp", exclude_if="exp".__eq__, description="of the ratio: exp(w·x) or w·x + 1"
    )
    ratio_steps: Annotated[int, Field(ge=1, le=3)] = Field(
        1, exclude_if=(1).__eq__, description="looks at an image, each at the scale of those before"
    )
    ratio_sides: Literal[1, 2] = Field(
        1, exclude_if=(1).__eq__,
        description="of the ratio: 1, how much taller than wide; 2, taller and wider each (crops of widths)",
    )  # fmt: skip
    resize: Literal["area", "bicubic"] = Field(
        "area", exclude_if="area".__eq__,
        description="how images are resized; bicubic: antialiased, as Pillow does, as FastReID's were",
    )  # fmt: skip
    standardise: bool = Field(
        False, exclude_if=not_,
        description="bring each channel of each image to mean 0 and deviation 1: against colour casts",
    )  # fmt: skip

    @field_validator("backbone")
    @classmethod
    def _known(cls, backbone: str) -> str:
        family, _, name = backbone.partition("/")
        if family == "timm" and name:
            known = timm_names()
            if known and name.partition(".")[0] not in known:
                near = difflib.get_close_matches(name, known, n=3) or ["none"]
                raise ValueError(f"timm has no {name!r}; near: {', '.join(near)}")
        elif backbone not in BACKBONES:
            near = difflib.get_close_matches(backbone, BACKBONES, n=3) or list(BACKBONES)
            raise ValueError(f"unknown backbone {backbone!r}; near: {', '.join(near)}; or timm/<name>")
        return backbone

    @model_validator(mode="after")
    def _options_of_the_family(self) -> Self:
        family = re.split(r"\d|/", self.backbone)[0]
        several = self.head.startswith("mgn")
        deep = self.backbone.endswith(("50", "101")) or re.search(r"(50|101)_", self.backbone)
        plain = self.head == "single" and not self.stripes and not self.regions
        wrong = {
            "last_stride": self.last_stride is not None and family not in ("resnet", "se_resnet", "resnest"),
            "non_local": self.non_local and not (deep and family in ("resnet", "se_resnet", "resnest")),
            "usam": self.usam and (family not in ("resnet", "se_resnet") or several),
            "ceil_pool": self.ceil_pool and family not in ("resnet", "se_resnet"),
            "dilated": self.dilated and family != "resnest",
            "transition_stride": self.transition_stride != 2 and "timm/densenet" not in self.backbone,
            "drop_path": bool(self.drop_path) and family != "timm",
            "head": several and family not in ("resnet", "se_resnet"),
            "height": several and not self._has_thirds,
            "stripes": bool(self.stripes) and (self.head != "single" or bool(self.regions)),
            "regions": bool(self.regions) and self.head != "single",
            "ratio_output": self.ratio_output != "exp" and not self.ratio,
            "ratio_steps": self.ratio_steps != 1 and not self.ratio,
            "ratio_sides": self.ratio_sides != 1 and not self.ratio,
            "reduction": bool(self.reduction) and not plain,
            "dropout": bool(self.dropout) and not plain and self.head != "pcb",
            "neck_relu": self.neck_relu and not plain,
        }
        for option, there in wrong.items():
            if there:
                raise ValueError(
                    f"{option}: {getattr(self, option)} cannot be had with backbone {self.backbone}"
                    + (f" and head {self.head}" if self.head != "single" else "")
                    + (f" and {self.stripes} stripes" if self.stripes else "")
                    + (f" and {self.regions} regions" if self.regions else "")
                    + (" and no ratio" if option.startswith("ratio_") else "")
                    + (": take another" if option == "height" else ": leave it out")
                )
        if self.non_local and several:
            raise ValueError(f"non_local: true cannot be had with head {self.head}: leave it out")
        return self

    @property
    def _has_thirds(self) -> bool:
        """Whether each of MGN's three parts of a ResNet's last map has a row; the last may have fewer."""
        stem = -(-self.height // 2)
        rows = -(-(stem - self.ceil_pool) // (8 * (self.last_stride or 1)))
        return 2 * -(-rows // 3) < rows

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


def reason(error: ValueError) -> str:
    """In one line, what an `Architecture` was refused for."""
    if not isinstance(error, ValidationError):
        return str(error)
    told = [
        (".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in error.errors()
    ]
    return "; ".join(f"{place}: {text}" if place else text for place, text in told)


_NAMES = frozenset(Architecture.model_fields)
