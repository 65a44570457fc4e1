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
from pathlib import Path

import numpy as np

from naic_reid import config
from naic_reid.config import Config, DataSet, Split
from naic_reid.data import domains, duplicates, folders, layouts
from naic_reid.data.label_lists import parse
from naic_reid.data.layouts import LAYOUTS, Options
from naic_reid.errors import ReidError
from naic_reid.files import apart, regular, whole
from naic_reid.pages import findings
from naic_reid.pages.findings import FIRST, STRIPS
from naic_reid.pages.sections import Picture, Section, as_html, as_text
from naic_reid.tools import variations
from naic_reid.tools.inspected import Data, look


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
        print(as_text(sections), end="")
        return 1 if data.problems else 0
    if options.layout and options.data:
        found = layouts.look(options.data, options.layout, Options(options.variant))
        data = Data(options.data, (), problems=list(found.problems))
        data.sets[options.layout] = DataSet(layout=options.layout, variant=options.variant), found
        print(as_text([_published(data), *_problems(data)]), end="")
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
    print(as_text(sections), end="")
    if options.html:
        with whole(options.html) as unfinished:
            unfinished.write_text(as_html(f"{options.data}, as {options.config} reads it", sections), "utf-8")
        print(f"\nwith pictures: {options.html}")
    return 1 if data.problems else 0


def report(settings: Config, data: Data, near: int | None) -> list[Section]:
    """All sections, in the order shown."""
    sections = [
        *([_published(data)] if data.sets else []),
        _sources(settings, data),
        _tests(settings, data),
        *findings.sections(data),
        _trained_on(data),
    ]
    if near is not None:
        sections.append(_near(data, near))
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
    for name in data.sources:
        mine = [row for row, identity in enumerate(data.identities) if identity.startswith(f"{name}/")]
        images = list(dict.fromkeys(data.paths[row] for row in mine))
        per_person = Counter(data.identities[row] for row in mine)
        once = sum(num == 1 for num in per_person.values())
        rows.append((name, len(mine), len(images), len(per_person), once, *_domains(settings, data, images)))
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


def _trained_on(data: Data) -> Section:
    """Test images that are training images, too: a score is worth less for each."""
    by_pixels: dict[bytes, int] = {}
    for row in data.rows:
        by_pixels.setdefault(data.look(row).pixels, row)
    table: list[tuple[str, int, int, int]] = []
    strips = []
    for folder, paths in data.tests.items():
        seen = {path: data.looks[path] for path in paths if not data.looks[path].fault}
        copies = {path: by_pixels[one.pixels] for path, one in seen.items() if one.pixels in by_pixels}
        same = sum(seen[path].digest == data.look(row).digest for path, row in copies.items())
        table.append((folder, len(paths), same, len(copies) - same))
        strips += [[data.picture(row), Picture(data.folder / path, path)] for path, row in copies.items()]
    total = sum(same + other for _, _, same, other in table)
    note = f"{total:,} in all: a score is worth less for it" if total else "none"
    title = "Test images that are training images"
    return Section(title, ("folder", "images", "same bytes", "same pixels"), table, note, strips[:STRIPS])


def _near(data: Data, bits: int) -> Section:
    """Pairs of scenes that look alike though their pixels differ; nothing is dropped for it."""
    rows = data.rows
    scenes = np.array([data.look(row).scene for row in rows], np.uint64)
    pairs = [
        (distance, rows[one], rows[other])
        for distance, one, other in duplicates.near(scenes, bits)
        if data.look(rows[one]).pixels != data.look(rows[other]).pixels
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
