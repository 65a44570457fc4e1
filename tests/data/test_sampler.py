"""The P×K sampler: what an epoch shows, in which order, and how long it may be."""

import logging
import threading
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from naic_reid.data import sampler
from naic_reid.errors import ReidError

counts = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def _cut_short(order: NDArray[np.int64], labels: NDArray[np.int64], identities: int, images: int) -> bool:
    """Whether an epoch is as long as it may be; longer it never is."""
    groups = sum(-(-count // images) for count in np.unique(labels, return_counts=True)[1].tolist())
    longest = 2 * -(-groups // identities)
    assert len(order) <= longest
    return len(order) == longest


@settings(max_examples=60, deadline=None)
@given(counts=counts, images=st.integers(1, 4), want=st.integers(1, 12), seed=st.integers(0, 99))
def test_an_epoch_shows_every_image_in_whole_groups_of_different_identities(
    counts: list[int], images: int, want: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 7, counts))
    identities = min(want, len(counts))
    order = sampler.identity_batches(labels, identities, images, seed, epoch=0)
    if not _cut_short(order, labels, identities, images):
        assert set(order.ravel().tolist()) == set(range(len(labels)))
    for rows in order.reshape(len(order), identities, images):
        owners = labels[rows]
        assert (owners == owners[:, :1]).all()
        assert len(set(owners[:, 0].tolist())) == identities
        for group, owner in zip(rows, owners[:, 0], strict=True):
            assert len(set(group.tolist())) == min(images, int((labels == owner).sum()))


def test_even_counts_need_no_filling_so_an_epoch_is_as_short_as_it_can_be() -> None:
    order = sampler.identity_batches(np.repeat(np.arange(40), 4), 8, 2, seed=3, epoch=5)
    assert len(order) in (10, 11)


def test_an_epoch_is_determined_by_seed_and_number() -> None:
    labels = np.repeat(np.arange(12), 5)
    first = sampler.identity_batches(labels, 4, 2, seed=1, epoch=0)
    assert np.array_equal(first, sampler.identity_batches(labels, 4, 2, seed=1, epoch=0))
    assert not np.array_equal(first, sampler.identity_batches(labels, 4, 2, seed=1, epoch=1))
    assert not np.array_equal(first, sampler.identity_batches(labels, 4, 2, seed=2, epoch=0))


@settings(max_examples=60, deadline=None)
@given(counts=counts, images=st.integers(1, 4), want=st.integers(1, 12), seed=st.integers(0, 99))
def test_with_cameras_an_epoch_is_as_long_and_whole_and_groups_show_as_many_as_they_can(
    counts: list[int], images: int, want: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    cameras = rng.integers(0, 4, len(labels))
    identities = min(want, len(counts))
    order = sampler.identity_batches(labels, identities, images, seed, 0, cameras=cameras)
    again = sampler.identity_batches(labels, identities, images, seed, 0, cameras=cameras)
    assert np.array_equal(order, again)
    if not _cut_short(order, labels, identities, images):
        assert set(order.ravel().tolist()) == set(range(len(labels)))
    groups = order.reshape(-1, images)
    assert (labels[groups] == labels[groups[:, :1]]).all()
    for batch in labels[order.reshape(len(order), identities, images)[:, :, 0]]:
        assert len(set(batch.tolist())) == identities
    plain = sampler._groups(labels, images, np.random.default_rng(0), None)[0]
    assert len(sampler._groups(labels, images, np.random.default_rng(0), cameras)[0]) == len(plain)
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
    assert sampler.cameras_of(paths, r"_c(\d+)").tolist() == [1, 0, 1]
    with pytest.raises(ReidError, match=r"finds no camera in 1 of 2 paths, as 12345678\.png: give a pattern"):
        sampler.cameras_of(["0002_c3.jpg", "12345678.png"], r"_c(\d+)")


def _digest(order: NDArray[np.int64]) -> str:
    return blake2b(order.astype("<i8").tobytes(), digest_size=8).hexdigest()


def test_epochs_of_ordinary_data_are_what_they_always_were() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3000), rng.geometric(0.08, 3000) + 1))
    epochs = [sampler.identity_batches(labels, 112, 2, 1234, epoch) for epoch in (0, 7)]
    assert [_digest(order) for order in epochs] == ["5a677afbd944d7fa", "d954f98d708e2c92"]
    cameras = rng.integers(0, 4, len(labels))
    spread = sampler.identity_batches(labels, 56, 4, 5, 1, cameras=cameras)
    assert _digest(spread) == "d56b41f470355b83"


def test_a_person_of_very_many_images_makes_no_epoch_long(caplog: pytest.LogCaptureFixture) -> None:
    """8,000 images, half of them one person's, in batches of 224: not the 2,000 that show all of hers."""
    labels = np.concatenate([np.repeat(np.arange(2000), 2), np.full(4000, 2000)])
    with caplog.at_level(logging.WARNING):
        epochs = [sampler.identity_batches(labels, 112, 2, 0, epoch) for epoch in range(2)]
    assert [len(order) for order in epochs] == [72, 72]
    others = set(np.flatnonzero(labels < 2000).tolist())
    assert all(others <= set(order.ravel().tolist()) for order in epochs)
    shown = [set(order.ravel().tolist()) - others for order in epochs]
    assert len(shown[0] | shown[1]) > 1.9 * len(shown[0])  # another epoch, other images of hers
    (message,) = [record.message for record in caplog.records]
    assert message.startswith(
        f"sampler: {4000 - len(shown[0])} of 8000 images, of the largest identities, wait"
    )


def test_several_large_persons_are_cut_too_and_nobody_small_is_left_out() -> None:
    labels = np.concatenate([np.repeat(np.arange(300), 2), np.repeat(np.arange(300, 306), 900)])
    order = sampler.identity_batches(labels, 32, 2, 0, 0)
    assert len(order) == 2 * -(-(300 + 6 * 450) // 32)
    assert set(np.flatnonzero(labels < 300).tolist()) <= set(order.ravel().tolist())


def test_the_next_epoch_is_laid_out_while_one_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat(np.arange(12), 5)
    laid: list[int] = []
    begun = threading.Event()
    plain = sampler.identity_batches

    def watched(*arguments: object, **more: object) -> NDArray[np.int64]:
        assert threading.current_thread() is not threading.main_thread()
        laid.append(arguments[-1])  # type: ignore[arg-type]
        if laid[-1] == 1:
            begun.set()
        return plain(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setitem(sampler.SAMPLERS, "every_image", watched)
    epochs = sampler.Sampler(labels, 4, 2, seed=1, steps=6)
    first = epochs.rows(0)
    assert begun.wait(10)
    for epoch in (0, 1, 2, 1):
        assert np.array_equal(epochs.rows(epoch), plain(labels, 4, 2, 1, epoch)[:6])
    assert np.array_equal(first, epochs.rows(0))
    assert laid[:4] == [0, 1, 2, 3]


def test_the_word_known_takes_the_cameras_of_the_list() -> None:
    known = {"a.jpg": "m/2", "b.jpg": "d/2", "c.jpg": ""}
    assert sampler.cameras_of(["b.jpg", "a.jpg", "b.jpg"], "known", known).tolist() == [0, 1, 0]
    with pytest.raises(ReidError, match=r"the training list knows no camera in 1 of 2 paths, as c\.jpg"):
        sampler.cameras_of(["a.jpg", "c.jpg"], "known", known)
