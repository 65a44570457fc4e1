"""Pictures by the batch: their order, what is left out, and what a box cuts out of a frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from naic_reid.data import augment, images, pictures
from naic_reid.data.geometry import Geometry
from naic_reid.errors import ReidError

SIZE = Geometry(32, 16)
NAMES = [f"{number:02}.png" for number in range(11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        picture = rng.integers(0, 256, (20 + 3 * number, 18, 3), np.uint8)
        cv2.imwrite(str(folder / name), picture)
    return folder


def _made(folder: Path, names: list[str], batch: int = 4, workers: int = 2) -> list[pictures.Batch]:
    paths = [folder / name for name in names]
    return list(pictures.batches(paths, images.read, SIZE, batch, workers=workers))


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_keep_the_order_and_end_with_what_is_left(folder: Path, workers: int) -> None:
    made = _made(folder, NAMES, workers=workers)
    assert [batch.rows for batch in made] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    for name, pixels in zip(NAMES, torch.cat([batch.pixels for batch in made]), strict=True):
        assert np.array_equal(pixels.numpy(), SIZE.fitted(images.read(folder / name)))


def test_nothing_makes_no_batch(folder: Path) -> None:
    assert _made(folder, []) == []


def test_what_cannot_be_read_is_told_by_its_place_and_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    first, second = _made(folder, ["00.png", str(tmp_path / "bad.png"), "02.png", "none.png"], batch=3)
    assert first.rows == [0, 2]
    assert np.array_equal(first.pixels[1].numpy(), SIZE.fitted(images.read(folder / "02.png")))
    assert second.rows == [] and second.pixels.shape == (0, 32, 16, 3)
    (place, error), (other, _) = first.faults + second.faults
    assert (place, other) == (1, 3)
    assert "bad.png" in str(error)


def test_channels_are_red_green_blue_and_normalised_as_imagenet(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((32, 16, 3), (0, 0, 200), np.uint8))  # B, G, R
    (batch,) = _made(tmp_path, ["red.png"])
    image = augment.normalised(batch.pixels)
    assert image.is_contiguous(memory_format=torch.channels_last)
    expected = (np.array([200, 0, 0]) / 255 - np.array(augment.MEAN)) / np.array(augment.STD)
    assert np.allclose(image[0, :, 5, 5].numpy(), expected, atol=1e-6)


def test_a_picture_shrinks_by_areas_and_grows_by_lines() -> None:
    stripes = np.zeros((64, 16, 3), np.uint8)
    stripes[::2] = 200
    assert np.all(SIZE.fitted(stripes) == 100)
    step = np.repeat(np.array([[[0] * 3], [[200] * 3]], np.uint8), 16, 1)
    grown = SIZE.fitted(step)[:, 0, 0].astype(int)
    assert (grown[0], grown[-1]) == (0, 200)
    assert np.all(np.diff(grown) >= 0) and len(set(grown.tolist())) > 10
    exact = np.random.default_rng(1).integers(0, 256, (32, 16, 3), np.uint8)
    assert np.array_equal(SIZE.fitted(exact), exact)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0, 0, 20, 30), (0, 30), (0, 20)),
        ((2.0, 3.0, 5.0, 9.0), (3, 9), (2, 5)),
        ((2.7, 3.2, 5.1, 8.9), (3, 9), (2, 6)),
        ((-4.5, -1, 3, 400), (0, 30), (0, 3)),
        ((5.2, 5.2, 5.3, 5.3), (5, 6), (5, 6)),
    ],
)
def test_a_box_takes_every_pixel_that_it_touches_within_the_frame(
    box: tuple[float, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (30, 20, 3), np.uint8)
    (found,) = pictures.cut(frame, np.array([box]))
    assert np.array_equal(found, frame[rows[0] : rows[1], columns[0] : columns[1]])


@pytest.mark.parametrize(
    ("boxes", "says"),
    [
        ([[1, 2, 3]], r"must be \[N, 4\].*not \[1, 3\]"),
        ([0, 0, 5, 5], r"must be \[N, 4\].*not \[4\]"),
        ([[0, 0, 5, 5], [0, np.nan, 5, 5]], r"box 1: \[0\.0, nan, 5\.0, 5\.0\] is not finite"),
        ([[20, 0, 25, 5]], r"box 0: .* covers nothing of a frame of 20 × 30 pixels"),
        ([[5, 5, 4, 9]], "box 0: .* covers nothing"),
    ],
)
def test_a_box_that_is_none_is_told_by_its_number(boxes: list[object], says: str) -> None:
    with pytest.raises(ReidError, match=says):
        pictures.cut(np.zeros((30, 20, 3), np.uint8), np.array(boxes))


def test_no_boxes_cut_nothing() -> None:
    assert pictures.cut(np.zeros((30, 20, 3), np.uint8), np.empty((0, 4))) == []
    assert pictures.cut(np.zeros((30, 20, 3), np.uint8), np.array([])) == []


@pytest.mark.parametrize("policy", ["crop", "pad"])
def test_pictures_that_are_not_stretched_lie_in_their_frames(
    folder: Path, tmp_path: Path, policy: str
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [folder / NAMES[0], tmp_path / "bad.png", folder / NAMES[10]]
    geometry = Geometry(32, 16, policy=policy)
    (batch,) = pictures.batches(paths, images.read, geometry, 4, workers=2)
    assert batch.rows == [0, 2] and batch.frames is not None
    for path, pixels, frame in zip((paths[0], paths[2]), batch.pixels, batch.frames.tolist(), strict=True):
        read = images.read(path)
        top, left, height, width = geometry.frame(*read.shape[:2])
        assert frame == [top, left, height, width]
        expected = np.zeros((32, 16, 3), np.uint8)
        expected[top : top + height, left : left + width] = geometry.fitted(read)
        assert np.array_equal(pixels.numpy(), expected)


def test_what_lies_outside_of_a_frame_is_blank_and_mirrors_stay_in_theirs() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (2, 6, 7, 3), np.uint8))
    frames = torch.tensor([[0, 1, 4, 3], [0, 2, 6, 4]])
    inputs, whole = augment.normalised(pixels, frames), augment.normalised(pixels)
    turned = augment.mirrored(inputs, frames)
    for image, (top, left, height, width) in enumerate(frames.tolist()):
        rows, columns = slice(top, top + height), slice(left, left + width)
        expected = torch.zeros(3, 6, 7)
        expected[:, rows, columns] = whole[image, :, rows, columns]
        assert torch.equal(inputs[image], expected)
        expected[:, rows, columns] = whole[image, :, rows, columns].flip(2)
        assert torch.equal(turned[image], expected)
    assert torch.equal(augment.mirrored(whole), whole.flip(3))
