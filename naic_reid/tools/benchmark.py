"""Prints a model's inference card: what it is, how fast it is here, and what it needs.

    naic-reid benchmark model.pt
    naic-reid benchmark model.pt --batch 128 --images 19281 --no-flip --json card.json

As FastReID's card: warm-up batches are left out; each batch is copied to the device, then the clock runs over
its forward pass, normalisation included, until the device is done. 19,281 are Market-1501's test images.
Pixels are random unless --folder names photographs, which are then read as well, outside that clock. Numbers
are of this machine as it was: compare only what ran side by side.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from naic_reid import __version__, files
from naic_reid.errors import ReidError
from naic_reid.tools import model

if TYPE_CHECKING:
    import torch

    from naic_reid.extractor import Extractor

_IMAGES = {"cuda": 19281, "cpu": 640}
_Timed = list[tuple[int, float, float]]
"""Of each batch: images, seconds of copying, seconds of the forward pass."""
_Batch = tuple["torch.Tensor", "torch.Tensor | None"]
"""Pixels, and where pictures lie on their input."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    model.arguments(parser)
    parser.add_argument("--batch", type=int, default=128, help="images at once; default 128")
    parser.add_argument("--images", type=int, metavar="N",
                        help="random ones, without warm-up; default 19281 on a GPU, else 640")  # fmt: skip
    parser.add_argument("--folder", type=Path, help="photographs in the place of random pixels")
    parser.add_argument("--warmup", type=int, default=5, help="batches before the clock starts; default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the card for programs, written")


