"""Channel means → green or normal.

The competition mixes ordinary photographs with colour-shifted ones; the original ranks them apart
(its `divided_dataset.py`). Despite the name the rule is one of brightness: green are images all of
whose channel means are strictly above a threshold.
"""

import numpy as np
from numpy.typing import NDArray

Means = NDArray[np.float64]


def green(means: Means, threshold: float) -> NDArray[np.bool_]:
    """Which rows of `means` [N, 3] are strictly above the threshold in every channel, bool [N]."""
    return np.asarray((means > threshold).all(axis=1))


def close_calls(means: Means, threshold: float, within: float = 1.0) -> NDArray[np.bool_]:
    """Which rows [N] have a channel within this many grey levels of the threshold.

    Another JPEG decoder, whose pixels may differ by a level, might sort these differently.
    """
    return np.asarray((np.abs(means - threshold) < within).any(axis=1))
