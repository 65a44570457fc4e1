"""What augmentation makes of training images: each as it is, and what training would be shown of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from naic_reid.config import Config
from naic_reid.data import augment
from naic_reid.data.batches import TrainingImages, TrainingList
from naic_reid.data.geometry import Geometry
from naic_reid.pages.sections import Picture, Section

IMAGES = 6  # of each model
VERSIONS = 9  # of each image

_NOTHING = augment.Recipe()


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
        words = augment.Recipe(**train.augment.model_dump())
        rows = [(word, str(value)) for word, value in vars(words).items() if value != getattr(_NOTHING, word)]
        listed = TrainingList(chosen, range(len(chosen)))
        images = TrainingImages(folder, listed, Geometry(model.height, model.width, model.resize))
        strips = _strips(images, words, settings.seed)
        title = f"What training sees: {name}, {model.height} × {model.width}"
        note = "" if rows else "nothing varies them"
        found.append(Section(title, ("train.augment", "is"), rows, note, strips))
    return found


def _strips(images: TrainingImages, words: augment.Recipe, seed: int) -> list[list[Picture]]:
    """Each image at the network's size, then the versions of it that batches of that image alone hold."""
    orders = np.repeat(np.arange(len(images.paths))[:, None], VERSIONS, axis=1)
    plain = images.batches(orders[:, :1], _NOTHING, seed, 0)
    strips = []
    for first, batch in zip(plain, images.batches(orders, words, seed, 0), strict=True):
        varied, _ = batch.finished(torch.device("cpu"))
        strips.append([Picture(first.pixels[0].numpy(), first.paths[0])])
        strips[-1] += [Picture(image, "") for image in _shown(varied)]
    return strips


def _shown(inputs: torch.Tensor) -> NDArray[np.uint8]:
    """Normalised float32 [B, 3, H, W] as pictures, uint8 [B, H, W, 3]."""
    mean, deviation = torch.tensor(augment.MEAN), torch.tensor(augment.STD)
    levels = 255 * (inputs.permute(0, 2, 3, 1) * deviation + mean)
    return levels.round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
