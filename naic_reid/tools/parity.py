"""How far a model's features in another form are from its own, on the same images."""

from dataclasses import dataclass

import numpy as np

from naic_reid.artifacts import Floats, Ints

LIST = 10
"""Images in a list whose equality is looked at."""


@dataclass(frozen=True)
class Parity:
    """Of features [N, D] of the same images; each image asks for its nearest among the others."""

    images: int
    greatest_difference: float
    """Of two numbers in the same place."""
    greatest_cosine_distance: float
    """1 − cosine of an image's two features."""
    equal_lists: float
    """Share of images whose `LIST` nearest are the same in the same order."""
    common_names: float
    """Share of names that both lists have, on average."""
    mean_cosine: float
    """Of the features of different images: near 1, a model that tells nothing apart."""


def compare(expected: Floats, found: Floats) -> Parity:
    """The model's own features, and the other form's."""
    count = len(expected)
    own, other = (np.asarray(values, np.float64) for values in (expected, found))
    cosines = (own * other).sum(1) / (np.linalg.norm(own, axis=1) * np.linalg.norm(other, axis=1))
    mine, theirs = _nearest(expected), _nearest(found)
    common = [
        len(set(one) & set(two)) / len(one) for one, two in zip(mine.tolist(), theirs.tolist(), strict=True)
    ]
    among = own @ own.T
    pairs = count * (count - 1)
    return Parity(
        count,
        float(np.abs(own - other).max()),
        float(1 - cosines.min()),
        float((mine == theirs).all(1).mean()),
        float(np.mean(common)),
        float((among.sum() - np.trace(among)) / pairs),
    )


def _nearest(values: Floats) -> Ints:
    """The nearest others of each row, best first, [N, min(LIST, N − 1)]."""
    cosines = values @ values.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, : min(LIST, len(values) - 1)].astype(np.int32)
