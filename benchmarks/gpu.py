"""All that a GPU has to show, in one command of less than nine minutes on one H100 or H200.

    python benchmarks/gpu.py                             all parts; a table, a Markdown report and a JSON file
    python benchmarks/gpu.py --only training extraction  some of them
    python benchmarks/gpu.py --small                     the same program on a processor, in about a minute

tests       the tests of `tests/gpu`, run by this file: pytest is not needed
training    steps of ResNet101-IBN-b (ArcFace over 51,000 persons, weighted triplet, Ranger) at the three
            sizes of the reproduction, with and without half precision; how often the host waits in a step;
            steps through the loader; and the hours that the reproduction would take
extraction  19,281 images through ResNet-50 at 256 × 128 in batches of 128: from files, and on the device
retrieval   search, re-ranking and fusion through the stages, files included, at 19,281 and 160,000 rows

Each part is a process of its own, which is ended when its time is over; what it had not come to is listed
as left out. Seconds that a part does not need go to those after it. Needed: torch, NumPy, SciPy, numba,
OpenCV, pydantic, rich, psutil.
"""

import argparse
import importlib.util
import inspect
import itertools
import json
import platform
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))

SECONDS = {"tests": 100, "training": 190, "extraction": 80, "retrieval": 150}
"""Of the parts, in their order; 520 in all."""
IMAGES, EPOCHS = 880_000, 60
"""Of the reproduction's training list, and how often each is shown."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    device: str
    network: str
    shapes: tuple[tuple[int, int], ...]
    batch: int
    classes: int
    words: tuple[str, ...]
    step_seconds: float
    pictures: int
    extracted: str
    images: int
    extraction_batch: int
    rows: tuple[tuple[int, int], ...]
    """Queries and gallery."""
    dimension: int


WHOLE = Sizes(
    "cuda", "resnet101_ibn_b", ((256, 128), (384, 192), (480, 240)), 224, 51_000, ("fp16", "tf32", "fp32"),
    6.0, 512, "resnet50", 19_281, 128, ((3_368, 15_913), (30_000, 130_000)), 2048,
)  # fmt: skip
SMALL = Sizes(
    "cpu", "resnet18_ibn_b", ((64, 32),), 8, 50, ("bf16", "fp32"),
    0.1, 16, "resnet18", 40, 8, ((30, 270),), 64,
)  # fmt: skip

Row = dict[str, Any]
"""What was measured: `figure`, `value` and `unit`, or `failed` or `left_out` with a reason; and a `note`."""


class Clock:
    """How long a part may still take."""

    def __init__(self, until: float) -> None:
        self._until = until

    def allows(self, seconds: float) -> bool:
        return time.time() + seconds < self._until


def row(figure: str, value: float, unit: str, note: str = "") -> Row:
    return {"figure": figure, "value": value, "unit": unit, "note": note}


def left_out(figure: str, note: str = "no time was left") -> Row:
    return {"figure": figure, "left_out": note}


def told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], Any], device: str, calls: int = 1) -> float:
    """Seconds that a call takes, until the device has done all of them."""
    synchronise(device)
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    synchronise(device)
    return (time.perf_counter() - begun) / calls


def memory_since(device: str) -> Callable[[], str]:
    """Says the GPU's peak since now, in words."""
    if device != "cuda":
        return lambda: "no GPU"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return lambda: f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most"


# --- tests


def tests(sizes: Sizes, clock: Clock) -> Iterator[Row]:
    """Every test of `tests/gpu`, called with what it asks for."""
    passed = failed = 0
    for path in sorted((HOME / "tests" / "gpu").glob("test_*.py")):
        for name, test in functions(path):
            asked = inspect.signature(test).parameters
            if "gpu" in asked and sizes.device != "cuda":
                continue
            if not clock.allows(5):
                yield left_out(name)
                continue
            with tempfile.TemporaryDirectory() as folder:
                given = {"device": sizes.device, "gpu": sizes.device, "folder": Path(folder)}
                try:
                    test(**{each: given[each] for each in asked})
                    passed += 1
                except Exception as error:
                    failed += 1
                    traceback.print_exc()
                    yield {"figure": name, "failed": told(error)}
    yield row("tests that passed", passed, f"of {passed + failed}")


