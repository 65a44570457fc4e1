"""How long a run will take here, and how much memory and disk: estimated from a short measured sample.

    naic-reid plan --config configs/small.yaml --data PATH/MyDataSet     before a run, in a minute or less
    naic-reid plan --config configs/toy.yaml                             drawn images

A few images are looked at, every network is trained for a few steps and a small ranking is made; the rest is
counting. What an earlier run has finished is not taken off. Core minutes are the time of all processors
together; minutes are what passes while the machine does nothing else. Expect both within a factor of 1.5:
what is measured is processor time, so that others at work now count little.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from naic_reid import config as settings
from naic_reid import machine
from naic_reid.config import Config, Report
from naic_reid.data import layouts
from naic_reid.data.folders import flat
from naic_reid.data.label_lists import parse
from naic_reid.data.layouts import Options
from naic_reid.errors import ReidError, listing
from naic_reid.files import regular
from naic_reid.tools import samples
from naic_reid.tools.samples import Cost

_SNAKEMAKE = 0.4  # seconds that it takes for a job
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
    drawing: float = 0.0
    """Processor seconds to draw all images of the toy."""

    def add(self, path: str, identity: str) -> None:
        """A training image more."""
        self.paths.append(path)
        self.labels[identity] = self.labels.get(identity, 0) + 1


@dataclass(frozen=True)
class Step:
    """All jobs of a step: the cost of one, how many run side by side, memory of one and disk of all."""

    name: str
    jobs: int
    cost: Cost
    side_by_side: int = 1
    memory: float = 0.0
    disk: float = 0.0
    cores: int = 1
    """That all have together."""

    @property
    def seconds(self) -> float:
        """What passes from the first job to the last."""
        rounds = -(-self.jobs // self.side_by_side)
        return max(rounds * self.cost.alone, self.busy / self.cores)

    @property
    def busy(self) -> float:
        """Seconds of all processors together."""
        return self.cost.busy * self.jobs


@dataclass(frozen=True)
class Whole:
    """All steps, one after another; but trainings, of which so many run side by side."""

    steps: Sequence[Step]
    trainings: int

    @property
    def _trained(self) -> list[Step]:
        return [step for step in self.steps if step.name.startswith("train ")]

    @property
    def busy(self) -> float:
        """Seconds of all processors together."""
        return sum(step.busy for step in self.steps)

    @property
    def seconds(self) -> float:
        """What passes from the first step to the last."""
        trained = self._trained
        spans = [step.seconds for step in trained]
        together = max([*spans, sum(spans) / self.trainings, sum(s.busy for s in trained) / trained[0].cores])
        return together + sum(step.seconds for step in self.steps if step not in trained)

    @property
    def memory(self) -> float:
        """Bytes that are needed at once."""
        trained = sorted((step.memory for step in self._trained), reverse=True)[: self.trainings]
        return max(sum(trained), *(step.memory * min(step.jobs, step.side_by_side) for step in self.steps))

    @property
    def disk(self) -> float:
        """Bytes that are left."""
        return sum(step.disk for step in self.steps)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings")
    parser.add_argument("--data", type=Path, default=Path("data/MyDataSet"), metavar="FOLDER",
                        help="label lists and images; default data/MyDataSet")  # fmt: skip
    parser.add_argument("--cores", type=int, default=machine.processors(), help="default: all")


def run(options: argparse.Namespace) -> int:
    """Prints a line for each step and the sums; 1 if the disk will not hold it."""
    config = settings.load(options.config)
    cores = max(1, options.cores)
    with tempfile.TemporaryDirectory(prefix="plan") as place:
        data = drawn(config, Path(place)) if config.toy else found(config, options.data)
        steps = list(estimated(config, data, cores))
    whole = Whole(steps, min(len(machine.gpus()) or cores, len(config.models)))
    table = Table("step", "jobs", "minutes", "core minutes", "memory, GB", "disk, GB")
    for step in steps:
        numbers = (step.seconds / 60, step.busy / 60, step.memory / 1e9, step.disk / 1e9)
        table.add_row(step.name, str(step.jobs), *(f"{number:.2f}" for number in numbers))
    Console(width=100).print(table)
    free, unused = shutil.disk_usage(".").free, machine.free_memory()
    print(
        f"plan: about {_time(whole.seconds / 60)} ({_time(whole.busy / 60)} of one core), "
        f"{whole.memory / 1e9:.1f} GB of memory ({unused / 1e9:.1f} GB are free), "
        f"{whole.disk / 1e9:.2f} GB of disk ({free / 1e9:.1f} GB are free here)"
    )
    return 1 if whole.disk > free else 0


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
                data.add(path, f"{source.name}/{identity}")
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
    began = time.process_time()
    for shot in whole.shots[::step]:
        who = person(generator(config.seed, 0, shot.person))
        where = camera(generator(config.seed, 1, shot.camera))
        pixels = draw(who, where, shot.domain, toy.height, toy.width, generator(config.seed, 2, 0))
        (place / shot.path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / shot.path), pixels)
    data.drawing = (time.process_time() - began) * step
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
    light, looking, heavy = (
        found._replace(seconds=found.seconds + _SNAKEMAKE)
        for found in (samples.start(f"naic_reid.stages.{name}") for name in ("dedupe", "collect", "train"))
    )
    look = samples.look(data.folder, data.paths)
    tested = sum(q + g for name, (q, g) in data.domains.items() if name != settings.HOLDOUT)
    images = len(data.paths)

    def plain(seconds: float) -> Cost:
        return Cost(seconds, seconds)

    def looked(number: float) -> Cost:
        """Looks are taken by two threads."""
        return Cost(looking.seconds + look * number / 2, looking.seconds + look * number)

    if config.toy:
        drawing = plain(light.seconds + data.drawing)
        yield Step("toy", 1, drawing, 1, light.bytes, 3e4 * (images + tested))
    yield Step("collect", 1, looked(images), 1, looking.bytes, 200 * images, cores)
    yield Step("dedupe, holdout", 2, plain(light.seconds + 1e-5 * images), 1, light.bytes, 300 * images)
    yield Step("split, tests", 1 + len(config.tests), looked(tested), 1, looking.bytes, 200 * tested, cores)
    gpus = len(machine.gpus())
    rounds = 2 if config.pseudo_label else 1
    networks = []
    for name, model in config.models.items():
        networks.append(samples.network(config, model, data.folder, data.paths, max(2, len(data.labels))))
        yield _training(config, name, networks[-1], data, cores, heavy.seconds, rounds)
    dimension = max(network.dimension for network in networks)
    shown = sum(q + g for q, g in data.domains.values())
    means = [
        heavy.seconds
        + shown * sum(getattr(network.extract_image, name) for network in networks) / len(networks)
        for name in ("alone", "busy")
    ]
    members = len(config.models) * len(config.ensemble.epochs)
    kept = members * shown * dimension * 4.0
    memory = heavy.bytes + max(network.extract_bytes for network in networks)
    yield Step("extract", members * rounds, Cost(*means), gpus or cores, memory, kept, cores)
    yield from _retrieval(config, data, members, dimension, heavy, cores)
    yield Step("submit, card", 2, plain(light.seconds), 1, light.bytes, 4000.0 * tested)
    if config.report:
        yield _page(config.report, data, networks[0], look, heavy if config.report.heat else light)


def _page(report: Report, data: Data, network: samples.Network, look: float, start: samples.Start) -> Step:
    """The report: drawings of the models and domains, pictures of the lists, and where the network looked."""
    asked = min(report.queries, sum(queries for queries, _ in data.domains.values()))
    drawings = (2 + 3 * len(data.domains)) * samples.drawing()
    pictures = look * asked * (1 + report.best)
    heat = network.extract_image.busy * min(report.heat, asked) * (1 + report.best)
    seconds = start.seconds + drawings + pictures + heat
    memory = start.bytes + (network.extract_bytes if report.heat else 0)
    return Step("report", 1, Cost(seconds, seconds), 1, memory, 1e6 * report.megabytes)


def _training(
    config: Config, name: str, network: samples.Network, data: Data, cores: int, start: float, rounds: int
) -> Step:
    """The training of one model; several run side by side."""
    train = config.train.adapted(config.models[name].recipe)
    group = train.num_instances
    groups = sum(-(-count // group) for count in data.labels.values()) * (1 + train.channel_shuffles)
    batch = max(2, min(train.batch // group, len(data.labels))) * group
    steps = -(-groups * group // batch)
    shown = min(steps, train.steps_per_epoch or steps) * batch * train.epochs
    begun = start + network.first_step
    read = network.read_image * min(len(set(data.paths)), shown)
    step = network.step_image
    cost = Cost(begun + shown * step.alone, begun + read + shown * step.busy)
    kept = len(config.ensemble.epochs) * 2 * network.checkpoint_bytes + 4 * network.checkpoint_bytes
    return Step(f"train {name}", rounds, cost, 1, network.train_bytes, kept, cores)


def _retrieval(
    config: Config, data: Data, members: int, dimension: int, start: samples.Start, cores: int
) -> Iterator[Step]:
    """Search, re-ranking, fusion and scores, as a small ranking of random features says."""
    rerank = next(iter(config.rerank.values()))
    rows = max(int(max(q + g for q, g in data.domains.values())), 20)
    num = min(rows, _SAMPLE_ROWS)
    first, second = samples.rank(num, dimension, rerank)
    num_domains, side = len(data.domains), max(1, cores // 2)
    larger = sum(((q + g) / num) ** 2 for q, g in data.domains.values()) / num_domains

    def ranking(part: float) -> Cost:
        """What is compiled takes one thread, the rest two."""
        fixed = start.seconds + max(first - second, 0.0) / 2
        return Cost(fixed + part * second * larger / 2, fixed + part * second * larger)

    keep = sum((q + g) * config.search.keep * 8 for q, g in data.domains.values()) * members
    sparse = sum(q * min(g, 2000) * 8 for q, g in data.domains.values()) * members
    memory = start.bytes + 3 * rows * dimension * 4
    yield Step("search", members * num_domains, ranking(0.5), side, memory, keep, cores)
    yield Step("rerank", members * num_domains, ranking(0.5), side, memory, sparse, cores)
    listed = 1600.0 * sum(q for q, _ in data.domains.values())
    yield Step("fuse", num_domains, ranking(0.5 * members), side, memory, listed, cores)
    yield Step("evaluate", num_domains, ranking(0.5 * members), side, memory, cores=cores)


def _listed(data: Data, name: str, images: str, content: bytes) -> None:
    entries, _ = parse(content, name)
    prefix = "" if images in ("", ".") else f"{images.rstrip('/')}/"
    for entry in entries:
        data.add(prefix + entry.name, f"{name}/{entry.label}")


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
    """The data with its hold-out as a domain, if there shall be one, and the domains that are cut."""
    if config.holdout.asked:
        share = 1 / config.holdout.folds if config.holdout.folds else config.holdout.share
        persons, images = share * len(data.labels), share * len(data.paths)
        asked = persons * config.holdout.query_images
        data.domains[settings.HOLDOUT] = (asked, max(images - asked, 1.0))
    data.domains |= {name: data.domains[cut.of] for name, cut in config.cut.items()}
    return data


def _time(minutes: float) -> str:
    if minutes < 90:
        return f"{minutes:.1f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 60 * 48 else f"{minutes / 1440:.1f} days"
