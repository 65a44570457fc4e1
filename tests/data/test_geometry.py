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


@pytest.mark.parametrize(
    ("picture", "widen", "size", "frame"),
    [
        ((200, 100), 1, (256, 128), (256, 128, 0)),
        ((200, 100), 1, (128, 64), (128, 64, 0)),
        ((200, 100), 1.5, (256, 128), (171, 128, 0)),
        ((200, 100), 1.5, (128, 64), (85, 64, 0)),
        ((300, 100), 1, (256, 128), (256, 85, 21)),
        ((300, 100), 1, (128, 64), (128, 43, 10)),
        ((300, 100), 1.5, (256, 128), (256, 128, 0)),
        ((300, 100), 1.5, (128, 64), (128, 64, 0)),
        ((100, 100), 1.4, (256, 128), (91, 128, 0)),
        ((100, 100), 1.4, (128, 64), (46, 64, 0)),
        ((128, 48), 4 / 3, (256, 128), (256, 128, 0)),
        ((128, 48), 4 / 3, (128, 64), (128, 64, 0)),
        ((64, 48), 1, (256, 128), (171, 128, 0)),
        ((64, 48), 1.5, (256, 128), (114, 128, 0)),
        ((64, 48), 1, (128, 64), (85, 64, 0)),
        ((64, 48), 1.5, (128, 64), (57, 64, 0)),
        ((1, 2000), 1, (128, 64), (1, 64, 0)),
        ((2000, 1), 1, (128, 64), (128, 1, 31)),
    ],
)
def test_where_a_picture_lies_that_is_not_stretched(
    picture: tuple[int, int], widen: float, size: tuple[int, int], frame: tuple[int, int, int]
) -> None:
    height, width, left = frame
    for policy, offset in (("crop", 0), ("pad", left)):
        geometry = Geometry(*size, policy=policy, widen=widen)
        assert geometry.frame(*picture) == (0, offset, height, width)
    shape = Geometry(*size, policy="crop", widen=widen).fitted(np.zeros((*picture, 3), np.uint8)).shape
    assert shape == (height, width, 3)
    assert Geometry(*size).frame(*picture) == (0, 0, *size)


def test_a_picture_may_begin_at_a_multiple_of_the_networks_stride() -> None:
    assert Geometry(256, 128, policy="pad", align=16).frame(300, 100) == (0, 16, 256, 85)
    assert Geometry(128, 64, policy="pad", align=16).frame(300, 100) == (0, 0, 128, 43)
