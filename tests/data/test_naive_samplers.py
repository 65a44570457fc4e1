"""FastReID's samplers: what a batch shows, how long an epoch is, what a pass leaves over."""

import numpy as np
import pytest

from naic_reid.data.sampler import SAMPLERS, balanced_batches, naive_batches

LABELS = np.repeat(np.arange(7), [9, 8, 5, 4, 3, 2, 1])
CAMERAS = np.arange(len(LABELS)) % 3


@pytest.mark.parametrize("name", ["every_image", "naive", "balanced"])
def test_a_batch_shows_p_persons_k_times_each_and_is_drawn_by_seed_and_epoch(name: str) -> None:
    lay = SAMPLERS[name]
    laid = lay(LABELS, 3, 4, 5, 0, cameras=CAMERAS)
    for batch in laid:
        persons = LABELS[batch].reshape(3, 4)
        assert (persons == persons[:, :1]).all()
        assert len(np.unique(persons[:, 0])) == 3
    assert np.array_equal(laid, lay(LABELS, 3, 4, 5, 0, cameras=CAMERAS))
    assert not np.array_equal(laid, lay(LABELS, 3, 4, 5, 1, cameras=CAMERAS)[: len(laid)])


@pytest.mark.parametrize("lay", [naive_batches, balanced_batches])
def test_an_epoch_is_as_many_batches_as_its_images_fill(lay) -> None:  # type: ignore[no-untyped-def]
    assert len(lay(LABELS, 3, 4, 1, 0)) == len(LABELS) // 12
    assert len(lay(LABELS[:5], 1, 8, 1, 0)) == 1, "never none"


def test_within_a_pass_no_image_of_a_large_person_comes_twice() -> None:
    labels = np.repeat(np.arange(4), 8)
    laid = naive_batches(labels, 2, 4, 3, 0)  # 4 batches of 8: just one pass, unless persons run out
    rows, counts = np.unique(laid[:2], return_counts=True)
    assert len(rows) and counts.max() == 1


def test_a_person_of_few_images_is_drawn_with_replacement() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    (batch,) = naive_batches(labels, 2, 3, 1, 0)
    few = batch[labels[batch] == 0]
    assert len(few) == 3 and set(few) <= {0, 1}


def test_balanced_groups_look_through_other_cameras_than_their_first() -> None:
    labels, cameras = np.repeat([0, 1], 6), np.tile([0, 0, 0, 1, 1, 2], 2)
    for seed in range(20):
        for group in balanced_batches(labels, 2, 3, seed, 0, cameras=cameras).reshape(-1, 3):
            assert (cameras[group[1:]] != cameras[group[0]]).all()
    alone = balanced_batches(labels, 2, 3, 1, 0, cameras=np.zeros(12, np.int64))
    assert all(len(set(group)) == 3 for group in alone.reshape(-1, 3)), "of one camera: its other images"


def test_shuffled_batches_show_images_once_whoever_is_on_them() -> None:
    labels = np.repeat(np.arange(3), [40, 3, 8])  # 51 images: six batches of 8, three images wait
    epochs = [SAMPLERS["shuffled"](labels, 4, 2, 1, epoch) for epoch in (0, 0, 1)]
    assert np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[0], epochs[2])
    assert epochs[0].shape == (6, 8) and len(np.unique(epochs[0])) == 48
    assert {tuple(np.unique(labels[batch])) for batch in epochs[0]} != {(0, 1, 2)}
    few = SAMPLERS["shuffled"](labels[:5], 4, 2, 1, 0)
    assert few.shape == (1, 8) and set(few[0]) == set(range(5))