def functions(path: Path) -> list[tuple[str, Callable[..., None]]]:
    """The tests of a file, in its order."""
    spec = importlib.util.spec_from_file_location(f"gpu_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [(name, found) for name, found in vars(module).items() if name.startswith("test_")]


# --- training


def training(sizes: Sizes, clock: Clock) -> Iterator[Row]:
    """Rates of steps on pictures that lie on the device; then of a run through the loader."""
    from naic_reid.training.repeatable import repeatable

    with repeatable(int(sizes.device == "cpu"), deterministic=False):
        state, plan = learner_of(sizes)
        rates: dict[tuple[int, int], float] = {}
        for word, (height, width) in itertools.product(sizes.words, sizes.shapes):
            figure = f"training, {sizes.network} at {height} × {width}, {word}"
            if not clock.allows(4 * sizes.step_seconds):
                yield left_out(figure)
                continue
            seconds, note = step_seconds(state, partial(plan, word), sizes, height, width)
            rate = sizes.batch / seconds
            rates.setdefault((height, width), rate)
            yield row(figure, rate, "images/s", note)
        if len(rates) == len(sizes.shapes):
            hours = sum(IMAGES * EPOCHS / rate for rate in rates.values()) / 3600
            yield row("training of the reproduction, projected", hours, "hours", f"{sizes.words[0]}, one GPU")
        yield from host_waits(state, partial(plan, sizes.words[0]), sizes)
        if clock.allows(4 * sizes.step_seconds):
            yield from through_the_loader(state, partial(plan, sizes.words[0]), sizes)
        else:
            yield left_out("training through the loader")


def learner_of(sizes: Sizes) -> tuple[Any, Callable[[str, int | None], Any]]:
    """What is trained, and how a step is taken in a precision and by micro-batches of a size."""
    from naic_reid import models, recipe
    from naic_reid.architecture import Architecture
    from naic_reid.config import Train
    from naic_reid.training.state import State
    from naic_reid.training.step import Plan

    torch.manual_seed(0)
    height, width = sizes.shapes[0]
    embedder = models.build(Architecture(backbone=sizes.network, height=height, width=width))
    learner = recipe.learner(Train(), embedder, sizes.classes).to(sizes.device)
    learner.to(memory_format=torch.channels_last).train()
    optimizer = recipe.optimizer(Train(), learner)
    weights = recipe.terms(Train(), embedder)

    def plan(word: str, micro_batch: int | None) -> Plan:
        return Plan(weights, 1 << 30, factor=0.01, precision=word, micro_batch=micro_batch)

    return State(learner, optimizer), plan


def pictures_on_device(sizes: Sizes, height: int, width: int) -> Any:
    from naic_reid.training.step import Batch

    images = torch.randn(sizes.batch, height, width, 3, device=sizes.device).permute(0, 3, 1, 2)
    labels = torch.arange(sizes.batch, device=sizes.device) // 2 % sizes.classes
    return Batch(images, labels, [""] * sizes.batch)


def step_seconds(
    state: Any, plan: Callable[[int | None], Any], sizes: Sizes, height: int, width: int
) -> tuple[float, str]:
    """Of a step, in the largest micro-batches that fit; and what there is to say of it."""
    from naic_reid.training.step import settle, step

    batch = pictures_on_device(sizes, height, width)
    for size in (sizes.batch // cut for cut in (1, 2, 4, 8)):
        with suppress(torch.OutOfMemoryError):
            peak = memory_since(sizes.device)
            work = partial(step, state, batch, plan(size))
            once = [timed(work, sizes.device) for _ in range(3)][-1]
            seconds = timed(work, sizes.device, max(3, int(sizes.step_seconds / once)))
            settle(state)
            cut = "" if size == sizes.batch else f" in micro-batches of {size}"
            return seconds, f"batch {sizes.batch}{cut}, {peak()}"
    raise MemoryError(f"{height} × {width} fits in no micro-batch")


def host_waits(state: Any, plan: Callable[[int | None], Any], sizes: Sizes) -> Iterator[Row]:
    """Calls that make the host wait for the device, of a step."""
    from naic_reid.training.step import settle, step

    batch = pictures_on_device(sizes, *sizes.shapes[0])
    if sizes.device != "cuda":
        yield left_out("waits of the host in a step", "a processor waits for itself")
        return
    step(state, batch, plan(None))
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5):
            step(state, batch, plan(None))
    torch.cuda.set_sync_debug_mode("default")
    settle(state)
    waits = [str(each.message) for each in caught if "synchroniz" in str(each.message)]
    yield row("waits of the host in a step", len(waits) / 5, "calls")


def through_the_loader(state: Any, plan: Callable[[int | None], Any], sizes: Sizes) -> Iterator[Row]:
    """Steps on images read, varied and sent while others are trained on; nothing is decoded in advance."""
    from naic_reid import machine
    from naic_reid.data import augment
    from naic_reid.data.batches import TrainingImages, TrainingList
    from naic_reid.data.geometry import Geometry
    from naic_reid.training.step import Batch, settle, step

    height, width = sizes.shapes[0]
    with tempfile.TemporaryDirectory() as folder:
        names = photographs(Path(folder), sizes.pictures, height, width)
        listed = TrainingList(names, [number // 2 for number in range(len(names))])
        source = TrainingImages(Path(folder), listed, Geometry(height, width), memory=0)
        steps = 30 if sizes.device == "cuda" else 3
        order = np.random.default_rng(0).integers(0, len(names), (steps, sizes.batch))
        recipe = augment.Recipe(0.5, min(10, width // 4), 0.5, 0.5, 0.5, 0.2, 0.2)
        waited, begun, first = 0.0, 0.0, 0
        made = source.batches(order, recipe, 0, 0, pinned=sizes.device == "cuda")
        for number in range(steps):
            asked = time.perf_counter()
            batch = next(made)
            waited += time.perf_counter() - asked
            step(state, Batch(*batch.finished(torch.device(sizes.device)), batch.paths), plan(None))
            if number == steps // 3:  # by then the threads are ahead
                synchronise(sizes.device)
                waited, begun, first = 0.0, time.perf_counter(), number + 1
        synchronise(sizes.device)
        seconds = time.perf_counter() - begun
        settle(state)
    note = f"JPEG, {machine.processors()} threads, {waited / seconds:.0%} of the time waiting for data"
    rate = (steps - first) * sizes.batch / seconds
    yield row(f"training through the loader at {height} × {width}", rate, "images/s", note)


def photographs(folder: Path, num: int, height: int, width: int) -> list[str]:
    """JPEGs of some 14 kB at 256 × 128, smooth with noise on it, by their names."""
    import cv2

    rng = np.random.default_rng(0)
    names = [f"{number:05}.jpg" for number in range(num)]
    for name in names:
        coarse = rng.integers(0, 256, (16, 8, 3), np.uint8)
        base = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(base.astype(int) + rng.integers(-6, 7, base.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / name), noisy)
    return names


# --- extraction


def extraction(sizes: Sizes, clock: Clock) -> Iterator[Row]:
    """Features of images from files, and of pictures that lie on the device, by precision."""
    from naic_reid.data import images

    height, width = sizes.shapes[0]
    with tempfile.TemporaryDirectory() as folder:
        names = photographs(Path(folder), min(sizes.pictures, sizes.images), height, width)
        paths = [Path(folder) / name for name in itertools.islice(itertools.cycle(names), sizes.images)]
        for word in ("fp32", "tf32", "bf16") if sizes.device == "cuda" else ("fp32", "bf16"):
            figure = f"extraction, {sizes.extracted} at {height} × {width}, {word}"
            if not clock.allows(15 if sizes.device == "cuda" else 1):
                yield left_out(figure)
                continue
            extractor, size = extractor_of(sizes, word), sizes.extraction_batch
            pixels = torch.zeros(size, height, width, 3, dtype=torch.uint8, device=sizes.device)
            with torch.inference_mode():
                once = [timed(partial(extractor, pixels), sizes.device) for _ in range(4)][-1]
                alone = timed(partial(extractor, pixels), sizes.device, max(1, min(50, int(3 / once))))
            yield row(f"{figure}, on the device", size / alone, "images/s", "flip included")
            peak, begun = memory_since(sizes.device), time.perf_counter()
            seen = sum(len(block.values) for block in extractor.blocks(paths, images.read, batch=size))
            rate = seen / (time.perf_counter() - begun)
            yield row(f"{figure}, from files", rate, "images/s", f"{seen:,} JPEGs by {size}, {peak()}")


def extractor_of(sizes: Sizes, word: str) -> Any:
    """An Extractor of a network as it is drawn."""
    from naic_reid.architecture import Architecture
    from naic_reid.artifacts import MadeBy
    from naic_reid.extractor import Extractor
    from naic_reid.losses import build_identity
    from naic_reid.models import build
    from naic_reid.models.weights import Checkpoint

    torch.manual_seed(0)
    height, width = sizes.shapes[0]
    architecture = Architecture(backbone=sizes.extracted, height=height, width=width)
    embedder = build(architecture)
    classes = build_identity("linear", 2, embedder.dimension)
    checkpoint = Checkpoint.of(embedder, classes, 1, ("a/1", "a/2"), architecture, MadeBy())
    return Extractor(checkpoint, device=sizes.device, precision=word)


# --- retrieval


def retrieval(sizes: Sizes, clock: Clock) -> Iterator[Row]:
    """The stages one after the other, as the workflow calls them, on features of one member."""
    for turn, (num_query, num_gallery) in enumerate(((20, 180), *sizes.rows)):
        num = num_query + num_gallery
        if not clock.allows(num / 2000):
            yield left_out(f"search, re-ranking and fusion of {num:,} rows")
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_features(Path(folder), num_query, num_gallery, sizes)
            for name, work in stages_on(Path(folder), min(200, num_gallery), sizes).items():
                seconds = timed(work, sizes.device)
                note = f"{num_query:,} queries, files included" if turn else "the first time: compiling"
                yield row(f"{name} of {num:,} rows", seconds, "s", note)


def stages_on(folder: Path, best: int, sizes: Sizes) -> dict[str, Callable[[], None]]:
    """Search, re-ranking and fusion of the features in a folder."""
    from naic_reid.config import Ensemble, Fuse, Model, Rerank, Search
    from naic_reid.stages import fuse, rerank, search

    settings, models = (
        Rerank(k1=30, k2=2, lambda_=0.8),
        {"one": Model(backbone="resnet18", height=64, width=32)},
    )
    query, gallery, near, rows = (folder / f"{each}.npz" for each in ("query", "gallery", "near", "rows"))
    files = {"query": query, "gallery": gallery}
    fused = {"query": [query], "gallery": [gallery], "jaccard": [rows], "ranking": folder / "ranking.npz"}
    return {
        "search": partial(search.run, Search(keep=31), **files, neighbours=near, device=sizes.device),
        "re-ranking": partial(rerank.run, settings, neighbours=near, **files, jaccard=rows),
        "fusion": partial(fuse.run, settings, models, Ensemble(epochs=(1,)), Fuse(best=best), **fused),
    }


def write_features(folder: Path, num_query: int, num_gallery: int, sizes: Sizes) -> None:
    """Persons of about ten images in 64 directions, and noise: cosines within one are about 0.75."""
    from naic_reid.artifacts import Features

    generator = torch.Generator(sizes.device).manual_seed(0)
    draw = partial(torch.randn, generator=generator, device=sizes.device)
    num = num_query + num_gallery
    persons = draw(max(num // 10, 1), 64) @ draw(64, sizes.dimension) / (8 * sizes.dimension**0.5)
    own = torch.randint(0, len(persons), (num,), generator=generator, device=sizes.device)
    for role, part in (("query", slice(0, num_query)), ("gallery", slice(num_query, num))):
        rows = persons[own[part]] + 0.55 / sizes.dimension**0.5 * draw(len(own[part]), sizes.dimension)
        values = torch.nn.functional.normalize(rows).cpu().numpy()
        Features(tuple(f"{role}{at:07}.png" for at in range(len(values))), values).write(
            folder / f"{role}.npz"
        )


# --- all of it

PARTS: dict[str, Callable[[Sizes, Clock], Iterator[Row]]] = {
    "tests": tests, "training": training, "extraction": extraction, "retrieval": retrieval,
}  # fmt: skip


def in_this_process(part: str, sizes: Sizes, until: float) -> int:
    """Print a part's rows, each as a line of JSON, as they come."""
    if sizes.device == "cpu":
        torch.set_num_threads(1)
    try:
        for each in PARTS[part](sizes, Clock(until)):
            print("@" + json.dumps({"part": part, **each}), flush=True)
    except Exception as error:
        traceback.print_exc()
        print("@" + json.dumps({"part": part, "figure": part, "failed": told(error)}), flush=True)
        return 1
    return 0


def in_a_process(part: str, small: bool, until: float) -> list[Row]:
    """The rows of a part, computed in a process that ends when its time is over."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", part, "--until", str(until)]
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen([*command, *(["--small"] if small else [])], stdout=printed, cwd=HOME)
        try:
            status = process.wait(max(1.0, until + 10 - time.time()))
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        printed.seek(0)
        rows: list[Row] = [json.loads(line[1:]) for line in printed if line.startswith("@")]
    if status and not any("failed" in each for each in rows):
        late = time.time() > until
        what = {"left_out": "its time was over"} if late else {"failed": f"ended with status {status}"}
        rows.append({"part": part, "figure": "what was to follow", **what})
    return rows


def about(sizes: Sizes) -> dict[str, str]:
    """The machine and what is installed on it."""
    from naic_reid import machine

    processor = platform.processor() or platform.machine()
    command = ["python", "benchmarks/gpu.py", *sys.argv[1:]]
    device = torch.cuda.get_device_name() if sizes.device == "cuda" else processor
    return {
        "device": device, "processors": str(machine.processors()), "torch": torch.__version__,
        "CUDA": str(torch.version.cuda), "numpy": np.__version__, "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"), "command": shlex.join(command),
    }  # fmt: skip


def value_of(each: Row) -> tuple[str, str]:
    """What the tables show of a row: value and note."""
    for word in ("failed", "left_out"):
        if word in each:
            return word.replace("_", " "), str(each[word])
    digits = ".3g" if each["value"] < 100 else ",.0f"
    return f"{each['value']:{digits}} {each['unit']}", each["note"]


def markdown(machine: dict[str, str], rows: list[Row], seconds: float) -> str:
    lines = [f"# {machine['device']}, {machine['date']}", ""]
    lines += [f"{name} {value}" + ("" if name == "command" else ";") for name, value in machine.items()]
    lines += ["", f"{seconds:.0f} seconds in all.", "", "| part | figure | value | |", "|---|---|---|---|"]
    lines += [f"| {each['part']} | {each['figure']} | {' | '.join(value_of(each))} |" for each in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="on a processor, in a minute")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="writes OUT.md and OUT.json")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = SMALL if options.small else WHOLE
    if options.part:
        return in_this_process(options.part, sizes, options.until)
    if sizes.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no NVIDIA GPU here; --small runs on a processor")
    from rich.console import Console
    from rich.table import Table

    begun = until = time.time()
    rows: list[Row] = []
    for part in options.only:
        until += SECONDS[part]
        rows += in_a_process(part, options.small, until)
    seconds, machine = time.time() - begun, about(sizes)
    table = Table("part", "figure", "value", "", title=f"{machine['device']}: {seconds:.0f} s")
    for each in rows:
        table.add_row(each["part"], each["figure"], *value_of(each))
    Console(width=150).print(table)
    report = {"machine": machine, "seconds": seconds, "rows": rows}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(markdown(machine, rows, seconds))
    return int(any("failed" in each for each in rows))


if __name__ == "__main__":
    sys.exit(main())
