"""How long a run will take here, and how much memory and disk: estimated from a short measured sample.

    naic-reid plan --config configs/small.yaml --data PATH/MyDataSet     before a run, in a minute or less
    naic-reid plan --config configs/toy.yaml                             drawn images

A few images are looked at, every network is trained for a few steps and a small ranking is made; the rest is
counting. What an earlier run has finished is not taken off. Expect to be right within a factor of 1.5 while
the machine does nothing else.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from naic_reid import config as settings
from naic_reid import machine
from naic_reid.config import Config
from naic_reid.data import layouts
from naic_reid.data.folders import flat
from naic_reid.data.label_lists import parse
from naic_reid.data.layouts import Options
from naic_reid.errors import ReidError, listing
from naic_reid.files import regular
from naic_reid.tools import samples

_SNAKEMAKE = 0.4  # seconds that it takes for a job
_BASE = 400 << 20  # bytes of a process with torch
_THREADS = {"train": 1, "extract": 1}  # as in the rules; the others have 2
_SAMPLE_ROWS = 800


@dataclass
class Data:
    """What a run reads: training images with their labels, and the images of each domain."""

    folder: Path
    paths: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    """Identity → images."""
    domains: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Domain → queries and gallery images."""
    tested: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """All jobs of a step: seconds of one, how many run side by side, memory of one and disk of all."""

    name: str
    jobs: int
    seconds: float
    side_by_side: int = 1
    memory: float = _BASE
    disk: float = 0.0

    @property
    def minutes(self) -> float:
        return self.seconds * self.jobs / min(self.jobs, self.side_by_side) / 60 if self.jobs else 0.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings")
    parser.add_argument("--data", type=Path, default=Path("data/MyDataSet"), metavar="FOLDER",
                        help="label lists and images; default data/MyDataSet")  # fmt: skip
    parser.add_argument("--cores", type=int, default=machine.processors(), help="default: all")


def run(options: argparse.Namespace) -> int:
    """Prints a line for each step and the sums; 1 if the disk will not hold it."""
    config = settings.load(options.config)
    with tempfile.TemporaryDirectory(prefix="plan") as place:
        data = drawn(config, Path(place)) if config.toy else found(config, options.data)
        steps = list(estimated(config, data, max(1, options.cores)))
    table = Table("step", "jobs", "minutes", "memory, GB", "disk, GB")
    for step in steps:
        numbers = (step.minutes, step.memory / 1e9, step.disk / 1e9)
        table.add_row(step.name, str(step.jobs), *(f"{number:.2f}" for number in numbers))
    Console(width=100).print(table)
    minutes, disk = sum(step.minutes for step in steps), sum(step.disk for step in steps)
    free = shutil.disk_usage(".").free
    memory = max(step.memory * min(step.jobs, step.side_by_side) for step in steps)
    unused = machine.free_memory()
    print(
        f"plan: about {_time(minutes)}, {memory / 1e9:.1f} GB of memory ({unused / 1e9:.1f} GB are free), "
        f"{disk / 1e9:.2f} GB of disk ({free / 1e9:.1f} GB are free here)"
    )
    return 1 if disk > free else 0


def found(config: Config, folder: Path) -> Data:
    """What the data folder holds of what the config names.

    Raises:
        ReidError: something is not there.
    """
    data, problems = Data(folder), list[str]()
    for source in config.collect.sources:
        if source.listed:
            file = folder / source.list
            if not file.is_file():
                problems.append(f"{file}: no such label list")
                continue
            _listed(data, source.name, source.images, regular(file).read_bytes())
        else:
            for path, identity in _laid_out(folder, source, ("train",)):
                data.paths.append(path)
                data.labels[f"{source.name}/{identity}"] = data.labels.get(f"{source.name}/{identity}", 0) + 1
    if config.split:
        counts = []
        for name in (config.split.query, config.split.gallery):
            images, wrong, _ = flat(folder / name)
            problems += wrong
            counts.append(len(images))
            data.tested += [f"{name}/{image.name}" for image in images]
        _divided(data, config, counts[0], counts[1])
    for name, test in config.tests.items():
        sides = [_laid_out(folder, test, (role,)) for role in ("query", "gallery")]
        data.domains[name] = (len(sides[0]), len(sides[1]))
        data.tested += [path for side in sides for path, _ in side]
    if problems:
        raise listing(problems, f"{folder}: the data folder is not as the config says")
    if not data.paths:
        raise ReidError(f"{folder}: no training image is listed")
    return _held_out(data, config)


