"""The verbs, in the order of the walk, and what each one's signature means at the doors.

A stage is a module with a docstring and one function, `run`. Its signature is the only definition
there is: the command line and the workflow both read it here.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from naic_reid import config

STAGES = {
    "survey": "data folder → what it holds: label lists and test images, by name and digest",
    "toy": "nothing → generated images in the competition's layout, and the truth about them",
    "collect": "label lists and labelled data sets → one list of images",
    "dedupe": "images → images without repeats, wrong labels and persons seen once",
    "holdout": "images → training list, and a labelled query and gallery",
    "split": "query and gallery folders → one list for each domain",
    "tests": "a labelled test set → its query and gallery lists, with persons and cameras",
    "cut": "a labelled test → the same with partial bodies, where the config asks for it",
    "train": "training list → one model's checkpoints",
    "extract": "images and a checkpoint → features",
    "query_expansion": "features → features moved towards their nearest, where the config asks for it",
    "search": "features → exact nearest neighbours",
    "rerank": "neighbours → k-reciprocal Jaccard rows",
    "gather": "parts that the shards of a step made → the file that one job makes",
    "pseudo_label": "test images whose person is clear → a longer training list, where the config asks",
    "fuse": "all members' distances → the ranking",
    "submit": "rankings → the competition's JSON",
    "evaluate": "distances and truth → CMC and mAP",
    "card": "scores → the score card",
    "report": "all of it → one page to look at",
}

WITHOUT_TORCH = frozenset(
    (
        "survey",
        "toy",
        "collect",
        "dedupe",
        "holdout",
        "split",
        "tests",
        "cut",
        "submit",
        "card",
        "gather",
    )
)
"""Stages that need none of the large libraries; a contract of imports keeps them so."""

# A parameter that receives one entry of a config table: (the table, the plain value that picks it).
TABLES = {
    "cut": ("cut", "domain"),
    "model": ("models", "model"),
    "rerank": ("rerank", "domain"),
    "protocol": ("protocols", "domain"),
}


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
    purpose: str
    """The module's docstring."""

    @property
    def keys(self) -> list[str]:
        """Plain values that pick table entries."""
        return list(dict.fromkeys(TABLES[name][1] for name in self.settings if name in TABLES))


PLACES = ("data", "scratch")


def revision(name: str) -> int | None:
    """A stage's revision; none: no such stage."""
    return signature(name).revision if name in STAGES else None


def signature(name: str) -> Signature:
    """The parameters of a stage's `run`, sorted into kinds.

    They are read from the source: nobody shall import torch to learn what a stage takes.
    """
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    module = ast.parse(source)
    revision = re.search(r"^REVISION = (\d+)", source, re.MULTILINE)
    if revision is None:
        raise ValueError(
            f"the stage {name} tells no revision: files of an older one would be taken for its own"
        )
    found = Signature({}, {}, {}, {}, int(revision[1]), ast.get_docstring(module) or "")
    run = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "run")
    arguments = [*run.args.args, *run.args.kwonlyargs]
    defaults = [None] * len(run.args.args) + run.args.kw_defaults
    for argument, default in zip(arguments, defaults, strict=True):
        assert argument.annotation is not None, (name, argument.arg)
        hint = eval(ast.unparse(argument.annotation), {**vars(config), "Path": Path})  # noqa: S307 (our own source)
        if default is not None:
            found.speed[argument.arg] = (hint, ast.literal_eval(default))
        elif argument.arg in PLACES:
            found.places[argument.arg] = hint
        elif hint in (Path, list[Path]):
            found.paths[argument.arg] = hint
        else:
            assert argument.arg in TABLES or argument.arg in config.Config.model_fields, (name, argument.arg)
            found.settings[argument.arg] = hint
    return found


def values(settings: config.Config, stage: str, keys: dict[str, str]) -> dict[str, Any]:
    """The settings that a stage depends on, taken from the config; `keys` picks table entries.

    Raises:
        KeyError: a key that is missing or not in its table.
    """
    chosen: dict[str, Any] = {}
    for name in signature(stage).settings:
        if name in TABLES:
            table, key = TABLES[name]
            chosen[name] = getattr(settings, table)[keys[key]]
        else:
            chosen[name] = getattr(settings, name)
    return chosen


def in_the_config(found: Iterable[tuple[tuple[str, ...], str]], keys: Mapping[str, str]) -> Iterator[str]:
    """Differences of a stage's settings as the config calls them: `rerank.green.k1: 30 → 20`.

    Args:
        found: (section, key, …) and what differs.
        keys: the plain values that picked the table entries.
    """
    for (section, *rest), differs in found:
        if section in TABLES:
            table, key = TABLES[section]
            section = f"{table}.{keys[key]}"
        yield f"{'.'.join((section, *rest))}: {differs}"
