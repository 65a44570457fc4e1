"""All that a config names in a data folder, read once; problems are gathered and stop nothing."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from naic_reid.config import Config, DataSet, Source
from naic_reid.data import folders, layouts
from naic_reid.data.label_lists import absent, names, parse
from naic_reid.data.layouts import Found, Options
from naic_reid.data.looks import looks
from naic_reid.errors import ReidError
from naic_reid.files import regular
from naic_reid.pages.findings import Listed
from naic_reid.progress import shown


@dataclass
class Data(Listed):
    """Training images, and what else was found."""

    tests: dict[str, list[str]] = field(default_factory=dict)
    """Test images by role."""
    problems: list[str] = field(default_factory=list)
    """What would stop the walk."""
    sets: dict[str, tuple[DataSet, Found]] = field(default_factory=dict)
    """Labelled data sets by name: sources, then tests."""


def look(settings: Config, folder: Path, workers: int, cache: Path | None) -> Data:
    """Read all lists and folders, and every image once; problems are gathered."""
    sources = settings.collect.sources
    data = Data(folder, [source.name for source in sources])
    for source in sources:
        (_read_list if source.listed else _read_set)(data, source)
    split = settings.split
    for role, name in (("query", split.query), ("gallery", split.gallery)) if split else ():
        found, problems, _ = folders.flat(folder / name)
        data.tests[role] = [f"{name}/{path.name}" for path in found]
        data.problems += problems
    for name, test in settings.tests.items():
        rows = _looked(data, f"test {name}", test)
        for role in ("query", "gallery"):
            data.tests[f"{name}/{role}"] = [path for path, of_role, *_ in rows if of_role == role]
    tested = [path for paths in data.tests.values() for path in paths]
    paths = list(dict.fromkeys([*data.paths, *tested]))
    seen = looks(folder, paths, workers=workers, cache=cache)
    data.looks = dict(zip(paths, shown(seen, "inspect: images", len(paths)), strict=True))
    if settings.collect.unreadable == "fail":
        unusable = [(row, fault) for row, path in enumerate(data.paths) if (fault := data.looks[path].fault)]
        data.problems += [f"{data.places[row]}: {fault}: {data.paths[row]}" for row, fault in unusable]
    for path in tested:
        if fault := data.looks[path].fault:
            data.problems.append(f"{folder / path}: {fault}")
    data.wrong = _wrong_rows(settings, data)
    return data


def _looked(data: Data, name: str, one: DataSet) -> list[tuple[str, str, str]]:
    """(path in the data folder, role, identity) of a data set; what is wrong becomes a problem."""
    options = Options(one.variant, one.pattern or "", one.table or "", one.special)
    try:
        found = layouts.look(data.folder / one.folder, one.layout, options)
    except ReidError as error:
        data.problems.append(str(error))
        return []
    data.problems += found.problems
    data.sets[name] = one, found
    return [(str(PurePosixPath(one.folder) / row.path), row.role, row.identity) for row in found.rows]


def _read_set(data: Data, source: Source) -> None:
    for path, role, identity in _looked(data, source.name, source):
        if role == "train":
            data.paths.append(path)
            data.identities.append(f"{source.name}/{identity}")
            data.places.append(path)


def _read_list(data: Data, source: Source) -> None:
    file = data.folder / source.list
    try:
        content = regular(file).read_bytes()
    except OSError as error:
        data.problems.append(f"{file}: cannot be read: {error.strerror}")
        return
    entries, problems = parse(content, source.list)
    missing = absent(entries, data.folder / source.images, source.list)
    data.problems += problems + missing
    gone = {int(problem.removeprefix(f"{source.list}:").partition(":")[0]) for problem in missing}
    for entry in entries:
        if entry.line not in gone:
            data.paths.append(str(PurePosixPath(source.images) / entry.name))
            data.identities.append(f"{source.name}/{entry.label}")
            data.places.append(f"{source.list}:{entry.line}")


def _wrong_rows(settings: Config, data: Data) -> set[int]:
    """Rows that the config's list of wrong labels drops; none where that file is not at hand."""
    file = settings.dedupe.wrong_labels
    if file is None or not Path(file).is_file():
        return set()
    wrong = names(regular(Path(file)).read_bytes())
    places = [s.images for s in settings.collect.sources if s.name in settings.dedupe.wrong_label_sources]
    paths = {str(PurePosixPath(place) / name) for place in places for name in wrong}
    return {row for row, path in enumerate(data.paths) if path in paths}
