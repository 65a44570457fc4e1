"""Features and neighbours: a GPU's in every precision, against a processor's in float32."""

from pathlib import Path

import numpy as np
import torch

from naic_reid.architecture import Architecture
from naic_reid.artifacts import Features, MadeBy, Neighbours
from naic_reid.config import Search
from naic_reid.extractor import Extractor
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.weights import Checkpoint
from naic_reid.stages import search

NETWORK = Architecture(backbone="resnet18_ibn_a", height=64, width=32)
FARTHEST = {"fp32": 2e-5, "tf32": 5e-3, "fp16": 1e-2, "bf16": 5e-2}
"""The longest difference of a unit feature from the exact one, by precision."""


def _checkpoint() -> Checkpoint:
    torch.manual_seed(1)
    embedder = build(NETWORK)
    embedder.train()(torch.randn(8, 3, 64, 32))
    return Checkpoint.of(embedder, build_identity("linear", 2, 512), 1, ("a/1", "a/2"), NETWORK, MadeBy())


def test_features_in_every_precision_are_as_near_as_it_promises_and_nearer_than_without_the_flip(
    device: str,
) -> None:
    checkpoint = _checkpoint()
    pictures = list(np.random.default_rng(2).integers(0, 256, (12, 64, 32, 3), np.uint8))
    exact = Extractor(checkpoint, device="cpu").images(pictures)
    unflipped = Extractor(checkpoint, device="cpu", flip=False).images(pictures)
    least = np.linalg.norm(unflipped - exact, axis=1).min()
    for word, farthest in FARTHEST.items():
        if device == "cpu" and word in ("tf32", "fp16"):
            continue  # the one is fp32 there, the other a hundred times slower
        found = Extractor(checkpoint, device=device, precision=word).images(pictures, batch=5)
        apart = np.linalg.norm(found - exact, axis=1).max()
        assert apart < farthest, (word, apart)
        assert 2 * farthest < least, (word, least)  # else a forgotten flip would pass


def test_neighbours_are_the_same_to_the_bit(device: str, folder: Path) -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(size=(300, 128)), 5, axis=0) + 0.6 * rng.normal(size=(1500, 128))
    rows[700:760] = rows[3]  # crowded by equal images
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = tuple(f"{number:04}.png" for number in range(len(rows)))
    for role, part in (("query", slice(0, 200)), ("gallery", slice(200, None))):
        Features(names[part], rows[part].astype(np.float32)).write(folder / f"{role}.npz")
    files = {"query": folder / "query.npz", "gallery": folder / "gallery.npz"}
    found = []
    for place, memory in (("cpu", ""), (device, ""), (device, "30MB")):
        search.run(Search(keep=31), **files, neighbours=folder / "near.npz", device=place, memory=memory)
        found.append(Neighbours.read(folder / "near.npz"))
    for other in found[1:]:
        for name in ("rows", "distances", "farthest"):
            np.testing.assert_array_equal(getattr(other, name), getattr(found[0], name), err_msg=name)
