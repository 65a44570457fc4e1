"""Speed of training: loading with augmentation, and the step.

    python benchmarks/train.py loader [--images FOLDER]      images/s per core, against PIL + torchvision
    python benchmarks/train.py norm                          instance normalisation, against torch's
    python benchmarks/train.py step [--device cuda]          seconds a step, against plain fp32 in NCHW
    python benchmarks/train.py run --backbone resnet18 …     the train stage itself: images/s, waiting, MFU

Each figure is a ratio to a reference measured in the same run, turn by turn, best of several turns; on a
CPU in seconds of the process's own time on one thread, so that other work on the machine counts little.

loader  files → normalised float32 at 256 × 128 with flip, pad-crop 10, colour jitter (.5, .5, .5, .2) and
        erasing .2. Reference: the original's chain (PIL, torchvision transforms) on the same files.
norm    forward and backward of instance normalisation on channels-last maps. Reference: torch's, and the
        copy to channels last that the next convolution makes of what it gives.
step    forward, ArcFace, backward, Ranger. Reference: the same in fp32, NCHW, with torch's RAdam.
        MFU here is the share of the rate that a large bf16 matrix product reaches on the same device.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from naic_reid import losses, models
from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList
from naic_reid.config import Augment, Ensemble, Model, Train
from naic_reid.data import augment, toy
from naic_reid.data.geometry import Geometry
from naic_reid.data.images import read
from naic_reid.heap import keep_freed_memory
from naic_reid.models.instance_norm import InstanceNorm2d
from naic_reid.stages import train
from naic_reid.training.ranger import Ranger

TURNS = 5
HEIGHT, WIDTH, COUNT = 256, 128, 64
INPUT = Geometry(HEIGHT, WIDTH)
RECIPE = augment.Recipe(**Augment().model_dump())


def best(works: dict[str, Callable[[], Any]], clock: Callable[[], float]) -> dict[str, float]:
    """Least seconds of each, taken in turns after one turn to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS + 1):
        for name, work in works.items():
            begun = clock()
            work()
            taken[name].append(clock() - begun)
    return {name: min(seconds[1:]) for name, seconds in taken.items()}