def drawn(config: Config, place: Path) -> Data:
    """The toy's folder, counted; some of its images are drawn at `place`."""
    import cv2

    from naic_reid.data.toy import camera, draw, generator, person
    from naic_reid.data.toy_layout import layout

    toy = config.toy
    assert toy is not None
    whole = layout(config.seed, toy.train_identities, toy.test_identities, toy.images, toy.cameras)
    data = Data(place)
    for source in config.collect.sources:
        _listed(data, source.name, source.images, whole.lists[source.list])
    step = max(1, len(whole.shots) // 64)
    for shot in whole.shots[::step]:
        who = person(generator(config.seed, 0, shot.person))
        where = camera(generator(config.seed, 1, shot.camera))
        pixels = draw(who, where, shot.domain, toy.height, toy.width, generator(config.seed, 2, 0))
        (place / shot.path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / shot.path), pixels)
    there = {shot.path for shot in whole.shots[::step]}
    data.paths = sorted(set(data.paths) & there) * (1 + len(data.paths) // len(there))
    if config.split:
        sides = [sum(shot.path.startswith(f"{name}/") for shot in whole.shots)
                 for name in (config.split.query, config.split.gallery)]  # fmt: skip
        _divided(data, config, sides[0], sides[1])
    data.tested = [path for path in there if path.startswith("image_B")] or data.paths
    return _held_out(data, config)


def estimated(config: Config, data: Data, cores: int) -> Iterator[Step]:
    """Each step in the order of the workflow."""
    light = samples.start("naic_reid.stages.card") + _SNAKEMAKE
    heavy = samples.start("naic_reid.stages.train") + _SNAKEMAKE
    look = samples.look(data.folder, data.paths)
    tested = sum(q + g for name, (q, g) in data.domains.items() if name != settings.HOLDOUT)
    if config.toy:
        yield Step(
            "toy", 1, light + 4 * look * (len(data.paths) + tested), disk=3e4 * (len(data.paths) + tested)
        )
    yield Step("collect", 1, light + look * len(data.paths) / min(2, cores), disk=200 * len(data.paths))
    yield Step("dedupe, holdout", 2, light + 1e-5 * len(data.paths), disk=300 * len(data.paths))
    yield Step(
        "split, tests", 1 + len(config.tests), light + look * tested / min(2, cores), disk=200 * tested
    )
    gpus = len(machine.gpus())
    rounds = 2 if config.pseudo_label else 1
    dimension = 0
    extracted = []
    for name, model in config.models.items():
        network = samples.network(config, model, data.folder, data.paths, max(2, len(data.labels)))
        dimension = max(dimension, network.dimension)
        extracted.append(network)
        yield _training(config, name, network, data, cores, gpus, heavy, rounds)
    images = sum(q + g for q, g in data.domains.values())
    seconds = sum(n.extract_image for n in extracted) / len(extracted) * images
    members = len(config.models) * len(config.ensemble.epochs)
    side = gpus or cores
    yield Step("extract", members * rounds, heavy + seconds, side, _BASE, members * images * dimension * 4.0)
    yield from _retrieval(config, data, members, dimension, heavy, max(1, cores // 2))
    yield Step("submit, card", 2, light, disk=4000.0 * tested)


def _training(
    config: Config, name: str, network: samples.Network, data: Data, cores: int, gpus: int, start: float,
    rounds: int,
) -> Step:  # fmt: skip
    """The training of one model: its share of all models' trainings, which run side by side."""
    train = config.train.adapted(config.models[name].recipe)
    group = train.num_instances
    groups = sum(-(-count // group) for count in data.labels.values()) * (1 + train.channel_shuffles)
    batch = max(2, min(train.batch // group, len(data.labels))) * group
    steps = -(-groups * group // batch)
    images = min(steps, train.steps_per_epoch or steps) * batch * train.epochs
    side = min(gpus or cores, len(config.models))
    # The threads that read and vary images want processors, too, and so do the other trainings.
    image = network.step_image if gpus else max(network.step_image, network.step_busy * side / cores)
    kept = len(config.ensemble.epochs) * 2 * network.checkpoint_bytes + 4 * network.checkpoint_bytes
    return Step(f"train {name}", rounds, (start + images * image) / side, 1, network.train_bytes, kept)


def _retrieval(
    config: Config, data: Data, members: int, dimension: int, start: float, side: int
) -> Iterator[Step]:
    """Search, re-ranking, fusion and scores, as a small ranking of random features says."""
    rerank = next(iter(config.rerank.values()))
    rows = max(int(max(q + g for q, g in data.domains.values())), 20)
    num = min(rows, _SAMPLE_ROWS)
    first, second = samples.rank(num, dimension, rerank)
    num_domains = len(data.domains)
    larger = sum(((q + g) / num) ** 2 for q, g in data.domains.values()) / num_domains
    once = start + max(first - second, 0.0) / 2 + second * larger / 2
    keep = sum((q + g) * config.search.keep * 8 for q, g in data.domains.values()) * members
    sparse = sum(q * min(g, 2000) * 8 for q, g in data.domains.values()) * members
    memory = _BASE + 3 * rows * dimension * 4
    yield Step("search", members * num_domains, once, side, memory, keep)
    yield Step("rerank", members * num_domains, once, side, memory, sparse)
    together = start + second * larger / 2 * members
    yield Step("fuse", num_domains, together, side, memory, 1600.0 * sum(q for q, _ in data.domains.values()))
    yield Step("evaluate", num_domains, together, side, memory)


def _listed(data: Data, name: str, images: str, content: bytes) -> None:
    entries, _ = parse(content, name)
    prefix = "" if images in ("", ".") else f"{images.rstrip('/')}/"
    for entry in entries:
        data.paths.append(prefix + entry.name)
        key = f"{name}/{entry.label}"
        data.labels[key] = data.labels.get(key, 0) + 1


def _laid_out(folder: Path, one: settings.DataSet, roles: tuple[str, ...]) -> list[tuple[str, str]]:
    """(path in the data folder, identity) of the images of a labelled set in these roles."""
    options = Options(one.variant, one.pattern or "", one.table or "", one.special)
    read = layouts.read(folder / one.folder, one.layout, roles, options)
    return [(os.path.join(one.folder, row.path), row.identity) for row in read.rows if row.role in roles]  # noqa: PTH118


def _divided(data: Data, config: Config, queries: int, gallery: int) -> None:
    """The competition's images over its domains; how they really divide is known when they are read."""
    names = config.competition
    data.domains |= {name: (queries / len(names), gallery / len(names)) for name in names}


def _held_out(data: Data, config: Config) -> Data:
    """The data with its hold-out as a domain, if there shall be one."""
    if config.holdout.asked:
        share = 1 / config.holdout.folds if config.holdout.folds else config.holdout.share
        persons, images = share * len(data.labels), share * len(data.paths)
        asked = persons * config.holdout.query_images
        data.domains[settings.HOLDOUT] = (asked, max(images - asked, 1.0))
    return data


def _time(minutes: float) -> str:
    if minutes < 90:
        return f"{minutes:.1f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 60 * 48 else f"{minutes / 1440:.1f} days"
