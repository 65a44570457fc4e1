"""Taking features, against the plain fp32 network on the same pixels; and memory against list length.

    python benchmarks/extract.py --backbone resnet50 --height 256 --width 128 --threads 2

Rates, interleaved, median of several rounds, flip included:

* plain      the network as trained: fp32, [B, 3, H, W] in memory, nothing folded: the reference
* fp32       the Extractor: batch normalisations folded, channels last
* bf16       the same with products in bfloat16 (`extract.precision: bf16`)
* crop, pad  fp32 of pictures that are not stretched (`extract.geometry`) and just fill the input
* blank, masked, scale  fp32 with other borders, and with taps 1.5 times as far apart down and across (plain
  ResNets alone)
* predicted  fp32 of the same network with a predictor (`ratio: 2`) that first tells each picture's scale,
  which taps follow: down alone, about 1.5 each, for nobody has taught it (plain ResNets alone)

Before the clock starts, features of both must point where the plain ones do. On a CPU the ratio is
that of processor seconds, which other users of the machine disturb less than the wall clock.

Memory: the stage itself in a process of its own, on lists of very different lengths (links to one
drawn image); the peaks must agree.
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList, MadeBy
from naic_reid.data import augment
from naic_reid.extractor import Extractor
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.embedder import Embedder
from naic_reid.models.sight import PLAIN
from naic_reid.models.weights import Checkpoint

LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.999, "crop": 0.99999, "pad": 0.99999, "masked": 0.99999}

# The stage in a process of its own, which prints its peak memory in megabytes.
STAGE = """
import resource, sys
from pathlib import Path
from typing import Any
import torch
from naic_reid.config import Extract
from naic_reid.stages import extract
folder = Path(sys.argv[1])
extract.run(Extract(), data=folder, images=[folder / sys.argv[2]], checkpoint=folder / "model.pt",
            features=[folder / "features.npz"], workers=2, threads=int(sys.argv[3]), device=sys.argv[4])
gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, gpu >> 20)
"""


def plain_features(embedder: Embedder, pixels: torch.Tensor) -> torch.Tensor:
    """As the field's toolboxes do: fp32, one tensor layout, the network as it was trained."""
    inputs = augment.normalised(pixels).contiguous()
    return F.normalize(embedder(inputs)["whole"].feature + embedder(inputs.flip(3))["whole"].feature)


def predicting(architecture: Architecture, embedder: Embedder, device: str) -> Extractor:
    """The same network, whose taps follow scales near 1.5 that its predictor tells."""
    told = architecture.model_copy(update={"ratio": 2})
    network = build(told)
    network.load_state_dict(embedder.state_dict(), strict=False)
    assert network.ratio is not None
    torch.nn.init.constant_(network.ratio.linear.bias, math.log(1.5))
    checkpoint = Checkpoint.of(network, torch.nn.Identity(), 1, (), told, MadeBy())
    return Extractor(checkpoint, device=device, scale="predicted")


def rates(options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    torch.manual_seed(0)
    architecture = Architecture(
        backbone=options.backbone, height=options.height, width=options.width, pooling=options.pooling
    )
    embedder = build(architecture).eval().to(device)
    generator = torch.Generator().manual_seed(1)
    shape = (options.batch, options.height, options.width, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    ways: dict[str, Callable[[], torch.Tensor]] = {"plain": lambda: plain_features(embedder, pixels)}
    checkpoint = Checkpoint.of(embedder, torch.nn.Identity(), 1, (), architecture, MadeBy())
    for precision in ("fp32", "bf16"):
        ways[precision] = partial(Extractor(checkpoint, device=options.device, precision=precision), pixels)

    frames = torch.tensor([[0, 0, options.height, options.width]]).repeat(options.batch, 1)
    shown: dict[str, dict[str, Any]] = {"crop": {"geometry": "crop"}, "pad": {"geometry": "pad"}}
    others = {
        "blank": {"border": "blank"},
        "masked": {"geometry": "pad", "border": "masked"},
        "scale": {"scale": (1.5, 1.5)},
    }
    for name, words in (shown | (others if options.backbone in PLAIN else {})).items():
        extractor = Extractor(checkpoint, device=options.device, **words)
        ways[name] = partial(extractor, pixels, frames if "geometry" in words else None)
    if options.backbone in PLAIN:
        ways["predicted"] = partial(predicting(architecture, embedder, options.device), pixels)

    with torch.inference_mode():
        expected = ways["plain"]()
        for name, least in LEAST_COSINE.items():
            if name not in ways:
                continue
            cosine = (ways[name]() * expected).sum(1).min().item()
            assert cosine >= least, (name, cosine)
            print(f"{name}: smallest cosine with plain {cosine:.6f}")
        walls, seconds = ({name: [] for name in ways} for _ in range(2))
        for _ in range(options.rounds):
            for name, way in ways.items():
                wall, processor = time.perf_counter(), time.process_time()
                for _ in range(options.repeat):
                    way()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                walls[name].append(time.perf_counter() - wall)
                seconds[name].append(time.process_time() - processor)
    clock = walls if device.type == "cuda" else seconds
    unit = "second" if device.type == "cuda" else "processor second"
    print(f"\n{options.backbone} at {options.height}×{options.width}, batch {options.batch}, on {device}")
    print(f"{'way':9} {'images/wall s':>14} {'images/' + unit:>24} {'ratio':>7}")
    images = options.batch * options.repeat
    for name in ways:
        ratio = statistics.median(p / o for p, o in zip(clock["plain"], clock[name], strict=True))
        per_wall, per_clock = (images / statistics.median(times[name]) for times in (walls, clock))
        print(f"{name:9} {per_wall:14.1f} {per_clock:24.1f} {ratio:7.2f}")


def memory(options: argparse.Namespace) -> None:
    model = Architecture(backbone="resnet18", height=64, width=32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        identity = build_identity("linear", 2, 512)
        Checkpoint.of(build(model), identity, 1, ("a", "b"), model, MadeBy()).write(folder / "model.pt")
        picture = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
        cv2.imwrite(str(folder / "picture.png"), picture)
        print(f"\n{'images':>8} {'peak MB':>8} {'GPU MB':>7} {'images/s':>9}")
        for count in options.lists:
            paths = tuple(f"{count}/{number:07}.png" for number in range(count))
            (folder / str(count)).mkdir()
            for path in paths:
                (folder / path).symlink_to(folder / "picture.png")
            ImageList(paths, ("",) * count).write(folder / f"{count}.tsv")
            command = [
                sys.executable,
                "-c",
                STAGE,
                name,
                f"{count}.tsv",
                str(options.threads),
                options.device,
            ]
            start = time.perf_counter()
            peak, gpu = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            print(f"{count:8} {peak:>8} {gpu:>7} {count / (time.perf_counter() - start):9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--pooling", default="gem")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=1, help="batches in a round; more on a GPU")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lists", type=int, nargs="*", default=[500, 3_000], help="lengths for the memory")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.rounds:
        rates(options)
    memory(options)


if __name__ == "__main__":
    main()
