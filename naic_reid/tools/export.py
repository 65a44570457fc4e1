"""Writes a model for other programs, and refuses what does not give the model's own features.

    naic-reid export model.pt --onnx model.onnx --images photos/
    naic-reid export model.pt --onnx model.onnx --int8 --images photos/       four times as fast on a CPU
    naic-reid export model.pt --torch-export model.pt2 --input normalised

The graph takes pixels uint8 [B, H, W, 3] in R, G, B at the model's input size (with --input normalised:
float32 [B, 3, H, W], mean and deviation removed) in batches of any size, and gives unit features float32
[B, D]. Every file is run on images and compared with the model before it is kept; a JSON file beside it says
what goes in, what comes out, what was compared, and digests. --tensorrt builds an engine where trtexec is.
"""

import argparse
import dataclasses
import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from naic_reid import __version__, files
from naic_reid.errors import ReidError
from naic_reid.tools import model

if TYPE_CHECKING:
    from naic_reid.artifacts import Floats
    from naic_reid.extractor import Extractor
    from naic_reid.tools.onnx_model import Pixels
    from naic_reid.tools.parity import Parity

MOST = {"fp32": 1e-3, "int8": 0.05}
"""The greatest cosine distance between an image's two features that is kept."""
COLLAPSED = 0.95
"""A mean cosine of different images above this is told: the model can hardly part them."""

_DRAWN = 64  # images that are drawn where no folder is given
_HEADER = (
    "file",
    "images",
    "greatest difference",
    "greatest cosine distance",
    "equal top 10",
    "names in common",
)

_log = logging.getLogger(__name__)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this tool's options."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a checkpoint, or a folder of Extractor.save"
    )
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="ONNX, for ONNX Runtime and others")
    parser.add_argument("--torch-export", type=Path, metavar="FILE", help="a torch.export program (.pt2)")
    parser.add_argument("--tensorrt", type=Path, metavar="FILE", help="a TensorRT engine in fp16, of --onnx")
    parser.add_argument("--int8", action="store_true", help="--onnx multiplies int8; needs --images")
    parser.add_argument("--input", choices=("pixels", "normalised"), default="pixels", help="default pixels")
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, default=None,
                        help="add the mirror image's feature; default: as the model says")  # fmt: skip
    parser.add_argument("--images", type=Path, metavar="FOLDER",
                        help="photographs like those to come, to compare on; default: drawings")  # fmt: skip
    parser.add_argument("--compare", type=int, default=256, metavar="N", help="so many of them; default 256")


def run(options: argparse.Namespace) -> int:
    """Writes the files; prints a line of parity for each.

    Raises:
        ReidError: nothing to write was named, or a file's features are too far from the model's.
    """
    outputs = [options.onnx, options.torch_export, options.tensorrt]
    _require(options, outputs)
    from naic_reid.extractor import Extractor

    extractor = Extractor.load(options.model, "cpu", "fp32", options.flip)
    if not extractor.geometry.stretches:
        raise ReidError(
            f"{options.model}: takes pictures by geometry {extractor.geometry.policy}, whose sizes differ, "
            "and a graph takes one size: save the model with geometry resize"
        )
    if extractor.how.scale == "predicted":
        raise ReidError(
            f"{options.model}: spreads taps as each picture's ratio tells, and a graph's kernels are fixed: "
            "save the model with another scale"
        )
    if extractor.regions:
        raise ReidError(
            f"{options.model}: has visible regions, whose features are compared by two products, which those "
            "who take a graph's features do not know: use naic_reid.Extractor"
        )
    pixels, described = _pixels(extractor, options.images, options.compare)
    expected = _own(extractor, pixels)
    from naic_reid.tools import onnx_model

    program = onnx_model.traced(extractor, options.input)
    about = _about(options, extractor, described)
    if options.torch_export:
        import torch

        with files.whole(options.torch_export) as unfinished:
            with unfinished.open("wb") as handle:  # a path would have to be called .pt2
                torch.export.save(program, handle)
            found = _by_torch(unfinished, options.input, pixels)
            _keep(options.torch_export, unfinished, "fp32", expected, found, about)
    if options.onnx:
        with files.whole(options.onnx) as unfinished:
            onnx_model.write(program, options.input, unfinished)
            if options.int8:
                onnx_model.quantise(unfinished, options.input, pixels)
            run_onnx = onnx_model.session(unfinished, options.input)
            word = "int8" if options.int8 else "fp32"
            _keep(options.onnx, unfinished, word, expected, _batched(run_onnx, pixels), about)
    if options.tensorrt:
        _engine(options, extractor)
    return 0


def _require(options: argparse.Namespace, outputs: list[Path | None]) -> None:
    if not any(outputs):
        raise ReidError("nothing would be written: give --onnx FILE or --torch-export FILE")
    beside = [path and _beside(path) for path in (options.onnx, options.torch_export)]
    model.apart(options, [*outputs, *beside], [options.images])
    if options.int8 and not (options.onnx and options.images):
        raise ReidError("--int8 needs --onnx FILE, and --images FOLDER to take the numbers' ranges from")
    if options.tensorrt and (options.int8 or not options.onnx):
        raise ReidError("--tensorrt builds from --onnx FILE without --int8: TensorRT takes ranges of its own")
    if options.tensorrt and shutil.which("trtexec") is None:
        raise ReidError(
            "--tensorrt: trtexec is not on the path; install TensorRT on the machine with the NVIDIA GPU "
            "that will run the engine, and export there"
        )
    if options.compare < 2:
        raise ReidError("--compare must be at least 2: lists need another image")


