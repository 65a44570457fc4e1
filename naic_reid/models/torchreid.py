"""torchreid's published OSNet checkpoints: their options, told by their tensors, and these under our names.

Source: torchreid's model zoo and its code. What such a file gives is what torchreid's own extractor gives, at
length 1: behind `fc`, a linear layer of 512, its normalisation and ReLU, without a mirror image. (torchreid's
published figures rank by the Euclidean distance of these rows before they are brought to length 1.)
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from naic_reid.architecture import Architecture, reason
from naic_reid.artifacts import MadeBy
from naic_reid.errors import ReidError
from naic_reid.models import build
from naic_reid.models.conversion import Converted, named_tensors
from naic_reid.models.osnet import renamed
from naic_reid.models.weights import Checkpoint, compared

_STEMS = {64: "x1_0", 48: "x0_75", 32: "x0_5", 16: "x0_25"}
"""Channels of the stem → how wide the network is."""
_HEAD = {"fc.0.": "branches.whole.reduction.", "fc.1.": "branches.whole.neck."}
_CLASSES = "classifier."


def tensors_of(content: Any) -> dict[str, Tensor] | None:
    """The tensors of a file, as `weights.loaded` gives it, without what training wrapped around them.

    None where they are not an OSNet's of torchreid.
    """
    tensors = named_tensors(content, "state_dict")
    return tensors if {"conv1.conv.weight", "conv5.conv.weight", "fc.0.weight"} <= tensors.keys() else None


def convert(tensors: Mapping[str, Tensor], path: Path) -> Converted:
    """A checkpoint of ours with all the file's tensors but its classes.

    Args:
        tensors: as `tensors_of` returns them.
        path: of the file; `…_256x128_…` in its name tells the size, else 256 × 128 is assumed.

    Raises:
        ReidError: tensors are missing or left over, or have other shapes; the message names them.
    """
    found = re.search(r"_(\d{2,4})x(\d{2,4})(_|$)", path.stem)
    height, width = (int(found[1]), int(found[2])) if found else (256, 128)
    try:
        architecture = Architecture(
            backbone=_backbone(tensors, path), height=height, width=width, pooling="average",
            reduction=len(tensors["fc.0.weight"]), neck_relu=True,
        )  # fmt: skip
    except ValueError as error:
        raise ReidError(f"{path}: {reason(error)}") from error
    with torch.random.fork_rng(devices=[]):
        own = build(architecture)
    named = {_named(name): tensor for name, tensor in tensors.items() if not name.startswith(_CLASSES)}
    report = compared(own, named)
    if report.missing or report.unexpected or report.mismatched:
        raise ReidError(f"{path}: not the whole of torchreid's {architecture.backbone}: {report}")
    counters = {name: value for name, value in own.state_dict().items() if name not in named}
    checkpoint = Checkpoint(named | counters, {}, 0, (), architecture, MadeBy("torchreid"), str(path))
    left_out = tuple(name for name in tensors if name.startswith(_CLASSES))
    return Converted(checkpoint, report, left_out, () if found else ("height: 256, width: 128",))


def _backbone(tensors: Mapping[str, Tensor], path: Path) -> str:
    channels = len(tensors["conv1.conv.weight"])
    if channels not in _STEMS:
        known = ", ".join(map(str, _STEMS))
        raise ReidError(
            f"{path}: an OSNet whose first layer has {channels} channels; those of {known} are known"
        )
    kind = ""
    if "conv2.0.conv2.0.layers.0.conv1.weight" in tensors:
        kind = "ain_"
    elif "conv2.0.IN.weight" in tensors:
        kind = "ibn_"
    return f"osnet_{kind}{_STEMS[channels]}"


def _named(name: str) -> str:
    for theirs, ours in _HEAD.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return f"backbone.{renamed(name)}"
