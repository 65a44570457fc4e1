"""Augmentation against its slow twin, and what it promises about its draws."""

import dataclasses
from typing import Any, get_args

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import RandomErasing, autoaugment
from torchvision.transforms.v2 import functional

from naic_reid.config import Augment
from naic_reid.data import augment, policies
from tests.oracles import augment as oracle

HEIGHT, WIDTH = 12, 9
FULL = augment.Recipe(0.5, 4, 0.5, 0.5, 0.5, 0.2, 0.7)


def _images(num: int, seed: int = 0) -> augment.Pixels:
    return np.random.default_rng(seed).integers(0, 256, (num, HEIGHT, WIDTH, 3), np.uint8)


def _drawn(recipe: augment.Recipe, num: int, seed: int = 0) -> augment.Draws:
    return augment.draw(recipe, num, HEIGHT, WIDTH, np.random.default_rng(seed))


def _finished(images: augment.Pixels, draws: augment.Draws, device: str = "cpu") -> torch.Tensor:
    fill = augment.noise(draws)
    there = (torch.from_numpy(images).to(device), torch.from_numpy(draws.erase).to(device))
    return augment.finish(*there, None if fill is None else fill.to(device))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999))
def test_images_vary_as_the_slow_twin_says(seed: int) -> None:
    images, draws = _images(3, seed), _drawn(FULL, 3, seed)
    varied = augment.vary(images, draws)
    for i in range(3):
        colour = None if draws.colour is None else draws.colour[i]
        expected = oracle.vary(images[i], bool(draws.flip[i]), *draws.shift[i].tolist(), colour, FULL.pad)
        # A half may round either way: OpenCV sums in single precision.
        assert np.abs(varied[i] - expected).max() <= 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999))
def test_batches_are_finished_as_the_slow_twin_says(seed: int) -> None:
    images, draws = _images(3, seed), _drawn(FULL, 3, seed)
    finished = augment.finish(torch.from_numpy(images), torch.from_numpy(draws.erase))
    assert finished.dtype == torch.float32
    assert finished.is_contiguous(memory_format=torch.channels_last)
    for i in range(3):
        expected = oracle.finish(images[i], *draws.erase[i].tolist())
        assert np.allclose(finished[i].numpy(), expected, atol=1e-5)


def test_colours_change_before_a_crop_or_a_turn_brings_in_black() -> None:
    image = np.full((1, HEIGHT, WIDTH, 3), 200, np.uint8)
    colour = np.array([[1.0, 0.5, 1.0, 0.0]])
    nothing = (np.array([False]), np.zeros((1, 4), np.int64))
    moved = augment.Draws(nothing[0], np.array([[6, 5]]), colour, nothing[1])
    varied = augment.vary(image, moved)[0]
    assert (varied[:-6, :-5] == 200).all()  # contrast moves towards the picture's own mean, which it is
    assert (varied[-6:] == 0).all() and (varied[:, -5:] == 0).all()
    turned = np.array([[[0.0, 1.0, 0.0], [-1.0, 0.0, WIDTH - 1.0]]])
    affine = augment.Draws(nothing[0], np.array([[0, 0]]), colour, nothing[1], affine=turned)
    assert set(np.unique(augment.vary(image, affine))) == {0, 200}


@pytest.mark.parametrize("seed", range(5))
def test_brightness_contrast_and_saturation_are_torchvisions_each_by_itself(seed: int) -> None:
    image = _images(1, seed)[0]
    factors = np.random.default_rng(seed).uniform(0.3, 1.8, 3)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    adjusted = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for place, (factor, theirs) in enumerate(zip(factors.tolist(), adjusted, strict=True)):
        colour = np.array((1.0, 1.0, 1.0, 0.0))
        colour[place] = factor
        expected = theirs(tensor, factor).numpy().transpose(1, 2, 0).astype(int)
        assert np.abs(augment.recoloured(image, colour) - expected).max() <= 2  # they cut off, and round luma


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
    assert (augment.recoloured(grey, np.array((1.2, 0.7, 1.4, 0.3))) == 108).all()
    image = np.full((HEIGHT, WIDTH, 3), (120, 100, 110), np.uint8)
    turned = augment.recoloured(image, np.array((1.0, 1.0, 1.0, 0.4)))
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


