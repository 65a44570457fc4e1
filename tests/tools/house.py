"""A small model and photographs of drawn persons, for tests of the commands that take a model."""

from pathlib import Path

import cv2
import torch

from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy
from naic_reid.data import toy
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.weights import Checkpoint

ARCHITECTURE = Architecture(backbone="resnet18_ibn_a", height=64, width=32)


def model(path: Path, architecture: Architecture = ARCHITECTURE, seed: int = 1) -> Path:
    """A checkpoint of a network that was drawn and never trained, its statistics set by one batch."""
    torch.manual_seed(seed)
    embedder = build(architecture)
    with torch.no_grad():
        embedder.train()(torch.randn(8, 3, architecture.height, architecture.width))
    classes = build_identity("linear", 2, 512)
    Checkpoint.of(embedder, classes, 7, ("a/1", "a/2"), architecture, MadeBy()).write(path)
    return path


def photos(folder: Path, persons: int = 4, images: int = 3) -> list[str]:
    """Draw `persons` × `images` photographs of several sizes, in a folder for each person; their names."""
    rng, names = toy.generator(5, 1), []
    for number in range(persons):
        person = toy.person(rng)
        for image in range(images):
            pixels = toy.draw(person, toy.camera(rng), "green", 64 + 8 * image, 32, rng)
            name = f"{number}/{image}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name), pixels)
            names.append(name)
    return names