def loader(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        sources = {
            "drawn, JPEG 256 × 128": drawn(Path(place), "jpg"),
            "drawn, PNG 256 × 128": drawn(Path(place), "png"),
        }
        if options.images:
            found = sorted(path for path in options.images.rglob("*") if path.suffix in (".png", ".jpg"))
            sources["photographs"] = found[:: max(1, len(found) // COUNT)][:COUNT]
        for name, files in sources.items():
            compare_loaders(name, files)


def compare_loaders(name: str, files: list[Path]) -> None:
    chain = transforms.Compose(
        [
            transforms.Resize((HEIGHT, WIDTH), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(RECIPE.flip),
            transforms.Pad(RECIPE.pad),
            transforms.RandomCrop((HEIGHT, WIDTH)),
            transforms.ColorJitter(RECIPE.brightness, RECIPE.contrast, RECIPE.saturation, RECIPE.hue),
            transforms.ToTensor(),
            transforms.Normalize(augment.MEAN, augment.STD),
            transforms.RandomErasing(RECIPE.erasing, (0.02, 0.4), value=augment.MEAN),
        ]
    )

    def theirs() -> torch.Tensor:
        return torch.stack([chain(Image.open(path).convert("RGB")) for path in files])

    def ours(recipe: augment.Recipe = RECIPE) -> torch.Tensor:
        rng = np.random.default_rng(0)
        pixels = np.stack([INPUT.fitted(read(path)) for path in files])
        draws = augment.draw(recipe, len(files), HEIGHT, WIDTH, rng)
        return augment.finish(torch.from_numpy(augment.vary(pixels, draws)), torch.from_numpy(draws.erase))

    # Right first: without variation both give the same pictures, but for how they resize.
    plain = transforms.Compose([chain.transforms[0], *chain.transforms[5:7]])
    expected = torch.stack([plain(Image.open(path).convert("RGB")) for path in files])
    apart = float((ours(augment.Recipe()) - expected).abs().mean())
    assert apart < 0.15, f"loaders differ by {apart:.3f} standard deviations on average"
    assert torch.isfinite(ours()).all()

    contents = [np.fromfile(path, np.uint8) for path in files]
    pixels = np.stack([INPUT.fitted(read(path)) for path in files])
    draws = augment.draw(RECIPE, len(files), HEIGHT, WIDTH, np.random.default_rng(0))
    seconds = best(
        {
            "theirs": theirs,
            "ours": ours,
            "decode": lambda: [INPUT.fitted(read(path)) for path in files],
            "OpenCV alone": lambda: [cv2.imdecode(content, cv2.IMREAD_COLOR) for content in contents],
            "vary": lambda: augment.vary(pixels, draws),
            "finish": lambda: augment.finish(torch.from_numpy(pixels), torch.from_numpy(draws.erase)),
        },
        time.process_time,
    )
    rate = {key: len(files) / value for key, value in seconds.items()}
    kept = len(files) / (seconds["ours"] - seconds["decode"])
    print(f"\n{name}: {len(files)} files of {np.mean([path.stat().st_size for path in files]):,.0f} bytes")
    print(f"  PIL + torchvision   {rate['theirs']:8,.0f} images/s/core")
    print(f"  naic_reid           {rate['ours']:8,.0f} images/s/core   {rate['ours'] / rate['theirs']:.1f}×")
    print(f"    decoded before    {kept:8,.0f} images/s/core   {kept / rate['theirs']:.1f}×")
    print(
        f"    loading takes {seconds['decode'] / seconds['OpenCV alone']:.2f} × as long as decoding in memory"
    )
    for part in ("decode", "OpenCV alone", "vary", "finish"):
        print(f"    {part:<17} {1e3 * seconds[part] / len(files):8.3f} ms an image")


def drawn(folder: Path, suffix: str) -> list[Path]:
    """Pedestrians from the package's own generator, written as files."""
    files = []
    for number in range(COUNT):
        person, camera = toy.person(toy.generator(0, 0, number)), toy.camera(toy.generator(0, 1, number % 4))
        image = toy.draw(person, camera, "normal", HEIGHT, WIDTH, toy.generator(0, 2, number))
        files.append(folder / f"{number:03}.{suffix}")
        cv2.imwrite(str(files[-1]), image)
    return files


def norm(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((16, 64, 128, 64), (16, 256, 64, 32), (16, 512, 32, 16)):
            compare_norms(shape, dtype)


def compare_norms(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ours, theirs = InstanceNorm2d(shape[1]), torch.nn.InstanceNorm2d(shape[1], affine=True)
    maps, slopes = (torch.randn(shape).to(dtype, memory_format=torch.channels_last) for _ in range(2))

    def both_ways(module: torch.nn.Module) -> torch.Tensor:
        given = maps.detach().requires_grad_()
        module(given).contiguous(memory_format=torch.channels_last).backward(slopes)
        assert given.grad is not None
        return given.grad

    torch.testing.assert_close(both_ways(ours), both_ways(theirs), rtol=0.05, atol=0.05)
    seconds = best({"ours": lambda: both_ways(ours), "torch": lambda: both_ways(theirs)}, time.process_time)
    ratio = seconds["ours"] / seconds["torch"]
    print(f"{dtype}, {shape}: {ratio:.2f} of torch's {1e3 * seconds['torch']:.1f} ms")


def step(options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    clock = partial(synchronised, device) if device.type == "cuda" else time.process_time
    print(f"{device}, {options.threads} threads, torch {torch.__version__}")
    peak = matrix_rate(device, clock)
    print(f"a bf16 matrix product of 4096³ reaches {peak / 1e12:.2f} TFLOP/s\n")
    for shape in options.shapes.split(","):
        name, height, width, batch = shape.split(":")
        compare_steps(name, int(height), int(width), int(batch), device, clock, peak)


def compare_steps(
    name: str,
    height: int,
    width: int,
    batch: int,
    device: torch.device,
    clock: Callable[[], float],
    peak: float,
) -> None:
    images = torch.randn(batch, 3, height, width, device=device)
    labels = torch.arange(batch, device=device) // 2
    works = {}
    for kind in ("plain", "fast"):
        torch.manual_seed(0)
        net = models.build(Architecture(backbone=name, height=height, width=width)).to(device)
        head = losses.build_identity("arcface", 500, net.dimension).to(device)
        parameters = [*net.parameters(), *head.parameters()]
        fast = kind == "fast"
        seen = images
        if fast:
            net, seen = (
                net.to(memory_format=torch.channels_last),
                images.to(memory_format=torch.channels_last),
            )
        optimizer = Ranger(parameters, lr=1e-4) if fast else torch.optim.RAdam(parameters, lr=1e-4)
        works[kind] = partial(one_step, net, head, optimizer, seen, labels, fast)
    first = {kind: work() for kind, work in works.items()}
    assert abs(first["fast"] - first["plain"]) < 0.05 * first["plain"], first
    with FlopCounterMode(display=False) as counter:
        works["plain"]()
    seconds = best(works, clock)
    work = counter.get_total_flops() / batch / 1e9
    print(f"{name} at {height} × {width}, batch {batch}: {work:.2f} GFLOP an image")
    for kind, label in (("plain", "fp32, NCHW, RAdam"), ("fast", "bf16, channels last, Ranger")):
        rate = counter.get_total_flops() / seconds[kind]
        print(
            f"  {label:<28} {1e3 * seconds[kind]:9.1f} ms  {batch / seconds[kind]:9.1f} images/s"
            f"  {seconds['plain'] / seconds[kind]:5.2f}×  MFU {rate / peak:.0%}"
        )


def one_step(
    net: torch.nn.Module, head: torch.nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor,
    labels: torch.Tensor, fast: bool,
) -> float:  # fmt: skip
    with torch.autocast(images.device.type, torch.bfloat16, enabled=fast):
        features = net(images)["whole"].feature
        loss, _ = head(features, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach().item()


def matrix_rate(device: torch.device, clock: Callable[[], float]) -> float:
    a = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    return 2 * 4096**3 / best({"product": lambda: a @ a}, clock)["product"]


def synchronised(device: torch.device) -> float:
    torch.cuda.synchronize(device)
    return time.perf_counter()


def run(options: argparse.Namespace) -> None:
    """The whole stage on drawn images, two epochs; the second's speeds count."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = drawn(folder, "jpg")
        identities = tuple(f"drawn/{number // 4}" for number in range(len(files)))
        ImageList(tuple(path.name for path in files), identities).write(folder / "images.tsv")
        settings = Train(
            epochs=2, batch=options.batch, precision=options.precision, steps_per_epoch=options.steps
        )
        train.run(
            0, settings, Model(backbone=options.backbone, height=options.height, width=options.width),
            Ensemble(epochs=(2,)), data=folder, scratch=folder / "scratch", images=folder / "images.tsv",
            unlabelled=[], pretrained=[], attributes=[], checkpoints=[folder / "epoch_2.pt"],
            history=folder / "history.jsonl", workers=options.workers, device=options.device,
            threads=options.threads,
        )  # fmt: skip
        (speeds,) = folder.glob("scratch/train/*/speeds.jsonl")
        lines = [json.loads(line) for line in speeds.read_text().splitlines()]
    lines = [line for line in lines if line["epoch"] == 2]
    rate = np.median([line["images_per_second"] for line in lines])
    waited = np.mean([line["share_waited"] for line in lines])
    shape = f"{options.height} × {options.width}, batch {options.batch}"
    print(f"{options.backbone} at {shape}, {options.precision} on {options.device}:")
    print(f"  {rate:,.1f} images/s, {waited:.1%} of the time waiting for data")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("loader")
    part.add_argument("--images", type=Path, help="folder of photographs to measure too")
    part.set_defaults(do=loader)
    part = parts.add_parser("norm")
    part.set_defaults(do=norm)
    part = parts.add_parser("step")
    part.add_argument("--device", default="cpu")
    part.add_argument("--threads", type=int, default=1)
    part.add_argument(
        "--shapes", default="resnet18:128:64:64,resnet50:256:128:16", help="name:height:width:batch,…"
    )
    part.set_defaults(do=step)
    part = parts.add_parser("run")
    part.add_argument("--backbone", default="resnet18")
    part.add_argument("--height", type=int, default=128)
    part.add_argument("--width", type=int, default=64)
    part.add_argument("--batch", type=int, default=32)
    part.add_argument("--steps", type=int, default=10)
    part.add_argument("--precision", default="bf16")
    part.add_argument("--workers", type=int, default=1)
    part.add_argument("--threads", type=int, default=1)
    part.add_argument("--device", default="cpu")
    part.set_defaults(do=run)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