def test_affine_maps_turn_shift_and_size_about_the_middle() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 30] = 200  # ten to the right of the middle
    quarter = augment._affine(augment.Recipe(rotation=90), 500, 41, 41, np.random.default_rng(0))
    middle = quarter @ np.array((20, 20, 1))
    assert np.allclose(middle, 20)
    draws = augment.draw(augment.Recipe(rotation=1e-9, scaling=0.5), 300, 41, 41, np.random.default_rng(0))
    assert draws.affine is not None
    places = (draws.affine @ np.array((30, 20, 1)))[:, 0] - 20
    assert places.min() == pytest.approx(5, abs=0.2)
    assert places.max() == pytest.approx(15, abs=0.2)
    moved = augment.draw(augment.Recipe(translation=0.1), 300, 40, 20, np.random.default_rng(0)).affine
    assert moved is not None
    assert np.allclose(np.abs(moved[:, :, 2]).max(0), (2, 4), atol=0.1)
    one = augment.draw(augment.Recipe(translation=0.2), 1, 41, 41, np.random.default_rng(3))
    assert one.affine is not None
    varied = augment.vary(image[None], one)[0, :, :, 0].astype(float)
    y, x = (float((varied.sum(axis) * np.arange(41)).sum() / varied.sum()) for axis in (1, 0))
    assert (x - 30, y - 20) == pytest.approx(tuple(one.affine[0, :, 2]), abs=0.1)


def test_black_is_taken_out_of_cyan_magenta_and_yellow() -> None:
    image = np.array([[(200, 100, 0), (0, 0, 0), (90, 90, 90), (0, 0, 255)]], np.uint8)
    expected = [[(0, 128, 255), (0, 0, 0), (0, 0, 0), (255, 255, 0)]]
    assert augment.cyan_magenta_yellow(image).tolist() == [[list(pixel) for pixel in expected[0]]]
    always = augment.draw(augment.Recipe(cmy=1.0), 1, 1, 4, np.random.default_rng(0))
    assert augment.vary(image[None], always)[0].tolist() == augment.cyan_magenta_yellow(image).tolist()


def test_all_rectangles_are_erased_at_once_and_only_they() -> None:
    draws = augment.draw(augment.Recipe(erasing=0.7), 20, 24, 16, np.random.default_rng(3))
    images = np.random.default_rng(0).integers(0, 256, (20, 24, 16, 3), np.uint8)
    finished, plain = _finished(images, draws), augment.normalised(torch.from_numpy(images))
    for i, (top, left, tall, wide) in enumerate(draws.erase.tolist()):
        expected = plain[i].clone()
        expected[:, top : top + tall, left : left + wide] = torch.tensor(augment.MEAN)[:, None, None]
        assert torch.equal(finished[i], expected)
    assert (draws.erase[:, 2] == 0).any() and (draws.erase[:, 2] > 0).any()


def test_erasing_makes_so_many_calls_however_many_are_erased() -> None:
    """On a GPU each is a kernel, and each copy from the host a wait."""

    class Counted(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Counted.calls += 1
            return function(*args, **(kwargs or {}))

    found = set()
    for num in (1, 40):
        draws = augment.draw(augment.Recipe(erasing=1.0), num, 24, 16, np.random.default_rng(0))
        images, erase = torch.zeros(num, 24, 16, 3, dtype=torch.uint8), torch.from_numpy(draws.erase)
        augment.finish(images, erase)  # constants are made once
        Counted.calls = 0
        with Counted():
            augment.finish(images, erase)
        found.add(Counted.calls)
    assert len(found) == 1


def test_noise_fills_what_is_erased_with_normal_deviates() -> None:
    recipe = augment.Recipe(erasing=1.0, erasing_fill="noise")
    images = np.zeros((40, 32, 16, 3), np.uint8)
    draws = augment.draw(recipe, 40, 32, 16, np.random.default_rng(0))
    finished, again = (_finished(images[part], draws[part]) for part in (slice(None), slice(5, None)))
    assert torch.equal(finished[5:], again)
    inside = []
    for image, (top, left, tall, wide) in zip(finished, draws.erase.tolist(), strict=True):
        inside.append(image[:, top : top + tall, left : left + wide].flatten())
        assert (image < -1.7).sum() >= 3 * (32 * 16 - tall * wide)  # black around it
    values = torch.cat(inside)
    assert values.mean().item() == pytest.approx(0, abs=0.05)
    assert values.std().item() == pytest.approx(1, abs=0.05)


def test_the_operations_of_policies_are_those_of_torchvisions_autoaugment() -> None:
    theirs = autoaugment.AutoAugment()._augmentation_space(10, (32, 16))
    ours = policies._operations(32, 16)
    assert list(ours) == list(theirs)
    image = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (3, 32, 16), np.uint8))
    nearest = autoaugment.InterpolationMode.NEAREST
    for name, (strengths, signed) in theirs.items():
        assert torch.equal(ours[name].strengths, strengths) and ours[name].signed == signed
        for level in (0, 2, 9):
            strength = float(strengths[level]) if strengths.ndim else 0.0
            for sign in (1, -1):
                by = sign * strength if signed else strength
                expected = autoaugment._apply_op(image, name, by, nearest, None)
                assert torch.equal(policies._applied(image, ours[name], level, sign), expected), name


