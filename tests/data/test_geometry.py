"""How a picture comes to the input's size."""

import numpy as np
import pytest
from PIL import Image

from naic_reid.data.geometry import Geometry


@pytest.mark.parametrize("size", [(200, 90), (64, 32), (30, 20), (90, 200)])
def test_bicubic_is_pillows_within_a_grey_level(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    found = Geometry(64, 32, "bicubic").fitted(picture)
    expected = np.asarray(Image.fromarray(picture).resize((32, 64), Image.Resampling.BICUBIC))
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_other_resizing_is_another_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (200, 90, 3), np.uint8)
    assert not np.array_equal(Geometry(64, 32).fitted(picture), Geometry(64, 32, "bicubic").fitted(picture))
