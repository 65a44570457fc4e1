"""Where a result comes from: the chain from a file back to lists, weights and settings.

    naic-reid provenance results/submission.json            as a tree, each file once
    naic-reid provenance results/submission.json --verify   and is every file what it was then?
    naic-reid provenance results/submission.json --verify --data data/MyDataSet    lists and images too

    naic-reid provenance results/submission.json --verify --config mine.yaml       would this config make it?

Each line names a file, its digest and the stage that made it; below stand the settings that mattered and
what it was made from. Exit status 1 when a file is missing or differs.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from naic_reid import config, lineage, preflight, shipped
from naic_reid.artifacts import MadeBy, read_table
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.files import digest, json_in

_SHORT = 12  # digits of a digest that are shown


@dataclass
class Node:
    """A file in the chain. `found` is its digest now, `recorded` what its users say it was."""

    name: str
    path: Path | None
    found: str = ""
    made_by: MadeBy | None = None
    inputs: list["Node"] = field(default_factory=list)
    recorded: dict[str, str] = field(default_factory=dict)
    """Digest → the first file that was made from the file when it had this digest."""
    fault: str = ""
    """Why its own record cannot be read."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a submission, or any other artefact")
    parser.add_argument("--verify", action="store_true", help="recheck every digest; status 1 if one differs")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="with --verify: do the settings in it fit the records?"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="with --verify: also label lists and images in there"
    )


def run(options: argparse.Namespace) -> int:
    if not options.file.is_file():
        raise ReidError(f"{options.file}: no such file: name a submission or another result")
    nodes: dict[str, Node] = {}
    top = _traced(options.file.as_posix(), options.file, nodes)
    print("\n".join(_lines(top)))
    if top.made_by is None and not top.fault:
        print(f"{top.name} carries no record: it was given, or made by other means")
    if not options.verify:
        return 0
    problems = [problem for node in nodes.values() for problem in _problems(node)]
    if options.data is not None:
        problems += [problem for node in nodes.values() for problem in _data_problems(node, options.data)]
    if options.config is not None:
        problems += _misfits(nodes.values(), config.load(options.config))
    print("\n".join([*problems, f"{len(nodes)} files looked at, {len(problems) or 'no'} problems"]))
    return 1 if problems else 0


def _traced(name: str, path: Path | None, nodes: dict[str, Node]) -> Node:
    """The file with all that it was made from, each file once in `nodes`, by where it lies."""
    node = nodes.setdefault(str(path.absolute()) if path else name, Node(name, path))
    if path is None:
        return node
    node.found = digest(path)
    try:
        node.made_by = lineage.record(path)
    except ReidError as error:
        node.fault = str(error)
    for given, recorded in node.made_by.inputs if node.made_by else ():
        place = lineage.place(path, given)
        key = str(place.absolute()) if place else given
        below = nodes.get(key) or _traced(place.as_posix() if place else given, place, nodes)
        below.recorded.setdefault(recorded, node.name)
        node.inputs.append(below)
    return node


def _problems(node: Node) -> Iterator[str]:
    if node.path is None:
        yield f"{node.name}: is missing; {next(iter(node.recorded.values()))} was made from it"
        return
    for recorded, user in node.recorded.items():
        if recorded != node.found:
            yield f"{node.name}: is not what {user} was made from: {node.found}, and was {recorded}"
    if node.fault:
        yield node.fault
    beside = lineage.sidecar(node.path)
    if beside.is_file():
        told = None
        with suppress(ValueError):  # which its fault says
            content = json_in(beside)
            told = content.get("submission", content.get("page")) if isinstance(content, dict) else None
        if told != node.found:
            yield f"{node.name}: is not what {beside} was written for: {node.found}, and was {told}"


def _data_problems(node: Node, data: Path) -> Iterator[str]:
    """Label lists and images that are not what the stages read."""
    if node.path is None or node.made_by is None:
        return
    known: dict[str, str] = {}
    with suppress(ReidError):  # another of the stage's files, or a damaged one, which was said already
        if node.made_by.stage == "survey":
            _, rows = read_table(node.path, "TrainSurvey", ["path", "size", "digest"])
            known = {path: recorded for path, _, recorded in rows}
        elif node.made_by.stage == "collect":
            records = Records.read(node.path)
            known = dict(zip(records.paths, records.digests, strict=True))
    for path, recorded in known.items():
        if not (data / path).is_file():
            yield f"{data / path}: is missing; {node.name} names it"
        elif recorded and (found := digest(data / path)) != recorded:
            yield f"{data / path}: is not what {node.name} was made from: {found}, and was {recorded}"


