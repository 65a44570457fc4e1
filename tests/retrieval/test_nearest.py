"""Nearest neighbours: those of the dense float64 oracle, and bit-identical however they are computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.artifacts import Floats, Neighbours
from naic_reid.errors import ReidError
from naic_reid.retrieval.nearest import plan
from tests.oracles import rerank as oracle
from tests.retrieval.features import clustered, k_nearest, of_rows


def agrees(found: Neighbours, query: Floats, gallery: Floats, keep: int) -> None:
    """Equal to the dense oracle: same rows in the same order, distances to float32."""
    order = oracle.ranks(query, gallery)[:, :keep]
    distance = oracle.squared_distances(query, gallery)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(distance, order, 1), atol=2.5e-7)
    np.testing.assert_allclose(found.farthest, distance.max(axis=1, initial=0), atol=2.5e-7)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num=st.integers(2, 180),
    dimension=st.sampled_from([3, 16, 33, 128]),
    keep=st.integers(1, 60),
    block=st.sampled_from([16, 37, 64, 1024]),
    rounded=st.booleans(),
    duplicates=st.booleans(),
)
def test_neighbours_are_those_of_the_dense_oracle(
    seed: int, num: int, dimension: int, keep: int, block: int, rounded: bool, duplicates: bool
) -> None:
    rows = clustered(seed, num, dimension, duplicates=duplicates)
    split = 1 + seed % (num - 1)
    query, gallery = rows[:split], rows[split:]
    found = k_nearest(query, gallery, keep, threads=2, block=block, rounded=rounded)
    agrees(found, query, gallery, keep)


def test_block_length_threads_and_precision_never_change_a_bit() -> None:
    rows = clustered(5, 700, 200, duplicates=True)
    first = k_nearest(rows[:90], rows[90:], 40, threads=1, block=700, rounded=False)
    for block, threads, rounded in [(64, 1, False), (64, 2, True), (101, 2, True), (333, 3, False)]:
        again = k_nearest(
            rows[:90], rows[90:], 40, threads=threads, block=block, rounded=rounded, whole=threads != 2
        )
        for name in ("rows", "distances", "farthest"):
            np.testing.assert_array_equal(getattr(again, name), getattr(first, name), err_msg=name)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num=st.integers(1, 180),
    keep=st.integers(1, 60),
    block=st.sampled_from([16, 37, 1024]),
    rounded=st.booleans(),
    asking=st.tuples(st.integers(0, 180), st.integers(0, 180)),
)
def test_a_range_of_rows_has_the_bits_it_has_among_all(
    seed: int, num: int, keep: int, block: int, rounded: bool, asking: tuple[int, int]
) -> None:
    rows = clustered(seed, num, 33, duplicates=True)
    query, gallery = rows[: seed % num], rows[seed % num :]
    start, stop = sorted(min(at, num) for at in asking)
    whole = k_nearest(query, gallery, keep, threads=2)
    for product in (rounded, not rounded):
        part = of_rows(query, gallery, keep, (start, stop), threads=2, block=block, rounded=product)
        for name, found in zip(("rows", "distances", "farthest"), part, strict=True):
            np.testing.assert_array_equal(found, getattr(whole, name)[start:stop], err_msg=name)


def test_a_range_crowded_by_equal_images_has_the_bits_it_has_among_all() -> None:
    rows = clustered(7, 900, 32)
    rows[100:800] = rows[100]
    whole = k_nearest(rows[:50], rows[50:], 31, threads=2)
    found = of_rows(rows[:50], rows[50:], 31, (90, 410), block=128, threads=2)[0]
    np.testing.assert_array_equal(found, whole.rows[90:410])


def test_the_split_into_query_and_gallery_does_not_matter_and_mapped_features_are_read(tmp_path) -> None:
    rows = clustered(6, 300, 64)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    whole = k_nearest(rows[:0], rows, 20)
    parted = k_nearest(mapped[:77], mapped[77:], 20)
    np.testing.assert_array_equal(whole.rows, parted.rows)
    np.testing.assert_array_equal(whole.farthest, parted.farthest)


def test_more_equal_images_than_neighbours_are_ordered_by_index() -> None:
    rows = clustered(7, 900, 32)
    rows[100:800] = rows[100]  # the short lists overflow again and again
    found = k_nearest(rows[:50], rows[50:], 31, block=128, threads=2)
    for i in (100, 444, 799):
        others = [j for j in range(100, 800) if j != i][:30]
        np.testing.assert_array_equal(found.rows[i], [i, *others])
    assert (found.distances[100:800] == 0).all()


def test_near_copies_are_told_apart_beyond_the_precision_of_the_product() -> None:
    rng = np.random.default_rng(8)
    rows = np.tile(rng.normal(size=64), (500, 1)) + 1e-3 * rng.normal(size=(500, 64))
    rows = rows.astype(np.float32)
    agrees(k_nearest(rows[:100], rows[100:], 20, rounded=True), rows[:100], rows[100:], 20)


def test_equal_features_everywhere_give_distance_zero() -> None:
    rows = np.ones((60, 8), np.float32)
    found = k_nearest(rows[:10], rows[10:], 31)
    assert (found.distances == 0).all()
    assert (found.farthest == 0).all()


@pytest.mark.parametrize(("num_query", "num_gallery"), [(0, 0), (0, 1), (1, 0), (0, 5), (5, 0), (1, 1)])
def test_tiny_and_empty_sets_are_no_special_case(num_query: int, num_gallery: int) -> None:
    rows = clustered(9, 10, 12)
    query, gallery = rows[:num_query], rows[num_query : num_query + num_gallery]
    found = k_nearest(query, gallery, 31)
    num = num_query + num_gallery
    assert found.rows.shape == (num, min(31, num))
    if num:
        agrees(found, query, gallery, 31)


def test_scaling_features_changes_nothing() -> None:
    rows = clustered(10, 120, 48)
    found = k_nearest(rows[:20], rows[20:], 31)
    doubled = k_nearest(2 * rows[:20], 0.5 * rows[20:], 31)  # powers of two: not even a bit
    np.testing.assert_array_equal(found.rows, doubled.rows)
    np.testing.assert_array_equal(found.distances, doubled.distances)


def test_less_memory_means_smaller_tiles_then_rows_made_anew_then_a_refusal() -> None:
    size = (100_000, 512, 31)
    allowed = (4000, 335, 300, 235)
    plans = [plan(*size, megabytes * 10**6, threads=2) for megabytes in allowed]
    assert [planned[:2] for planned in plans] == [(1024, True), (256, True), (1024, False), (256, False)]
    assert all(planned.megabytes <= most for planned, most in zip(plans, allowed, strict=True))
    with pytest.raises(ReidError, match=r"MB may be used: raise --memory, lower search\.keep"):
        plan(*size, 10**8)


def test_the_plan_is_linear_in_the_number_of_rows() -> None:
    one, ten = (plan(num, 256, 31, 10**12, threads=2).megabytes for num in (10**5, 10**6))
    assert ten < 10 * one
