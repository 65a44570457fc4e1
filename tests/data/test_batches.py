"""Laying out epochs and making batches."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.data import augment, batches
from naic_reid.errors import ReidError
from naic_reid.files import digest

RECIPE = augment.Recipe(0.5, 3, 0.5, 0.5, 0.5, 0.2, 0.5)
HEIGHT, WIDTH = 32, 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for i in range(11):
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), rng.integers(0, 256, (40 + i, 30, 3), np.uint8))
    return tmp_path


def _paths(num: int = 11) -> list[str]:
    return [f"{i:02}.png" for i in range(num)]


counts = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(counts=counts, images=st.integers(1, 4), want=st.integers(1, 12), seed=st.integers(0, 99))
def test_an_epoch_shows_every_image_in_whole_groups_of_different_identities(
    counts: list[int], images: int, want: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 7, counts))
    identities = min(want, len(counts))
    order = batches.identity_batches(labels, identities, images, seed, epoch=0)
    assert set(order.ravel().tolist()) == set(range(len(labels)))
    for rows in order.reshape(len(order), identities, images):
        owners = labels[rows]
        assert (owners == owners[:, :1]).all()
        assert len(set(owners[:, 0].tolist())) == identities
        for group, owner in zip(rows, owners[:, 0], strict=True):
            assert len(set(group.tolist())) == min(images, int((labels == owner).sum()))


def test_even_counts_need_no_filling_so_an_epoch_is_as_short_as_it_can_be() -> None:
    order = batches.identity_batches(np.repeat(np.arange(40), 4), 8, 2, seed=3, epoch=5)
    assert len(order) in (10, 11)


def test_an_epoch_is_determined_by_seed_and_number() -> None:
    labels = np.repeat(np.arange(12), 5)
    first = batches.identity_batches(labels, 4, 2, seed=1, epoch=0)
    assert np.array_equal(first, batches.identity_batches(labels, 4, 2, seed=1, epoch=0))
    assert not np.array_equal(first, batches.identity_batches(labels, 4, 2, seed=1, epoch=1))
    assert not np.array_equal(first, batches.identity_batches(labels, 4, 2, seed=2, epoch=0))


@settings(max_examples=60, deadline=None)
@given(counts=counts, images=st.integers(1, 4), want=st.integers(1, 12), seed=st.integers(0, 99))
def test_with_cameras_an_epoch_is_as_long_and_whole_and_groups_show_as_many_as_they_can(
    counts: list[int], images: int, want: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    cameras = rng.integers(0, 4, len(labels))
    identities = min(want, len(counts))
    order = batches.identity_batches(labels, identities, images, seed, 0, cameras=cameras)
    again = batches.identity_batches(labels, identities, images, seed, 0, cameras=cameras)
    assert np.array_equal(order, again)
    assert set(order.ravel().tolist()) == set(range(len(labels)))
    groups = order.reshape(-1, images)
    assert (labels[groups] == labels[groups[:, :1]]).all()
    for batch in labels[order.reshape(len(order), identities, images)[:, :, 0]]:
        assert len(set(batch.tolist())) == identities
    plain = batches._groups(labels, images, np.random.default_rng(0), None)[0]
    assert len(batches._groups(labels, images, np.random.default_rng(0), cameras)[0]) == len(plain)
    for group in groups:
        mine = labels == labels[group[0]]
        assert len(set(group.tolist())) == min(images, int(mine.sum()))
        own, counts_of = np.unique(cameras[mine], return_counts=True)
        num = -(-int(mine.sum()) // images)
        if counts_of.max() <= num and len(own) >= images:
            # No camera has more images than there are groups: none need come twice.
            assert len(set(cameras[group].tolist())) == images


def test_a_camera_is_what_the_pattern_finds_in_a_path() -> None:
    paths = ["a/0002_c3s1_01.jpg", "a/0002_c1s1_02.jpg", "b/0007_c3s2_01.jpg"]
    assert batches.cameras_of(paths, r"_c(\d+)").tolist() == [1, 0, 1]
    with pytest.raises(ReidError, match=r"finds no camera in 1 of 2 paths, as 12345678\.png: give a pattern"):
        batches.cameras_of(["0002_c3.jpg", "12345678.png"], r"_c(\d+)")


def _made(folder: Path, *, workers: int, first: int = 0, cache_bytes: int = 1 << 30) -> list[batches.Batch]:
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    source = batches.TrainingImages(folder, _paths(), labels, HEIGHT, WIDTH, cache_bytes=cache_bytes)
    order = batches.identity_batches(labels, 2, 2, 1, 0)
    list(source.batches(order, RECIPE, 1, 0))  # once, to fill the cache
    return list(source.batches(order, RECIPE, 1, 0, first=first, workers=workers))


def _same(a: list[batches.Batch], b: list[batches.Batch]) -> bool:
    return len(a) == len(b) and all(
        x.number == y.number and torch.equal(x.pixels, y.pixels)
        and np.array_equal(x.draws.erase, y.draws.erase) and torch.equal(x.labels, y.labels)
        and x.paths == y.paths
        for x, y in zip(a, b, strict=True)
    )  # fmt: skip


def test_batches_depend_neither_on_workers_nor_on_the_cache_nor_on_where_one_begins(folder: Path) -> None:
    alone = _made(folder, workers=1)
    assert _same(alone, _made(folder, workers=4))
    assert _same(alone, _made(folder, workers=2, cache_bytes=0))
    assert _same(alone[2:], _made(folder, workers=2, first=2))


def test_channels_are_shuffled_as_asked_from_one_kept_copy(folder: Path) -> None:
    paths = (*_paths(3), *_paths(3))
    channels = np.array([(0, 1, 2)] * 3 + [(2, 0, 1)] * 3)
    order = np.arange(6).reshape(1, 6)
    for cache_bytes in (0, 1 << 30):
        source = batches.TrainingImages(
            folder, paths, range(6), HEIGHT, WIDTH, channels=channels, cache_bytes=cache_bytes
        )
        for _ in range(2):
            (batch,) = source.batches(order, augment.Recipe(), 1, 0)
            assert torch.equal(batch.pixels[3:], batch.pixels[:3, :, :, [2, 0, 1]])


def test_a_part_of_each_batch_is_that_part_of_the_whole(folder: Path) -> None:
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    source = batches.TrainingImages(folder, _paths(), labels, HEIGHT, WIDTH)
    order = batches.identity_batches(labels, 2, 2, 1, 0)
    whole = list(source.batches(order, RECIPE, 1, 0))
    parts = [list(source.batches(order, RECIPE, 1, 0, part=part)) for part in (slice(0, 2), slice(2, 4))]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch.pixels, torch.cat((first.pixels, second.pixels)))
        assert batch.paths == first.paths + second.paths
        assert np.array_equal(batch.draws.erase[2:], second.draws.erase)


def test_labels_and_paths_of_a_batch_belong_to_its_images(folder: Path) -> None:
    labels = list(range(11))
    source = batches.TrainingImages(folder, _paths(), labels, HEIGHT, WIDTH)
    order = batches.identity_batches(labels, 3, 2, 1, 0)
    for batch in source.batches(order, augment.Recipe(), 1, 0):
        for pixels, label, path in zip(batch.pixels, batch.labels, batch.paths, strict=True):
            assert path == f"{int(label):02}.png"
            assert np.array_equal(pixels.numpy(), batches.resized(folder / path, HEIGHT, WIDTH))


def test_each_identity_is_shown_again_in_its_own_permutations() -> None:
    paths, identities = [f"{i}.png" for i in range(8)], [f"s/{i // 2}" for i in range(8)]
    more, names, channels = batches.with_shuffled_channels(paths, identities, 2, seed=5)
    assert more == tuple(paths) * 3
    assert names[:8] == tuple(identities)
    assert len(set(names)) == 12
    by_name = {
        name: {tuple(c) for n, c in zip(names, channels.tolist(), strict=True) if n == name} for name in names
    }
    assert all(len(orders) == 1 for orders in by_name.values())
    assert by_name["s/0"] == {(0, 1, 2)}
    assert (0, 1, 2) not in {order for name in names if "#" in name for order in by_name[name]}
    for name in names[8:]:
        ((first, second, third),) = by_name[name]
        assert name.endswith("#" + "rgb"[first] + "rgb"[second] + "rgb"[third])


def test_a_permutation_depends_on_the_identity_alone() -> None:
    paths, identities = [f"{i}.png" for i in range(8)], [f"s/{i // 2}" for i in range(8)]
    _, names, _ = batches.with_shuffled_channels(paths, identities, 5, seed=5)
    _, fewer, _ = batches.with_shuffled_channels(paths[4:], identities[4:], 1, seed=5)
    assert set(fewer) <= set(names)
    assert len(set(names)) == 4 * 6


def test_the_word_known_takes_the_cameras_of_the_list() -> None:
    known = {"a.jpg": "m/2", "b.jpg": "d/2", "c.jpg": ""}
    assert batches.cameras_of(["b.jpg", "a.jpg", "b.jpg"], "known", known).tolist() == [0, 1, 0]
    with pytest.raises(ReidError, match=r"the training list knows no camera in 1 of 2 paths, as c\.jpg"):
        batches.cameras_of(["a.jpg", "c.jpg"], "known", known)


def test_an_image_that_has_changed_since_it_was_listed_is_refused_by_name(folder: Path) -> None:
    paths = _paths()
    digests = {path: digest(folder / path) for path in paths}
    source = batches.TrainingImages(folder, paths, [0] * len(paths), HEIGHT, WIDTH, digests=digests)
    source._image(0)
    digests[paths[1]] = digests[paths[0]]
    source = batches.TrainingImages(folder, paths, [0] * len(paths), HEIGHT, WIDTH, digests=digests)
    source._image(0)
    with pytest.raises(ReidError, match=rf"{paths[1]}: has changed since it was listed"):
        source._image(1)