def run(options: argparse.Namespace) -> int:
    """Prints the card, and writes it."""
    if options.batch < 1 or options.warmup < 0 or (options.images is not None and options.images < 1):
        raise ReidError("--batch and --images must be at least 1, --warmup at least 0")
    if options.folder and options.images:
        raise ReidError("--images counts random ones: leave it out, or --folder")
    model.apart(options, [options.json], [options.folder])
    extractor = model.loaded(options)
    total = options.images or _IMAGES[extractor.device.type]
    began = time.monotonic()
    timed, source = _timed(extractor, options, total)
    card = {
        "structure": structure(extractor),
        "how": {
            "precision": extractor.precision, "tf32": extractor.precision == "tf32", "flip": extractor.flip,
            "batch": options.batch, "warmup_batches": options.warmup, "images_are": source,
        },
        "speed": speed(timed, time.monotonic() - began),
        "memory_mib": _memory(extractor),
        "on": _machine(extractor),
        "weights": {"file": str(options.model), "epoch": extractor.checkpoint.epoch,
                    "blake2b": files.digest(options.model) if options.model.is_file() else None},
    }  # fmt: skip
    _print(card)
    if options.json:
        with files.whole(options.json) as unfinished:
            unfinished.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def structure(extractor: "Extractor") -> dict[str, Any]:
    """What the network is made of; the map after each part of the backbone, for one image."""
    import torch

    from naic_reid.models.size import parameters

    embedder = extractor.checkpoint.embedder()
    maps: list[tuple[str, str, list[int]]] = []

    def seen(name: str, kind: str, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            maps.append((name, kind, list(output.shape[1:])))

    for name, part in embedder.backbone.named_children():
        many = f"{len(part)} blocks" if isinstance(part, torch.nn.Sequential) else type(part).__name__
        part.register_forward_hook(lambda _m, _i, output, name=name, kind=many: seen(name, kind, output))
    geometry = extractor.geometry
    with torch.inference_mode():
        embedder(torch.zeros(1, 3, geometry.height, geometry.width))
    return {
        **extractor.checkpoint.architecture.options,
        "feature": extractor.dimension,
        "parameters": parameters(embedder),
        "backbone_maps": [{"part": name, "is": kind, "map": shape} for name, kind, shape in maps],
    }


def speed(timed: _Timed, wall: float) -> dict[str, Any]:
    """Seconds of a batch, images of a second; `card` is FastReID's mean, with the last, smaller batch."""
    sizes = [size for size, _, _ in timed]
    whole = [seconds for size, _, seconds in timed if size == sizes[0]]
    every = [seconds for _, _, seconds in timed]
    return {
        "images": sum(sizes), "batches": len(timed), "last_batch": sizes[-1],
        "seconds_per_batch": {
            "card": statistics.mean(every),
            "mean": statistics.mean(whole), "median": statistics.median(whole),
            "copy": statistics.mean(seconds for _, seconds, _ in timed),
        },
        "images_per_second": sum(sizes) / sum(every),
        "wall_seconds": wall,
    }  # fmt: skip


def _timed(extractor: "Extractor", options: argparse.Namespace, total: int) -> tuple[_Timed, str]:
    """Each batch's times, and what the images are. Memory is counted from the end of the warm-up."""
    import torch

    from naic_reid.progress import shown

    if options.folder:
        from naic_reid.data import folders

        names = folders.below(options.folder)
        if not names:
            raise ReidError(f"--folder: no images (PNG or JPEG) in {options.folder}")
        batches, total = _read(extractor, options.folder, names, options.batch), len(names)
        source, extra = (
            f"{total} of {options.folder}",
            list(_random(extractor, options.batch, options.warmup)),
        )
    else:
        batches, source = _random(extractor, options.batch, total=total), "random pixels"
        extra = list(_random(extractor, options.batch, options.warmup))
    for batch in extra:
        _once(extractor, *batch)
    if extractor.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(extractor.device)
    count = -(-total // options.batch)
    return [_once(extractor, *batch) for batch in shown(batches, "benchmark: batches", count)], source


def _once(
    extractor: "Extractor", pixels: "torch.Tensor", frames: "torch.Tensor | None"
) -> tuple[int, float, float]:
    import torch

    def now() -> float:
        if extractor.device.type == "cuda":
            torch.cuda.synchronize(extractor.device)
        return time.perf_counter()

    began = now()
    there = pixels.to(extractor.device)
    copied = now()
    with torch.inference_mode():
        extractor(there, frames)
    return len(pixels), copied - began, now() - copied


def _random(extractor: "Extractor", batch: int, count: int = 0, *, total: int = 0) -> Iterator[_Batch]:
    """`count` whole batches, or as many as `total` images make: always the same random pixels."""
    import torch

    shape = (batch, extractor.geometry.height, extractor.geometry.width, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for at in range(0, total or batch * count, batch):
        yield (pixels[: total - at] if total else pixels), None


def _read(extractor: "Extractor", folder: Path, names: list[str], batch: int) -> Iterator[_Batch]:
    from naic_reid.data import images, pictures

    paths = [folder / name for name in names]
    for read in pictures.batches(paths, images.read, extractor.geometry, batch, workers=2):
        for _, error in read.faults:
            raise error
        yield read.pixels, read.frames


def _memory(extractor: "Extractor") -> dict[str, float | None]:
    import torch

    held: dict[str, float | None] = {"host_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    cuda = extractor.device.type == "cuda"
    held["device_allocated"] = torch.cuda.max_memory_allocated(extractor.device) / 2**20 if cuda else None
    held["device_reserved"] = torch.cuda.max_memory_reserved(extractor.device) / 2**20 if cuda else None
    return held


def _machine(extractor: "Extractor") -> dict[str, Any]:
    import torch

    cuda = extractor.device.type == "cuda"
    cudnn = torch.backends.cudnn.version() if cuda else None  # type: ignore[no-untyped-call]
    name = torch.cuda.get_device_name(extractor.device) if cuda else _processor()
    return {
        "device": name, "threads": torch.get_num_threads(), "python": sys.version.split()[0],
        "torch": torch.__version__, "cuda": torch.version.cuda if cuda else None,
        "cudnn": cudnn, "naic_reid": __version__,
    }  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "a processor"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor"
    )


def _print(card: dict[str, Any]) -> None:
    what, how, fast, memory, on = (card[key] for key in ("structure", "how", "speed", "memory_mib", "on"))
    batch, weights = fast["seconds_per_batch"], card["weights"]
    device = [f"device {memory[f'device_{word}']:,.0f} MiB {word}" for word in ("allocated", "reserved")
              if memory[f"device_{word}"] is not None]  # fmt: skip
    versions = [
        f"{name} {on[name]}" for name in ("naic_reid", "torch", "cuda", "cudnn", "python") if on[name]
    ]
    size = f"{what['height']} × {what['width']}"
    rows = [
        ("network", f"{what['backbone']} at {size}, {what['parameters']:,} parameters"),
        *(
            (f"  {part['part']}", f"{part['is']:<14} {' × '.join(map(str, part['map']))}")
            for part in what["backbone_maps"]
        ),
        ("feature", f"{what['feature']} numbers, after {what['pooling']} pooling and the BN neck"),
        ("precision", f"{how['precision']}, TF32 {'on' if how['tf32'] else 'off'}"),
        ("mirror image", "added" if how["flip"] else "not used"),
        (
            "images",
            f"{fast['images']:,} ({how['images_are']}) in {fast['batches']} batches of {how['batch']}",
        ),
        ("", f"the last of {fast['last_batch']}; {how['warmup_batches']} batches before them to warm up"),
        ("seconds a batch", f"{batch['card']:.6f} as FastReID's card, the last batch included"),
        ("", f"{batch['mean']:.6f} mean and {batch['median']:.6f} median of whole ones"),
        ("", f"{batch['copy']:.6f} to copy one to the device, not counted above"),
        ("images a second", f"{fast['images_per_second']:,.1f}"),
        ("peak memory", ", ".join([f"host {memory['host_peak']:,.0f} MiB", *device])),
        ("device", f"{on['device']}, {on['threads']} threads"),
        ("versions", ", ".join(versions)),
        ("weights", f"{weights['file']}, epoch {weights['epoch']}, {weights['blake2b'] or 'a folder'}"),
    ]
    for name, value in rows:
        print(f"{name:<17} {value}")