def _pixels(extractor: "Extractor", folder: Path | None, most: int) -> tuple["Pixels", str]:
    """Images at the input's size to compare on, and what they are."""
    from naic_reid.data import folders, images, pictures

    if folder is None:
        return _drawn(extractor), f"{_DRAWN} drawn ones"
    names = folders.below(folder)
    if len(names) < 2:
        raise ReidError(f"--images: {folder} holds {len(names)} images (PNG or JPEG), and two are needed")
    step = -(-len(names) // most)
    chosen = [folder / name for name in names[::step]]
    read = []
    for batch in pictures.batches(chosen, images.read, extractor.geometry, 16, workers=2):
        for _, error in batch.faults:
            raise error
        read.append(batch.pixels.numpy())
    return np.concatenate(read), f"{len(chosen)} of {folder}"


def _drawn(extractor: "Extractor") -> "Pixels":
    """Drawn persons, four images of each, as the toy's."""
    from naic_reid.data import toy

    rng = toy.generator(0, 11)
    height, width = extractor.geometry.height, extractor.geometry.width
    drawn = []
    for _ in range(_DRAWN // 4):
        person = toy.person(rng)
        drawn += [
            toy.draw(person, toy.camera(rng), "green", height, width, rng)[:, :, ::-1] for _ in range(4)
        ]
    return np.ascontiguousarray(np.stack(drawn))


def _own(extractor: "Extractor", pixels: "Pixels") -> "Floats":
    return extractor.images(list(pixels))


def _batched(features: Callable[["Pixels"], "Floats"], pixels: "Pixels") -> "Floats":
    """Through the exported form, in batches whose last is of another size."""
    return np.concatenate([features(pixels[at : at + 16]) for at in range(0, len(pixels), 16)])


def _by_torch(path: Path, takes: str, pixels: "Pixels") -> "Floats":
    import torch

    from naic_reid.tools import onnx_model

    loaded = torch.export.load(path).module()

    def features(some: "Pixels") -> "Floats":
        with torch.inference_mode():
            made: Floats = loaded(torch.from_numpy(onnx_model.given(some, takes))).numpy()
        return made

    return _batched(features, pixels)


def _about(options: argparse.Namespace, extractor: "Extractor", compared: str) -> dict[str, Any]:
    """What a program needs to know of every file of this export."""
    from naic_reid.data.augment import MEAN, STD

    height, width = extractor.geometry.height, extractor.geometry.width
    pixels = options.input == "pixels"
    return {
        "naic_reid": __version__,
        "model": {**extractor.checkpoint.architecture.options, "epoch": extractor.checkpoint.epoch},
        "flip": extractor.flip,
        "input": {
            "name": options.input,
            "dtype": "uint8" if pixels else "float32",
            "shape": ["batch", height, width, 3] if pixels else ["batch", 3, height, width],
            "channels": "RGB",
            "resize": "area where it shrinks, else bilinear, to height × width",
            "mean": list(MEAN),
            "std": list(STD),
            "normalisation": "in the graph" if pixels else "by the caller: (x / 255 - mean) / std",
        },
        "output": {"name": "features", "dtype": "float32", "shape": ["batch", extractor.dimension],
                   "length": 1},
        "made_from": {"file": options.model.name, "sha256": _sha256(options.model)},
        "compared_on": compared,
    }  # fmt: skip


def _keep(
    path: Path, unfinished: Path, word: str, expected: "Floats", found: "Floats", about: dict[str, Any]
) -> None:  # fmt: skip
    """Tell and write down how near the file is to the model; too far is an error, and nothing is kept."""
    from naic_reid.tools import parity

    measured = parity.compare(expected, found)
    _tell(path, word, measured)
    if not measured.greatest_cosine_distance <= MOST[word]:
        raise ReidError(
            f"{path}: refused: an image's features are {measured.greatest_cosine_distance:.2g} apart (cosine "
            f"distance), more than {MOST[word]:g} for {word}; nothing was written"
        )
    if measured.mean_cosine > COLLAPSED:
        _log.warning(
            "the model itself hardly parts these images: the mean cosine of two is %.3f", measured.mean_cosine
        )
    content = {
        "file": path.name, "sha256": _sha256(unfinished), "precision": word, **about,
        "parity": {**dataclasses.asdict(measured), "bound": MOST[word]},
    }  # fmt: skip
    with files.whole(_beside(path)) as text:
        text.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tell(path: Path, word: str, measured: "Parity") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for number, name in enumerate(_HEADER):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    table.add_row(
        f"{path} ({word})",
        str(measured.images),
        f"{measured.greatest_difference:.2g}",
        f"{measured.greatest_cosine_distance:.2g}",
        f"{measured.equal_lists:.1%}",
        f"{measured.common_names:.1%}",
    )
    Console().print(table)


def _engine(options: argparse.Namespace, extractor: "Extractor") -> None:
    """Let TensorRT's own program build an engine from the ONNX file, in fp16, for batches of 1 to 256."""
    height, width = extractor.geometry.height, extractor.geometry.width
    one = f"{height}x{width}x3" if options.input == "pixels" else f"3x{height}x{width}"
    shapes = [
        f"--{word}Shapes={options.input}:{count}x{one}"
        for word, count in (("min", 1), ("opt", 64), ("max", 256))
    ]
    with files.whole(options.tensorrt) as unfinished:
        command = ["trtexec", f"--onnx={options.onnx}", f"--saveEngine={unfinished}", "--fp16", *shapes]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not unfinished.is_file():
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
            raise ReidError(f"--tensorrt: trtexec ended with status {done.returncode}: {last[0]}")
    print(f"{options.tensorrt}: built by trtexec in fp16, not compared: compare it on the GPU that runs it")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _sha256(path: Path) -> str:
    """Of a file, or of a folder's files one after another in the order of their names."""
    state = sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                state.update(block)
    return state.hexdigest()