@pytest.mark.parametrize("policy", list(policies.POLICIES))
def test_a_policy_is_determined_by_its_seed_and_leaves_torchs_generator_alone(policy: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 16, 3), np.uint8)
    draws = augment.draw(augment.Recipe(policy=policy), 12, 32, 16, np.random.default_rng(1))
    before = torch.get_rng_state()
    varied = augment.vary(images, draws, policy)
    assert torch.equal(torch.get_rng_state(), before)
    assert varied.dtype == np.uint8
    assert np.array_equal(varied[4:], augment.vary(images[4:], draws[4:], policy))
    changed = (varied != images).any(axis=(1, 2, 3))
    assert changed.sum() >= 6


def test_policy_and_jitter_come_to_their_share_of_images_and_leave_the_others_alone() -> None:
    recipe = augment.Recipe(policy="autoaugment", policy_share=0.1, brightness=0.5, jitter=0.3)
    draws = augment.draw(recipe, 4000, 32, 16, np.random.default_rng(1))
    assert draws.policy is not None and draws.colour is not None
    assert (draws.policy >= 0).mean() == pytest.approx(0.1, abs=0.02)
    plain = (draws.colour == (1, 1, 1, 0)).all(axis=1)
    assert plain.mean() == pytest.approx(0.7, abs=0.03)
    (left,) = np.flatnonzero(plain & (draws.policy < 0))[:1]
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 16, 3), np.uint8)
    assert np.array_equal(augment.vary(images, draws[left : left + 1], "autoaugment"), images)


def test_torchvisions_erasing_is_drawn_as_torchvision_draws_it() -> None:
    recipe = augment.Recipe(erasing=1.0, erasing_draws="torchvision")
    mine = augment.draw(recipe, 4000, 128, 64, np.random.default_rng(1)).erase[:, 2:]
    torch.manual_seed(1)
    image = torch.empty(3, 128, 64)
    theirs = [RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[2:4] for _ in range(4000)]
    for found, expected in zip(mine.T, np.array(theirs).T, strict=True):
        assert scipy.stats.ks_2samp(found, expected).pvalue > 1e-3
    original = augment.draw(augment.Recipe(erasing=1.0), 4000, 128, 64, np.random.default_rng(1)).erase[:, 2]
    assert scipy.stats.ks_2samp(mine[:, 0], original).pvalue < 1e-3


def test_the_config_names_every_policy_and_every_word_of_the_recipe() -> None:
    words = {field.name for field in dataclasses.fields(augment.Recipe)}
    assert words == set(Augment.model_fields)
    annotation = Augment.model_fields["policy"].annotation
    assert set(get_args(annotation)) == {"none", *policies.POLICIES}
    draws, fills = (Augment.model_fields[f"erasing_{word}"].annotation for word in ("draws", "fill"))
    assert set(get_args(draws)) == set(augment.ERASING)
    assert set(get_args(fills)) == {"noise", *augment.FILLS}


