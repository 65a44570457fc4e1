"""The competition's JSON: {query name: [gallery names, nearest first, at most 200]}."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from naic_reid.artifacts.retrieval import Ranking
from naic_reid.errors import ReidError
from naic_reid.files import json_in

MOST = 200  # names the competition reads of each list

Domain = tuple[Sequence[str], Sequence[str]]
"""Names of the queries and of the gallery that are searched with each other."""


def merge(rankings: Sequence[Ranking]) -> dict[str, list[str]]:
    """One table of all domains' rankings, sorted by query name; images are named without folders.

    Raises:
        ReidError: a query stands in two rankings.
    """
    merged: dict[str, list[str]] = {}
    for ranking in rankings:
        for query, row in zip(ranking.queries, ranking.indices, strict=True):
            name = _base(query)
            if name in merged:
                raise ReidError(f"query {name} stands in two rankings: give each domain's ranking once")
            merged[name] = [_base(ranking.gallery[index]) for index in row[:MOST]]
    return dict(sorted(merged.items()))


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def problems(submission: Any, domains: Sequence[Domain] | None = None) -> list[str]:
    """What is wrong with a submission, a sentence each; nothing if it is valid.

    Args:
        submission: the parsed JSON.
        domains: the names there are; with them, every query must be answered once, and from its own
            domain's gallery, with 200 names or all there are. None: only the shape is looked at.
    """
    if not isinstance(submission, dict):
        return [f"it is a {type(submission).__name__}, and must be a table of query name: [gallery names]"]
    found: list[str] = [] if submission or domains else ["it answers no query at all"]
    for query, names in submission.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            found.append(f"query {query}: its answer must be a list of gallery names")
            continue
        if len(names) > MOST:
            found.append(f"query {query}: {len(names)} names, and at most {MOST} are allowed")
        if len(set(names)) < len(names):
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            found.append(f"query {query}: {twice} is listed twice")
    if domains is not None:
        found += _unknown(submission, domains)
    return found


def _unknown(submission: dict[str, Any], domains: Sequence[Domain]) -> list[str]:
    found = []
    home = {query: place for place, (queries, _) in enumerate(domains) for query in queries}
    galleries = [set(gallery) for _, gallery in domains]
    for query in sorted(home.keys() - submission.keys()):
        found.append(f"query {query}: no answer")
    for query, names in submission.items():
        if query not in home:
            found.append(f"query {query}: there is no such query image")
        elif isinstance(names, list) and all(isinstance(name, str) for name in names):
            gallery = galleries[home[query]]
            strange = [name for name in names if name not in gallery]
            if strange:
                found.append(
                    f"query {query}: {strange[0]} is not in the gallery it is searched in"
                    + (f", nor are {len(strange) - 1} others" if len(strange) > 1 else "")
                )
            elif len(names) < min(MOST, len(gallery)):
                found.append(f"query {query}: {len(names)} names, and {min(MOST, len(gallery))} are possible")
    return found


def read(path: Path) -> Any:
    """The parsed JSON of a submission file.

    Raises:
        ReidError: it cannot be read, is not JSON, or names a query twice.
    """
    try:
        return json_in(path, object_pairs_hook=_no_repeats)
    except OSError as error:
        raise ReidError(
            f"{path}: cannot be read: {error.strerror or error}; name an existing file"
        ) from error
    except ValueError as error:  # not UTF-8, not JSON, or a repeated key
        raise ReidError(f"{path}: not a submission: {error}; write it again with naic-reid submit") from error


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"query {key} is answered twice")
        table[key] = value
    return table
