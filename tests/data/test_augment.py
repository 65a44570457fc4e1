"""Augmentation against its slow twin, and what it promises about its draws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.data import augment
from tests.oracles import augment as oracle

HEIGHT, WIDTH = 12, 9
FULL = augment.Recipe(0.5, 4, 0.5, 0.5, 0.5, 0.2, 0.7)


def _images(num: int, seed: int = 0) -> augment.Pixels:
    return np.random.default_rng(seed).integers(0, 256, (num, HEIGHT, WIDTH, 3), np.uint8)


def _drawn(recipe: augment.Recipe, num: int, seed: int = 0) -> augment.Draws:
    return augment.draw(recipe, num, HEIGHT, WIDTH, np.random.default_rng(seed))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999))
def test_images_vary_as_the_slow_twin_says(seed: int) -> None:
    images, draws = _images(3, seed), _drawn(FULL, 3, seed)
    varied = augment.vary(images, draws)
    for i in range(3):
        colour = None if draws.colour is None else draws.colour[i]
        expected = oracle.vary(images[i], bool(draws.flip[i]), *draws.shift[i].tolist(), colour)
        # A half may round either way: OpenCV sums in single precision.
        assert np.abs(varied[i] - expected).max() <= 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999))
def test_batches_are_finished_as_the_slow_twin_says(seed: int) -> None:
    images, draws = _images(3, seed), _drawn(FULL, 3, seed)
    finished = augment.finish(torch.from_numpy(images), draws.erase)
    assert finished.dtype == torch.float32
    assert finished.is_contiguous(memory_format=torch.channels_last)
    for i in range(3):
        expected = oracle.finish(images[i], *draws.erase[i].tolist())
        assert np.allclose(finished[i].numpy(), expected, atol=1e-5)


def test_nothing_varies_when_all_is_off() -> None:
    images = _images(4)
    assert np.array_equal(augment.vary(images, _drawn(augment.Recipe(), 4)), images)


def test_images_handed_in_are_left_as_they_are() -> None:
    images = _images(4)
    before = images.copy()
    augment.vary(images, _drawn(FULL, 4))
    assert np.array_equal(images, before)


def test_grey_stays_grey_and_hue_keeps_luma() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    augment.recolour(grey, np.array((1.2, 0.7, 1.4, 0.3)))
    assert (grey == 108).all()
    image = np.full((HEIGHT, WIDTH, 3), (120, 100, 110), np.uint8)
    turned = image.copy()
    augment.recolour(turned, np.array((1.0, 1.0, 1.0, 0.4)))
    weights = (0.299, 0.587, 0.114)
    assert not np.array_equal(image, turned)
    assert abs(float((image[0, 0] - turned[0, 0].astype(float)) @ weights)) < 0.6


def test_probabilities_and_ranges_are_kept() -> None:
    draws = _drawn(FULL, 20_000)
    assert draws.flip.mean() == pytest.approx(0.5, abs=0.02)
    assert draws.shift.min() == -4
    assert draws.shift.max() == 4
    assert draws.colour is not None
    assert np.allclose(draws.colour.min(0), (0.5, 0.5, 0.5, -0.2), atol=0.01)
    assert np.allclose(draws.colour.max(0), (1.5, 1.5, 1.5, 0.2), atol=0.01)


def test_erased_rectangles_are_the_originals() -> None:
    draws = augment.draw(augment.Recipe(erasing=0.2), 20_000, 256, 128, np.random.default_rng(0))
    erased = draws.erase[draws.erase[:, 2] > 0]
    assert len(erased) / 20_000 == pytest.approx(0.2, abs=0.01)
    top, left, tall, wide = erased.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall).max() == 256  # touching the border is allowed
    assert (left + wide).max() == 128
    share, ratio = tall * wide / (256 * 128), tall / wide
    assert share.min() == pytest.approx(0.02, abs=0.002)
    assert 0.35 < share.max() < 0.41
    assert ratio.min() > 0.27
    assert ratio.max() < 3.8
    # Uniform in the ratio itself: its mean is that of 0.3 … 3.33, bar the tries that did not fit.
    assert 1.7 < ratio.mean() < 2.1


def test_a_part_of_the_draws_is_that_of_a_part_of_the_images() -> None:
    images, draws = _images(6), _drawn(FULL, 6)
    assert np.array_equal(augment.vary(images, draws)[2:5], augment.vary(images[2:5], draws[2:5]))