@pytest.mark.parametrize("head", [0.0, 1.0, 0.3])
def test_a_part_keeps_a_drawn_share_of_the_rows_above_or_below(head: float) -> None:
    recipe = augment.Recipe(crop_keep=(0.5, 1.0833), crop_head=head)
    crop = augment.draw(recipe, 4000, 24, 9, np.random.default_rng(0)).crop
    assert crop is not None
    top, left, rows, columns = crop.T
    assert rows.min() == 12 and rows.max() == 24 and np.all(left == 0) and np.all(columns == 9)
    assert np.all((top == 0) | (top + rows == 24))
    assert np.mean(rows == 24) == pytest.approx((0.0833 + 0.5 / 24) / 0.5833, abs=0.03)  # one in six or seven
    assert np.mean(top[rows < 24] > 0) == pytest.approx(head, abs=0.03)


def test_a_part_keeps_a_drawn_share_of_the_columns_anywhere() -> None:
    rows_alone, both = augment.Recipe(crop_keep=(0.5, 1.0833)), {"crop_keep_x": (0.4, 1.2)}
    draws = [
        augment.draw(dataclasses.replace(FULL, **words), 4000, 24, 20, np.random.default_rng(0))
        for words in ({"crop_keep": rows_alone.crop_keep}, {"crop_keep": rows_alone.crop_keep, **both}, both)
    ]
    rows, wide, columns = (each.crop for each in draws)
    assert rows is not None and wide is not None and columns is not None
    np.testing.assert_array_equal(wide[:, [0, 2]], rows[:, [0, 2]])  # rows are those without widths
    assert np.all(columns[:, 0] == 0) and np.all(columns[:, 2] == 24)
    left, kept = columns[:, 1], columns[:, 3]
    assert kept.min() == 8 and kept.max() == 20 and left.min() == 0 and np.all(left + kept <= 20)
    assert np.mean(kept == 20) == pytest.approx((0.2 + 0.5 / 20) / 0.8, abs=0.03)
    narrow = kept == 12  # at any of nine places, each as often
    assert np.bincount(left[narrow], minlength=9).min() > 0 and left[narrow].max() == 8
    assert left[narrow].mean() == pytest.approx(4, abs=0.5)


def test_a_part_is_stretched_before_all_else_as_the_slow_twin_says() -> None:
    recipe = dataclasses.replace(FULL, crop_keep=(0.3, 1.1), crop_keep_x=(0.4, 1.1), crop_head=0.5)
    images, draws, without = _images(40), _drawn(recipe, 40), _drawn(FULL, 40)
    assert draws.crop is not None and without.crop is None
    assert np.array_equal(draws.shift, without.shift) and np.array_equal(draws.erase, without.erase)
    parts = [
        oracle.part_stretched(image, *crop.tolist()) for image, crop in zip(images, draws.crop, strict=True)
    ]
    expected = augment.vary(np.rint(np.stack(parts)).astype(np.uint8), without)
    # Rounding by one grey level before a jitter of contrast and saturation.
    assert np.abs(augment.vary(images, draws).astype(int) - expected.astype(int)).max() <= 6
    plain = dataclasses.replace(draws, colour=None)
    expected = augment.vary(np.rint(np.stack(parts)).astype(np.uint8), dataclasses.replace(plain, crop=None))
    assert np.abs(augment.vary(images, plain).astype(int) - expected.astype(int)).max() <= 1


def test_what_is_cut_off_may_become_blank_and_the_rest_stays_where_it_is() -> None:
    images, draws = _images(30), _drawn(augment.Recipe(crop_keep=(0.3, 1.1), crop_keep_x=(0.3, 1.1)), 30)
    varied = augment.vary(images, draws, crop_then="blank")
    assert np.array_equal(varied, images) and draws.crop is not None
    there, erase, crop = (torch.from_numpy(each) for each in (images, draws.erase, draws.crop))
    finished, whole = augment.finish(there, erase, frames=crop), augment.finish(there, erase)
    for image, before, (top, left, rows, columns) in zip(finished, whole, crop.tolist(), strict=True):
        part = slice(top, top + rows), slice(left, left + columns)
        assert torch.equal(image[:, *part], before[:, *part])
        image[:, *part] = 0
        assert not image.any()
