"""What augmentation makes of training images: each as it is, and what training would be shown of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.config import Config
from naic_reid.data import augment, batches
from naic_reid.data.geometry import Geometry
from naic_reid.tools.page import Picture, Section

IMAGES = 6  # of each model
VERSIONS = 9  # of each image


def sections(settings: Config, folder: Path, paths: Sequence[str]) -> list[Section]:
    """A section for each model: the words of its recipe that vary images, and strips of pictures.

    Args:
        settings: models, and the recipe that they share or have of their own.
        folder: the data folder.
        paths: training images in it; of these IMAGES are drawn by the config's seed.
    """
    rng = np.random.default_rng(settings.seed)
    chosen = [paths[at] for at in np.sort(rng.permutation(len(paths))[:IMAGES])]
    found = []
    for name, model in settings.models.items():
        train = settings.train.adapted(model.recipe)
        geometry = Geometry(model.height, model.width, model.resize)
        words = augment.Recipe(**train.augment.model_dump())
        rows = [(word, str(value)) for word, value in vars(words).items() if value != getattr(_NOTHING, word)]
        strips = [_strip(folder, path, geometry, words, rng) for path in chosen]
        title = f"What training sees: {name}, {model.height} × {model.width}"
        note = "" if rows else "nothing varies them"
        found.append(Section(title, ("train.augment", "is"), rows, note, strips))
    return found


_NOTHING = augment.Recipe()


def _strip(
    folder: Path, path: str, geometry: Geometry, words: augment.Recipe, rng: np.random.Generator
) -> list[Picture]:
    """The image at the network's size, then versions of it."""
    pixels = batches.resized(folder / path, geometry.height, geometry.width, resize=geometry.resize)
    draws = augment.draw(words, VERSIONS, geometry.height, geometry.width, rng)
    varied = augment.vary(np.stack([pixels] * VERSIONS), draws, words.policy, words.crop_then)
    blank = draws.crop is not None and words.crop_then == "blank"
    constant = (0.0, 0.0, 0.0) if words.erasing_fill == "zero" else augment.MEAN
    finished = augment.finish(
        torch.from_numpy(varied), torch.from_numpy(draws.erase), augment.noise(draws), constant,
        torch.from_numpy(draws.crop) if blank and draws.crop is not None else None,
    )  # fmt: skip
    return [Picture(pixels, path), *(Picture(image, "") for image in _shown(finished))]


def _shown(inputs: torch.Tensor) -> NDArray[np.uint8]:
    """Normalised float32 [B, 3, H, W] as pictures, uint8 [B, H, W, 3]."""
    mean, deviation = torch.tensor(augment.MEAN), torch.tensor(augment.STD)
    levels = 255 * (inputs.permute(0, 2, 3, 1) * deviation + mean)
    return levels.round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
