"""A model in the forms it can leave in: what each loses on labelled photographs, and what each costs.

    python benchmarks/export.py MODEL --data DATA --truth test_truth.csv --calibrate DATA/train_2020_cs

* plain      the network as trained: fp32, [B, 3, H, W] in memory, nothing folded: the reference of the rates
* fp32, bf16 the extractor in these precisions
* onnx fp32, onnx int8  what `naic-reid export` writes, in ONNX Runtime; int8 takes its ranges from
                        `--calibrate`, photographs of other persons than it is scored on

Scores: every image of the truth asks all others; those of its person and camera are left out. Rates:
interleaved, median of several rounds, mirror image included, as the ratio of processor seconds to plain.
`--height` and `--width` take the network at another size than it was trained at.
"""

import argparse
import csv
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from extract import plain_features

from naic_reid import Extractor, score
from naic_reid.artifacts import Floats
from naic_reid.data import folders
from naic_reid.data.images import read
from naic_reid.models.weights import Checkpoint
from naic_reid.tools import onnx_model, parity

BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="holds image_B_v1_1/query and gallery")
    parser.add_argument("--truth", type=Path, required=True, help="CSV of subset,name,pid,camid")
    parser.add_argument("--calibrate", type=Path, required=True, help="photographs of other persons")
    parser.add_argument("--calibration", type=int, default=256, help="so many of them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    checkpoint = Checkpoint.read(options.model)
    size = {key: value for key in ("height", "width") if (value := getattr(options, key))}
    architecture = checkpoint.architecture.model_copy(update=size)
    checkpoint = dataclasses.replace(checkpoint, architecture=architecture)
    with options.truth.open(encoding="utf-8") as handle:
        truth = list(csv.DictReader(handle))
    extractor = Extractor(checkpoint, device="cpu")
    asked = fitted(extractor, [options.data / "image_B_v1_1" / row["subset"] / row["name"] for row in truth])
    names = folders.below(options.calibrate)
    calibration = fitted(
        extractor, [options.calibrate / name for name in names[:: -(-len(names) // options.calibration)]]
    )
    with tempfile.TemporaryDirectory() as folder:
        ways = forms(extractor, checkpoint, Path(folder), calibration, options.threads)
        print(
            f"{architecture}, {options.threads} threads, {len(asked)} images, {len(calibration)} to calibrate"
        )
        report(ways, asked, [row["pid"] for row in truth], [row["camid"] for row in truth], options.rounds)


def fitted(extractor: Extractor, paths: list[Path]) -> onnx_model.Pixels:
    """uint8 [N, H, W, 3] at the input's size."""
    return np.stack([extractor.geometry.fitted(read(path)) for path in paths])


def forms(
    extractor: Extractor, checkpoint: Checkpoint, folder: Path, calibration: onnx_model.Pixels, threads: int
) -> dict[str, Callable[[onnx_model.Pixels], Floats]]:
    """Each form of the model: pixels → features."""
    program = onnx_model.traced(extractor, "pixels")
    for name in ("fp32", "int8"):
        onnx_model.write(program, "pixels", folder / f"{name}.onnx")
    onnx_model.quantise(folder / "int8.onnx", "pixels", calibration)
    embedder = checkpoint.embedder()
    bf16 = Extractor(checkpoint, device="cpu", precision="bf16")
    return {
        "plain": lambda pixels: plain_features(embedder, torch.from_numpy(pixels)).numpy(),
        "fp32": lambda pixels: extractor(torch.from_numpy(pixels)).numpy(),
        "bf16": lambda pixels: bf16(torch.from_numpy(pixels)).numpy(),
        "onnx fp32": onnx_model.session(folder / "fp32.onnx", "pixels", threads),
        "onnx int8": onnx_model.session(folder / "int8.onnx", "pixels", threads),
    }


def report(
    ways: dict[str, Callable[[onnx_model.Pixels], Floats]],
    asked: onnx_model.Pixels,
    persons: list[str],
    cameras: list[str],
    rounds: int,
) -> None:
    """A line for each form: scores, distance from the extractor's own features, rate."""
    with torch.inference_mode():
        features = {
            name: np.concatenate([way(asked[at : at + BATCH]) for at in range(0, len(asked), BATCH)])
            for name, way in ways.items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            batch = asked[number * BATCH : (number + 1) * BATCH]
            for name, way in ways.items():
                began = time.process_time()
                way(batch)
                seconds[name].append((time.process_time() - began) / len(batch))
    print(f"\n{'form':<11}{'R1':>7}{'mAP':>7}{'cosine distance':>17}{'names in common':>17}"
          f"{'images/processor second':>25}{'ratio':>7}")  # fmt: skip
    for name, values in features.items():
        scores = score(values, values, persons, persons, cameras, cameras)
        near = parity.compare(features["fp32"], values)
        ratio = statistics.median(p / o for p, o in zip(seconds["plain"], seconds[name], strict=True))
        print(
            f"{name:<11}{100 * scores['R1']:7.2f}{100 * scores['mAP']:7.2f}"
            f"{near.greatest_cosine_distance:17.1e}{near.common_names:17.1%}"
            f"{1 / statistics.median(seconds[name]):25.1f}{ratio:7.2f}"
        )


if __name__ == "__main__":
    main()
