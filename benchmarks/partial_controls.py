"""What stands beside claims on partial persons: the same network, asked or compared in a plainer way.

Names of these controls are a row's `compared` in `partial.py`. Of visible regions: `equal`, every region
alike; `stripes`, by the cosine of regions times masses, which a part and its whole never bring to 1; `known`,
masses by how much of the height a picture shows instead of by the locator. Of a predicted scale: `constant`,
the mean of all predictions for every picture. Of fewer channels: `random N`, drawn; `pca N`, principal
components of the training list's features; `linear N`, what a linear layer makes of features that stay, which
learns to tell the training persons apart.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from naic_reid import Extractor
from naic_reid.architecture import SCALES
from naic_reid.artifacts import Floats
from naic_reid.data.augment import normalised
from naic_reid.losses.regions import labels

_SURE = 60.0  # a logit: softmax gives all but e^-60 of a row to its region


class Known(nn.Module):
    """In a locator's place: pictures show the upper share `kept` of a body, stretched to the input."""

    def __init__(self, kept: float, count: int) -> None:
        super().__init__()
        self._kept, self._count = kept, count

    def forward(self, maps: Tensor) -> Tensor:
        """Logits [B, p, R] of a map [B, C, R, W]."""
        rows = labels(torch.tensor([[0.0, self._kept]]), maps.shape[2], self._count).rows[0]
        own = nn.functional.one_hot(rows, self._count).T * _SURE
        return own.to(maps.device).expand(len(maps), -1, -1)


def regions_alike(rows: Floats, count: int) -> Floats:
    """Rows of visible regions, each of which weighs the same."""
    features, masses = rows[:, :-count], rows[:, -count:]
    alone = features.reshape(len(rows), count, -1) / np.maximum(masses, np.finfo(np.float32).tiny)[..., None]
    return np.concatenate([alone.reshape(len(rows), -1), np.ones_like(masses)], 1)


def ratios(extractor: Extractor, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """log ρ [N] that a network tells of pictures, as `extract.scale: predicted` asks for it."""
    predict = extractor.network.ratio
    assert predict is not None
    told = []
    for at in range(0, len(pictures), 64):
        fitted = [extractor.geometry.fitted(picture) for picture in pictures[at : at + 64]]
        with torch.inference_mode():
            told.append(predict(normalised(torch.from_numpy(np.stack(fitted)))).clone())
    return torch.cat(told)


def constant(log_ratios: Tensor) -> tuple[float, float]:
    """The scale of `extract` that is the mean of these predictions, within what it may be."""
    least, most = SCALES
    return round(min(most, max(least, float(log_ratios.exp().mean()))), 3), 1.0


def drawn(rows: Floats, keep: int, seed: int) -> Floats:
    """So many of the channels, at length 1."""
    chosen = np.random.default_rng([seed, keep]).choice(rows.shape[1], keep, replace=False)
    return _unit(rows[:, np.sort(chosen)])


def components(rows: Floats, keep: int, learnt: Floats) -> Floats:
    """So many principal components of other features, at length 1."""
    if keep > min(learnt.shape):
        raise SystemExit(f"pca {keep}: {learnt.shape[0]} training images have fewer components")
    mean = learnt.mean(0)
    axes = np.linalg.svd(learnt - mean, full_matrices=False)[2][:keep]
    return _unit((rows - mean) @ axes.T)


def linear(rows: Floats, keep: int, learnt: Floats, persons: Sequence[str], seed: int) -> Floats:
    """What a linear layer makes of rows, at length 1.

    It learns on other features, of these persons, for 60 epochs: behind it a batch normalisation, whose
    output is what search sees, and an identity loss with smoothed labels, as networks are trained.
    """
    torch.manual_seed(seed)
    classes = torch.from_numpy(np.unique(persons, return_inverse=True)[1])
    shown, batch, epochs = torch.from_numpy(learnt).float(), 64, 60
    layer = nn.Sequential(nn.Linear(shown.shape[1], keep, bias=False), nn.BatchNorm1d(keep))
    classifier = nn.Linear(keep, int(classes.max()) + 1, bias=False)
    optimizer = torch.optim.Adam([*layer.parameters(), *classifier.parameters()], lr=1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(shown)).split(batch):
            if len(chosen) < 2:
                continue  # no statistics
            optimizer.zero_grad()
            logits = classifier(layer(shown[chosen]))
            nn.functional.cross_entropy(logits, classes[chosen], label_smoothing=0.1).backward()
            optimizer.step()
    with torch.inference_mode():
        made: Floats = layer.eval()(torch.from_numpy(rows)).numpy()
    return _unit(made)


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found
