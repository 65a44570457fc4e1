"""The verbs, in the order of the walk, and what each one's signature means at the doors.

A stage is a module with a docstring and one function, `run`. Its signature is the only definition
there is: the command line and the workflow both read it here.
"""

import inspect
import re
import typing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from naic_reid.config import Config

STAGES = {
    "survey": "data folder → what it holds: label lists and test images, by name and digest",
    "toy": "nothing → generated images in the competition's layout, and the truth about them",
    "collect": "label lists → one list of images",
    "dedupe": "images → images without repeats, wrong labels and persons seen once",
    "holdout": "images → training list, and a labelled query and gallery",
    "split": "query and gallery folders → one list for each domain",
    "train": "training list → one model's checkpoints",
    "extract": "images and a checkpoint → features",
    "search": "features → exact nearest neighbours",
    "rerank": "neighbours → k-reciprocal Jaccard rows",
    "fuse": "all members' distances → the ranking",
    "submit": "rankings → the competition's JSON",
    "evaluate": "distances and truth → CMC and mAP",
    "card": "scores → the score card",
}

# A parameter that receives one entry of a config table: (the table, the plain value that picks it).
TABLES = {"model": ("models", "model"), "rerank": ("rerank", "domain")}


@dataclass(frozen=True)
class Signature:
    """A stage's parameters by kind, each name → annotation, in the order written."""

    settings: dict[str, Any]
    """Config sections and scalars, named like the config's fields; and entries of its tables."""
    paths: dict[str, Any]
    """What is read and written: `Path`, or `list[Path]`."""
    places: dict[str, Any]
    """Folders that neither are an artefact nor change the answer: `data`, `scratch`."""
    speed: dict[str, tuple[Any, Any]]
    """Knobs that change only the speed: annotation and default."""
    revision: int

    @property
    def keys(self) -> list[str]:
        """Plain values that pick table entries."""
        return [TABLES[name][1] for name in self.settings if name in TABLES]


PLACES = ("data", "scratch")


def revision(name: str) -> int | None:
    """A stage's revision, read from its source, for importing it may cost seconds; none: no such stage."""
    if name not in STAGES:
        return None
    found = re.search(r"^REVISION = (\d+)", Path(__file__).with_name(f"{name}.py").read_text(), re.MULTILINE)
    return int(found[1]) if found else 1


def signature(name: str) -> Signature:
    """The parameters of a stage's `run`, sorted into kinds."""
    module = import_module(f"naic_reid.stages.{name}")
    hints = typing.get_type_hints(module.run)
    found = Signature({}, {}, {}, {}, getattr(module, "REVISION", 1))
    for parameter in inspect.signature(module.run).parameters.values():
        hint = hints[parameter.name]
        if parameter.default is not inspect.Parameter.empty:
            found.speed[parameter.name] = (hint, parameter.default)
        elif parameter.name in PLACES:
            found.places[parameter.name] = hint
        elif hint in (Path, list[Path]):
            found.paths[parameter.name] = hint
        else:
            assert parameter.name in TABLES or parameter.name in Config.model_fields, (name, parameter)
            found.settings[parameter.name] = hint
    return found


def values(config: Config, stage: str, keys: dict[str, str]) -> dict[str, Any]:
    """The settings that a stage depends on, taken from the config; `keys` picks table entries.

    Raises:
        KeyError: a key that is missing or not in its table.
    """
    chosen: dict[str, Any] = {}
    for name in signature(stage).settings:
        if name in TABLES:
            table, key = TABLES[name]
            chosen[name] = getattr(config, table)[keys[key]]
        else:
            chosen[name] = getattr(config, name)
    return chosen
