"""The drawing: reproducible image by image, in its domain, and not solved by mean colour."""

import numpy as np
import pytest

from naic_reid.data import toy


def shot(number: int, image: int, domain: toy.Domain = "green", seed: int = 5) -> np.ndarray:
    who = toy.person(toy.generator(seed, 0, number))
    where = toy.camera(toy.generator(seed, 1, image % 4))
    return toy.draw(who, where, domain, 64, 32, toy.generator(seed, 2, number, image))


def test_an_image_is_the_same_whatever_was_drawn_before_it() -> None:
    alone = shot(3, 1)
    shot(0, 0)
    shot(7, 5)
    np.testing.assert_array_equal(shot(3, 1), alone)


def test_images_have_the_size_asked_for() -> None:
    assert shot(0, 0).shape == (64, 32, 3)
    assert shot(0, 0).dtype == np.uint8


def test_another_seed_person_image_or_camera_is_another_picture() -> None:
    base = shot(3, 1)
    for other in (shot(3, 1, seed=6), shot(4, 1), shot(3, 5), shot(3, 2)):
        assert (other != base).mean() > 0.2


def test_green_images_are_bright_in_every_channel_and_normal_ones_are_not() -> None:
    for number in range(40):
        green = shot(number, number, "green").mean((0, 1))
        normal = shot(number, number, "normal").mean((0, 1))
        assert green.min() > 67, (number, green)
        assert normal.min() < 63, (number, normal)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mean_colour_does_not_tell_persons_apart(seed: int) -> None:
    means = np.array([[shot(p, i, seed=seed).mean((0, 1)) for i in range(6)] for p in range(12)])
    queries, gallery = means[:, 0], means[:, 1:].reshape(-1, 3)
    nearest = ((queries[:, None] - gallery) ** 2).sum(2).argmin(1) // 5
    assert (nearest == np.arange(12)).mean() < 0.5
