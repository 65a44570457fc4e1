"""What a file was made from: every file before it, the step that made each, the settings that mattered."""

from pathlib import Path

from naic_reid import lineage
from naic_reid.artifacts import MadeBy


def told(made_by: MadeBy) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Every file that something was made from, each once, and each step's settings."""
    links: list[dict[str, str]] = []
    settings: dict[str, str] = {}
    open_ones = [(Path(), given, recorded) for given, recorded in made_by.inputs]
    seen = set()
    for user, given, recorded in open_ones:
        path = lineage.place(user, given) if user.name else Path(given)
        if (given, recorded) in seen:
            continue
        seen.add((given, recorded))
        one = lineage.record(path) if path and path.is_file() else None
        by = f"{one.stage}, revision {one.revision}" if one else _unrecorded(path)
        links.append({"name": given, "by": by, "digest": recorded[:12]})
        if one and path:
            if one.settings != "{}":
                settings.setdefault(one.settings, one.stage)
            open_ones += [(path, below, digest) for below, digest in one.inputs]
    named: dict[str, str] = {}
    for text, stage in settings.items():
        named[f"{stage} {1 + sum(key.split()[0] == stage for key in named)}"] = text
    return links, named


def _unrecorded(path: Path | None) -> str:
    """What is told of a file that no record is of: a log of a step, or what a user gave."""
    if path is None:
        return "is missing"
    return "a step's log" if path.suffix == ".jsonl" else "given"