def _misfits(nodes: Iterable[Node], settings: config.Config) -> Iterator[str]:
    """What today's config says otherwise than the records; the files it names that nothing was made from."""
    told: dict[str, list[str]] = {}
    for node in nodes:
        for section, recorded in (json.loads(node.made_by.settings) if node.made_by else {}).items():
            for line in _differences(section, recorded, settings):
                told.setdefault(line, []).append(node.name)
    for line, names in told.items():
        yield (
            f"{line}: {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "") + " would run again"
        )
    try:
        given = preflight.given(settings, [], shipped.HOME, Path("scratch/weights"), fetch=False)
    except ReidError as error:
        yield str(error)
        return
    used = {recorded for node in nodes for recorded in node.recorded}
    for path in (*given.weights.values(), *given.wrong_labels):
        if digest(path) not in used:
            yield f"{path}: the config names it, and nothing here was made from it"


def _differences(section: str, recorded: Any, settings: config.Config) -> list[str]:
    """A recorded section against the config's or, of a table or a recipe, against the nearest entry."""
    if not isinstance(recorded, dict):
        return []
    if section == "models":  # of a fusion's members only the weights matter
        weights = {name: {"weight": model.weight} for name, model in settings.models.items()}
        told = {name: {"weight": weight} for name, weight in recorded.items()}
        return _dotted("models", told, weights)
    # A word's default is left out of records, so only what is recorded can differ.
    found = [
        _dotted(name, recorded, {key: entry.get(key) for key in recorded})
        for name, entry in _entries(section, settings).items()
    ]
    return min(found, key=len, default=[])


def _entries(section: str, settings: config.Config) -> dict[str, dict[str, Any]]:
    """What a record's section may be of in the config: name there → values."""
    plain = settings.model_dump(mode="json", by_alias=True)
    if section == "model":
        return {f"models.{name}": entry for name, entry in plain["models"].items()}
    if section == "rerank":
        return {f"rerank.{name}": entry for name, entry in plain["rerank"].items()}
    if section == "train":
        recipes = {name: settings.train.adapted(model.recipe) for name, model in settings.models.items()}
        return {
            f"train (models.{name})": recipe.model_dump(mode="json", by_alias=True)
            for name, recipe in recipes.items()
        }
    return {section: plain[section]} if isinstance(plain.get(section), dict) else {}


def _dotted(name: str, recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"{name}.{'.'.join(place)}: {differs}" for place, differs in preflight.differences(recorded, now)]


def _lines(top: Node) -> Iterator[str]:
    """The chain as an indented tree; a file's own chain stands where it is named first."""
    shown: set[int] = set()
    told: dict[str, str] = {}

    def below(node: Node, indent: str) -> Iterator[str]:
        shown.add(id(node))
        if node.made_by and node.made_by.settings != "{}":
            yield f"{indent}├─ settings {_settings(node, told)}"
        above = [source.name for source in node.inputs if id(source) in shown]
        new = [source for source in node.inputs if id(source) not in shown]
        for source in new:
            if id(source) in shown:  # since it was first named further down the tree
                above.append(source.name)
                continue
            last = source is new[-1] and not above
            yield f"{indent}{'└─' if last else '├─'} {_line(source)}"
            yield from below(source, indent + ("   " if last else "│  "))
        if above:
            yield f"{indent}└─ and {', '.join(dict.fromkeys(above))}, as above"

    yield _line(top)
    yield from below(top, "")


def _line(node: Node) -> str:
    if node.path is None:
        return f"{node.name}  is missing"
    by = "given"
    if node.made_by is not None:
        by = f"{node.made_by.stage}, revision {node.made_by.revision}, naic-reid {node.made_by.version}"
    return f"{node.name}  {node.found[:_SHORT]}  {node.fault or by}"


def _settings(node: Node, told: dict[str, str]) -> str:
    """The settings, once for equal ones of a stage."""
    assert node.made_by is not None
    first = told.setdefault(f"{node.made_by.stage} {node.made_by.settings}", node.name)
    return node.made_by.settings if first == node.name else f"of {first}"
