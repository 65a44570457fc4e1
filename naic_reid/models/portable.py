"""A trained network as a folder that leaves the house: weights as safetensors, and JSON that says what they
are. No pickles, so any program may read it and none can be run by it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from naic_reid.architecture import Architecture, reason
from naic_reid.artifacts import MadeBy
from naic_reid.errors import ReidError
from naic_reid.files import digest, json_in, whole
from naic_reid.models.attributes import TrainedAttributes
from naic_reid.models.weights import Checkpoint

WEIGHTS, WORDS = "model.safetensors", "extractor.json"
_KIND = "Extractor"
_WORN = "attributes."  # before the names of attribute heads' tensors


def write(folder: Path, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
    """The folder, whole or not at all; equal content gives equal bytes. Classes are left out.

    Args:
        folder: new, empty, or written by this function.
        checkpoint: the network.
        options: how features are taken with it, as JSON can say it.

    Raises:
        ReidError: something else is in the folder, which would be lost; or it cannot be written.
    """
    others = {path.name for path in folder.iterdir()} - {WEIGHTS, WORDS} if folder.is_dir() else set()
    if others or folder.is_file():
        raise ReidError(f"{folder}: holds {min(others, default='a file')}: name a new or empty folder")
    with whole(folder, folder=True) as unfinished:
        plain = {name: tensor.contiguous() for name, tensor in checkpoint.weights.items()}
        worn = checkpoint.attributes
        plain |= {f"{_WORN}{name}": tensor for name, tensor in (worn.tensors if worn else {}).items()}
        safetensors.torch.save_file(plain, unfinished / WEIGHTS)
        words = {
            "type": _KIND,
            "model": checkpoint.architecture.options,
            "epoch": checkpoint.epoch,
            "options": dict(options),
            "made_by": checkpoint.made_by.to_json(),
            "weights": digest(unfinished / WEIGHTS),
            **(worn.words if worn else {}),
        }
        (unfinished / WORDS).write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """The network and the options that `write` wrote.

    Raises:
        ReidError: the folder is none of these, or damaged.
    """
    try:
        words = json_in(folder / WORDS)
        if words["type"] != _KIND:
            raise ValueError(f"it holds {words['type']}")
        if digest(folder / WEIGHTS) != words["weights"]:
            raise ValueError(f"{WEIGHTS} is not the one that {WORDS} speaks of")
        weights = safetensors.torch.load_file(folder / WEIGHTS)
        made_by = MadeBy.from_json(words["made_by"])
        architecture = Architecture.model_validate(words["model"])
        worn = {name.removeprefix(_WORN): weights.pop(name) for name in [*weights] if name.startswith(_WORN)}
        checkpoint = Checkpoint(
            weights, {}, words["epoch"], (), architecture, made_by, str(folder),
            attributes=TrainedAttributes.of(words, worn),
        )  # fmt: skip
        return checkpoint, dict(words["options"])
    except OSError as error:
        raise ReidError(f"{folder}: no folder of an Extractor: {WORDS}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, ValueError):
            what = reason(error)
        raise ReidError(f"{folder}: not a whole folder of an Extractor: {what}; save it again") from error
