"""Shows what a data folder holds before anything is trained: counts, sizes, repeats, conflicts, problems.

    naic-reid inspect --config configs/naic2020.yaml --data data/MyDataSet
    naic-reid inspect --config configs/naic2020.yaml --data data/MyDataSet --html inspect.html --near 4
    naic-reid inspect --config C --data D --html seen.html --augment         what training makes of images
    naic-reid inspect --lists some/train_list.txt other/label.txt            label lists alone, no images
    naic-reid inspect --layout market1501 --data data/market                 a data set, found and published

Nothing is changed and nothing stops at the first problem. The HTML page holds the same tables, with
pictures. Exit status 1 if something would stop the walk. With --cache FILE a second look at unchanged
images takes seconds.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from naic_reid import config
from naic_reid.config import Config, DataSet, Source, Split
from naic_reid.data import domains, duplicates, folders, layouts
from naic_reid.data.duplicates import Verdict
from naic_reid.data.images import Look
from naic_reid.data.label_lists import absent, names, parse
from naic_reid.data.layouts import LAYOUTS, Found, Options
from naic_reid.data.looks import looks
from naic_reid.errors import ReidError
from naic_reid.files import apart, regular, whole
from naic_reid.progress import shown
from naic_reid.tools import page, variations
from naic_reid.tools.page import Picture, Section

FIRST = 20  # problems, sizes and the like that are shown
SMALL = 48  # pixels; images with a shorter side are listed
_BUCKETS = (1, 2, 4, 8, 16, 32, 64)  # upper ends of the histogram of images per identity
_STRIPS = 6


@dataclass
class Data:
    """What was found: rows are listed lines, most trusted source first."""

    folder: Path
    sources: Sequence[Source]
    paths: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """`list:line` of each row."""
    tests: dict[str, list[str]] = field(default_factory=dict)
    """Test images by role."""
    looks: dict[str, Look] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What would stop the walk."""
    sets: dict[str, tuple[DataSet, Found]] = field(default_factory=dict)
    """Labelled data sets by name: sources, then tests."""

    def of(self, source: str) -> list[int]:
        """The rows of a source."""
        return [row for row, identity in enumerate(self.identities) if identity.startswith(f"{source}/")]

    def picture(self, row: int) -> Picture:
        return Picture(self.folder / self.paths[row], f"{self.identities[row]} {self.places[row]}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="names the lists and folders")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the data folder")
    parser.add_argument(
        "--lists", type=Path, nargs="+", metavar="FILE", help="only these label lists, without images"
    )
    parser.add_argument("--layout", choices=LAYOUTS, help="of the data folder, without a config")
    parser.add_argument("--variant", default="", metavar="NAME", help="of the layout, e.g. small, trainval")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures as well")
    parser.add_argument(
        "--augment", action="store_true", help="the page also shows what training makes of some images"
    )
    parser.add_argument(
        "--near",
        type=int,
        metavar="BITS",
        help="list near-duplicates: scenes of which 0 to 8 of 64 bits differ",
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="INT", help="images read at once; default: 2"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FILE", help="remembers what was seen of unchanged images"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the report, and writes it as a page where that is asked for; 1 if there are problems."""
    if options.near is not None and not 0 <= options.near <= 8:
        raise ReidError(f"--near {options.near}: from 0 to 8 bits; more would call different scenes near")
    if options.html and not options.config:
        raise ReidError("--html: the page is of a data folder as a config reads it: name --config and --data")
    if options.augment and not options.html:
        raise ReidError("--augment: its pictures need a page: name --html, --config and --data")
    if options.lists:
        data = Data(Path(), ())
        sections = [_lists(data, options.lists), *_problems(data)]
        print(page.text(sections), end="")
        return 1 if data.problems else 0
    if options.layout and options.data:
        found = layouts.look(options.data, options.layout, Options(options.variant))
        data = Data(options.data, (), problems=list(found.problems))
        data.sets[options.layout] = DataSet(layout=options.layout, variant=options.variant), found
        print(page.text([_published(data), *_problems(data)]), end="")
        return 1 if data.problems else 0
    if not (options.config and options.data):
        raise ReidError(
            "name a config or a layout, and a data folder (--config or --layout, --data), or label lists "
            "(--lists)"
        )
    settings = config.load(options.config)
    lists = [options.data / source.list for source in settings.collect.sources if source.listed]
    lists += map(Path, filter(None, [settings.dedupe.wrong_labels]))
    apart([options.html, options.cache], [options.config, *lists])
    folders.apart([options.html, options.cache], options.data)
    data = look(settings, options.data, options.workers, options.cache)
    sections = report(settings, data, options.near)
    if options.augment:
        sound = [path for path in dict.fromkeys(data.paths) if not data.looks[path].fault]
        sections += variations.sections(settings, options.data, sound)
    print(page.text(sections), end="")
    if options.html:
        with whole(options.html) as unfinished:
            unfinished.write_text(
                page.html(f"{options.data}, as {options.config} reads it", sections), "utf-8"
            )
        print(f"\nwith pictures: {options.html}")
    return 1 if data.problems else 0


def look(settings: Config, folder: Path, workers: int, cache: Path | None) -> Data:
    """Read all lists and folders, and every image once; problems are gathered."""
    data = Data(folder, settings.collect.sources)
    for source in data.sources:
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


def report(settings: Config, data: Data, near: int | None) -> list[Section]:
    """All sections, in the order shown."""
    wrong = _wrong_rows(settings, data)
    usable = [row for row, path in enumerate(data.paths) if not data.looks[path].fault and row not in wrong]
    first_lines: dict[tuple[str, str], int] = {}
    for row in usable:
        first_lines.setdefault((data.paths[row], data.identities[row]), row)
    rows = list(first_lines.values())
    groups = duplicates.groups({row: data.looks[data.paths[row]].pixels.hex() for row in rows})
    verdict = duplicates.judge(groups, data.identities)
    sections = [
        *([_published(data)] if data.sets else []),
        _sources(settings, data),
        _tests(settings, data),
        _histogram(data, rows),
        _sizes(data),
        _unusable(data),
        _repeats(data, verdict, len(usable) - len(rows), len(wrong)),
        _conflicts(data, verdict),
        _trained_on(data, rows),
        _united(data, verdict),
    ]
    if near is not None:
        sections.append(_near(data, rows, near))
    return [*sections, *_problems(data)]


def _problems(data: Data) -> list[Section]:
    more = f"the first {FIRST} of {len(data.problems):,}" if len(data.problems) > FIRST else ""
    note = more if data.problems else "none: the walk can begin"
    rows = [(problem,) for problem in data.problems[:FIRST]]
    return [Section("Problems", ("what would stop the walk",), rows, note)]


def _published(data: Data) -> Section:
    """What was found of labelled data sets, and beside it what their authors counted."""
    rows: list[tuple[object, ...]] = []
    remarks: list[str] = []
    for name, (one, found) in data.sets.items():
        layout = LAYOUTS[one.layout]
        published = layout.published.get(one.variant or layout.variants[0], {})
        remarks += found.remarks
        for role, counts in layouts.counted(found.rows).items():
            marks = Counter(row.mark for row in found.of(role))
            told = [
                _beside(n, published[role][at] if role in published else None) for at, n in enumerate(counts)
            ]
            rows.append((name, role, *told, marks["junk"], marks["distractor"]))
    header = ("set", "role", "identities", "images", "cameras", "junk", "distractors")
    return Section("Data sets: found (published)", header, rows, "; ".join(remarks))


def _beside(found: int | None, published: int | None) -> str:
    """The found count, and the published one where it differs."""
    if published is None:
        return f"{found:,}"
    return f"{found:,} (as published)" if found == published else f"{found:,} ({published:,})"


def _lists(data: Data, files: Sequence[Path]) -> Section:
    """What label lists say, whatever images there are; bad lines become problems of `data`."""
    rows, twice = [], []
    for file in files:
        try:
            entries, problems = parse(regular(file).read_bytes(), str(file))
        except OSError as error:
            data.problems.append(f"{file}: cannot be read: {error.strerror}")
            continue
        data.problems += problems
        per_person = Counter(entry.label for entry in entries)
        labels: dict[str, set[str]] = {}
        for entry in entries:
            labels.setdefault(entry.name, set()).add(entry.label)
        conflicts = {name: found for name, found in labels.items() if len(found) > 1}
        twice += [f"{name} is {' and '.join(sorted(found, key=int))}" for name, found in conflicts.items()]
        once = sum(num == 1 for num in per_person.values())
        rows.append((str(file), len(entries), len(labels), len(per_person), once, len(conflicts)))
    note = "; ".join(twice[:FIRST])
    header = ("list", "lines", "images", "identities", "seen once", "under two identities")
    return Section("Label lists", header, rows, note)


def _wrong_rows(settings: Config, data: Data) -> set[int]:
    """Rows that the config's list of wrong labels drops; none where that file is not at hand."""
    file = settings.dedupe.wrong_labels
    if file is None or not Path(file).is_file():
        return set()
    wrong = names(regular(Path(file)).read_bytes())
    places = [s.images for s in data.sources if s.name in settings.dedupe.wrong_label_sources]
    paths = {str(PurePosixPath(place) / name) for place in places for name in wrong}
    return {row for row, path in enumerate(data.paths) if path in paths}


def _threshold(settings: Config) -> float:
    """Of the competition's round, or what it would be."""
    return (settings.split or Split()).threshold


def _domains(settings: Config, data: Data, paths: Sequence[str]) -> tuple[int, int, int]:
    """How many of these images are green, normal and unusable."""
    seen = [data.looks[path] for path in paths]
    means = np.array([one.means for one in seen if not one.fault]).reshape(-1, 3)
    green = int(domains.green(means, _threshold(settings)).sum())
    return green, len(means) - green, len(seen) - len(means)


def _sources(settings: Config, data: Data) -> Section:
    rows: list[tuple[object, ...]] = []
    for source in data.sources:
        mine = data.of(source.name)
        images = list(dict.fromkeys(data.paths[row] for row in mine))
        per_person = Counter(data.identities[row] for row in mine)
        once = sum(num == 1 for num in per_person.values())
        rows.append(
            (source.name, len(mine), len(images), len(per_person), once, *_domains(settings, data, images))
        )
    totals = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    header = ("source", "lines", "images", "identities", "seen once", "green", "normal", "unusable")
    return Section("Training sources, most trusted first", header, [*rows, ("(all)", *totals)])


def _tests(settings: Config, data: Data) -> Section:
    rows = [
        (role, len(paths), *_domains(settings, data, paths), _close(settings, data, paths))
        for role, paths in data.tests.items()
    ]
    header = ("folder", "images", "green", "normal", "unusable", "within 1 of the threshold")
    return Section("Test folders", header, rows)


def _close(settings: Config, data: Data, paths: Sequence[str]) -> int:
    means = np.array([data.looks[path].means for path in paths if not data.looks[path].fault]).reshape(-1, 3)
    return int(domains.close_calls(means, _threshold(settings)).sum())


def _histogram(data: Data, rows: Sequence[int]) -> Section:
    """Identities by their number of images: a column for each source."""
    found = {source.name: [0] * (len(_BUCKETS) + 1) for source in data.sources}
    per_person = Counter(data.identities[row] for row in rows)
    for identity, num in per_person.items():
        found[identity.partition("/")[0]][int(np.searchsorted(_BUCKETS, num))] += 1
    lows = [1, *(end + 1 for end in _BUCKETS)]
    labels = [str(low) if low == end else f"{low}–{end}" for low, end in zip(lows, _BUCKETS, strict=False)]
    labels.append(f"over {_BUCKETS[-1]}")
    table = [(label, *(counts[at] for counts in found.values())) for at, label in enumerate(labels)]
    last = max((at for at, row in enumerate(table) if any(row[1:])), default=0)
    return Section("Identities by number of images", ("images", *found), table[: last + 1])


def _sizes(data: Data) -> Section:
    sizes = Counter((one.height, one.width) for one in data.looks.values() if not one.fault)
    rows = [
        (f"{h} × {w}", num) for (h, w), num in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    ]
    note = f"{len(sizes):,} sizes in all" if len(sizes) > FIRST else ""
    return Section("Image sizes (height × width), commonest first", ("size", "images"), rows[:FIRST], note)


def _unusable(data: Data) -> Section:
    found = [
        (path, one) for path, one in data.looks.items() if one.fault or min(one.height, one.width) < SMALL
    ]
    found.sort(key=lambda item: (not item[1].fault, min(item[1].height, item[1].width), item[0]))
    rows = [(path, one.fault or f"{one.height} × {one.width} pixels") for path, one in found[:FIRST]]
    note = f"{len(found):,} in all" if len(found) > FIRST else "" if found else "none"
    strip = [Picture(data.folder / path, path) for path, one in found[:FIRST] if not one.fault]
    title = f"Unusable images, and those with a side under {SMALL} pixels"
    return Section(title, ("image", "what"), rows, note, [strip] if strip else [])


def _repeats(data: Data, verdict: Verdict, repeated_lines: int, wrong: int) -> Section:
    """Images listed again: by the source that keeps them and the source that repeats them."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for row, first in verdict.repeats.items():
        same = data.looks[data.paths[row]].digest == data.looks[data.paths[first]].digest
        pair = (_source(data, first), _source(data, row))
        kinds.setdefault(pair, [0, 0])[0 if same else 1] += 1
    strips = [
        [data.picture(first), data.picture(row)] for row, first in islice(verdict.repeats.items(), _STRIPS)
    ]
    note = f"lines that repeat another: {repeated_lines:,}; known to be wrong: {wrong:,}"
    rows = [(*pair, *counts) for pair, counts in sorted(kinds.items())]
    header = ("kept from", "repeated by", "same bytes", "same pixels")
    return Section("Repeated images", header, rows, note, strips)


def _trained_on(data: Data, rows: Sequence[int]) -> Section:
    """Test images that are training images, too: a score is worth less for each."""
    by_pixels: dict[bytes, int] = {}
    for row in rows:
        by_pixels.setdefault(data.looks[data.paths[row]].pixels, row)
    table: list[tuple[str, int, int, int]] = []
    strips = []
    for folder, paths in data.tests.items():
        seen = {path: data.looks[path] for path in paths if not data.looks[path].fault}
        copies = {path: by_pixels[one.pixels] for path, one in seen.items() if one.pixels in by_pixels}
        same = sum(seen[path].digest == data.looks[data.paths[row]].digest for path, row in copies.items())
        table.append((folder, len(paths), same, len(copies) - same))
        strips += [[data.picture(row), Picture(data.folder / path, path)] for path, row in copies.items()]
    total = sum(same + other for _, _, same, other in table)
    note = f"{total:,} in all: a score is worth less for it" if total else "none"
    title = "Test images that are training images"
    return Section(title, ("folder", "images", "same bytes", "same pixels"), table, note, strips[:_STRIPS])


def _conflicts(data: Data, verdict: Verdict) -> Section:
    rows = sorted(verdict.conflicts)
    table = [
        (data.places[row], data.paths[row], data.identities[row], ", ".join(verdict.conflicts[row]))
        for row in rows[:FIRST]
    ]
    note = f"{len(rows):,} lines in all" if len(rows) > FIRST else "" if rows else "none"
    strips = [[data.picture(row) for row in rows[:FIRST]]] if rows else []
    header = ("line", "image", "identity", "also")
    return Section("Images under two identities of one source: both are dropped", header, table, note, strips)


def _united(data: Data, verdict: Verdict) -> Section:
    """Who is one person because an image is shared; the largest with its images and its chain of links."""
    title = "Identities that share an image and become one person"
    people = duplicates.components(duplicates.unite(verdict.links, data.identities))
    if not people:
        return Section(title, note="none")
    persons: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for members in people.values():
        kind = " + ".join(sorted({member.partition("/")[0] for member in members}))
        persons[kind] += 1
        joined[kind] += len(members)
    name, members = next(iter(people.items()))
    links = duplicates.chain(verdict.links, data.identities, name)
    strips = [[data.picture(link.first), data.picture(link.second)] for link in links[:FIRST]]
    left = set(range(len(data.paths))) - verdict.repeats.keys() - verdict.conflicts.keys()
    strips += [
        [data.picture(row) for row in sorted(left) if data.identities[row] == member][:FIRST]
        for member in members[:FIRST]
    ]
    rows = [(kind, num, joined[kind]) for kind, num in persons.most_common()]
    note = f"the largest person is {name}: {', '.join(members[:FIRST])}"
    strips = [strip for strip in strips if strip]
    return Section(title, ("sources", "persons", "identities joined"), rows, note, strips)


def _near(data: Data, rows: Sequence[int], bits: int) -> Section:
    """Pairs of scenes that look alike though their pixels differ; nothing is dropped for it."""
    scenes = np.array([data.looks[data.paths[row]].scene for row in rows], np.uint64)
    pairs = [
        (distance, rows[one], rows[other])
        for distance, one, other in duplicates.near(scenes, bits)
        if data.looks[data.paths[rows[one]]].pixels != data.looks[data.paths[rows[other]]].pixels
    ]
    table = [
        (data.paths[one], data.paths[other], distance, _same_person(data, one, other))
        for distance, one, other in pairs[:FIRST]
    ]
    strips = [[data.picture(one), data.picture(other)] for _, one, other in pairs[:FIRST]]
    note = f"{len(pairs):,} pairs; for the eye only: none is dropped"
    header = ("image", "looks like", "bits apart", "listed as")
    return Section("Near-duplicates", header, table, note, strips)


def _same_person(data: Data, one: int, other: int) -> str:
    return "one identity" if data.identities[one] == data.identities[other] else "two identities"


def _source(data: Data, row: int) -> str:
    return data.identities[row].partition("/")[0]
