"""Looks at what a run is given and at what an earlier one left, before it is decided what there is to do.

A workflow engine looks only at the inputs of the steps that it means to run: of a finished folder it says
that there is nothing to do, although the config names weights that are nowhere.
"""

import ast
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from naic_reid.config import Config
from naic_reid.data import label_lists
from naic_reid.data.labelled import Labelled
from naic_reid.errors import ReidError, listing
from naic_reid.files import regular
from naic_reid.pretrained import at_hand, located

_UNSET = object()
_WILDCARD = re.compile(r"\{[^{}]+\}")
_PERIODIC = re.compile(r"(.+?)\1{19}")  # Snakemake takes such a wildcard for the sign of an endless rule


@dataclass(frozen=True)
class Given:
    """What a config and a command line name outside of the data folder."""

    weights: Mapping[str, Path]
    """Model → the file that its network starts from."""
    wrong_labels: tuple[Path, ...]
    truth: tuple[Path, ...]
    attributes: Mapping[str, Path]
    """Model → the table of what persons wear that it learns."""


def given(
    config: Config, truth: Iterable[str], shipped: Path, cache: Path, data: Path | None = None, *,
    fetch: bool = True,
) -> Given:  # fmt: skip
    """Every file that is named, looked up; weights that have an address are fetched into `cache`.

    Args:
        config: the settings.
        truth: tables of who is who in the test images, from the command line.
        shipped: the folder that holds the project's own lists.
        cache: folder for what is fetched.
        data: the folder of the images, in which tables of attributes lie; None: they are not looked up.
        fetch: false: what is not in the cache yet is left out, and nothing is written.

    Raises:
        ReidError: some are missing; all of them are named, with the setting that asks for them.
    """
    problems = [_periodic(name) for name in config.models if _PERIODIC.search(name)]
    weights: dict[str, Path] = {}
    for name, model in config.models.items():
        if model.pretrained:
            try:
                if fetch or at_hand(model.pretrained, cache):
                    weights[name] = located(model.pretrained, cache)
            except ReidError as error:
                problems.append(f"models.{name}.{error}")
    wrong = tuple(shipped / name for name in [config.dedupe.wrong_labels] if name)
    tables = tuple(Path(name) for name in truth)
    asked = [("dedupe.wrong_labels", path, "an existing list, or null") for path in wrong]
    asked += [("truth", path, "an existing table") for path in tables]
    worn = {} if data is None or config.toy else attributes(config, data)  # toy writes its own
    asked += [(f"train.attributes of models.{name}", path, "a table") for name, path in worn.items()]
    problems += [
        f"{key}: {path} is {'no regular file' if path.exists() else 'missing'}: name {what}"
        for key, path, what in asked
        if not path.is_file()
    ]
    problems += [
        f"{path}: braces in the path of a file are wildcards to Snakemake: call it, or its folder, otherwise"
        for path in (*weights.values(), *wrong, *tables, *worn.values())
        if _WILDCARD.search(str(path))
    ]
    if problems:
        raise listing(problems, "what the config or the command line names cannot be used")
    return Given(weights, wrong, tables, worn)


def attributes(config: Config, data: Path) -> dict[str, Path]:
    """Model → the table of attributes that its recipe names: in the data folder, or beside a toy's."""
    place = data.parent if config.toy else data
    recipes = {name: config.train.adapted(model.recipe) for name, model in config.models.items()}
    return {name: place / train.attributes.table for name, train in recipes.items() if train.attributes}


def recorded(params: Iterable[str] | None) -> dict[str, Any]:
    """The settings among the parameters that Snakemake keeps of a job, each as Python would print it."""
    for param in params or ():
        with suppress(ValueError, SyntaxError):
            text = ast.literal_eval(param)
            if isinstance(text, str) and isinstance(settings := json.loads(text), dict):
                return settings
    return {}


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys whose values differ, as a path from the outermost, with `old → new`."""
    for key in sorted({*old, *new}):
        one, other = old.get(key, _UNSET), new.get(key, _UNSET)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from differences(one, other, (*place, key))
        elif one != other:
            yield (*place, key), f"{_shown(one)} → {_shown(other)}"


def _shown(value: Any) -> str:
    return "unset" if value is _UNSET else json.dumps(value, ensure_ascii=False)


def _periodic(name: str) -> str:
    return f"models.{name}: repeats itself too often for a name: call it otherwise"


def folders_stand(folders: Iterable[Path], images: Path) -> None:
    """Refuse to begin where a folder of ours would go, or a file in one, and something else is.

    A workflow engine sums up whatever stands in the place of an input: of a named pipe it waits for ever.

    Args:
        folders: ours; they need not be there.
        images: a folder in one of them that is not looked through.

    Raises:
        ReidError: some are not what belongs there; all are named.
    """
    problems = []
    for folder in folders:
        if folder.is_dir():
            problems += [f"{path}: is no file: move it away" for path in _no_files(folder, images)]
        elif folder.exists() or folder.is_symlink():
            is_what = "a link that leads nowhere" if folder.is_symlink() else "a file"
            problems.append(f"{folder}: is {is_what}, and a folder belongs here: move it away")
    if problems:
        raise listing(problems, "what stands in this folder is in the way")


def _no_files(folder: Path, images: Path) -> Iterator[Path]:
    """What is neither file nor folder; a link that leads nowhere is as good as nothing."""
    for place, names, others in os.walk(folder):
        names[:] = [name for name in names if Path(place, name) != images]
        for path in (Path(place, name) for name in others):
            if path.exists() and not path.is_file():
                yield path


def batches_fit(config: Config, data: Path, surveys: Mapping[str, Path]) -> None:
    """Refuse a batch of more identities than the sources name: training would, after all lists are made.

    Args:
        config: the settings.
        data: the folder in which label lists lie.
        surveys: source with a layout → its table of the survey.

    Raises:
        ReidError: there are never so many; it names the model and the largest batch that could be.
    """
    most = 0
    for source in config.collect.sources:
        if source.listed:
            entries, _ = label_lists.parse(regular(data / source.list).read_bytes(), source.list)
            most += len({entry.label for entry in entries})
        else:
            most += len(
                {row.identity for row in Labelled.read(surveys[source.name]).rows if row.role == "train"}
            )
    for name, model in config.models.items():
        train = config.train.adapted(model.recipe)
        wanted, images = train.batch // train.num_instances, train.num_instances
        if wanted > most:
            raise ReidError(
                f"models.{name}: train.batch {train.batch} is {wanted} identities of {images} images, and "
                f"the sources name {most}: at most {most * images}"
            )


def scales_fit(config: Config) -> None:
    """Refuse multi-scale testing with a network of one size: extraction would, after all trainings.

    Raises:
        ReidError: one of the models is such a network.
    """
    if config.extract.scales == (1.0,):
        return
    from naic_reid.architecture import Architecture
    from naic_reid.models import require_any_size  # here, for it takes seconds

    for model in config.models.values():
        require_any_size(Architecture.within(model.model_dump()))
