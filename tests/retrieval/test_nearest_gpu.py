"""The path for GPUs gives the very bits of the other; here it runs on the CPU, in small blocks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naic_reid.retrieval import nearest_gpu
from naic_reid.retrieval.vectors import Vectors
from tests.retrieval.features import clustered, k_nearest


def same(query: np.ndarray, gallery: np.ndarray, keep: int, device: str, block: int = 0) -> None:
    expected = k_nearest(query, gallery, keep)
    features = Vectors(query, gallery, device, compiled=False)
    found = nearest_gpu.of_rows(features, keep, (0, len(features)), memory=10**9, block=block)
    for name, part in zip(("rows", "distances", "farthest"), found, strict=True):
        np.testing.assert_array_equal(part, getattr(expected, name), err_msg=name)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num=st.integers(1, 300),
    dimension=st.sampled_from([3, 32, 45, 128]),
    keep=st.integers(1, 40),
    block=st.sampled_from([0, 17, 64]),
    duplicates=st.booleans(),
)
def test_the_gpu_path_gives_the_same_bits(
    seed: int, num: int, dimension: int, keep: int, block: int, duplicates: bool
) -> None:
    rows = clustered(seed, num, dimension, duplicates=duplicates)
    split = seed % (num + 1)
    same(rows[:split], rows[split:], keep, "cpu", block)


@pytest.mark.parametrize("asking", [(0, 0), (0, 70), (70, 200), (13, 14)])
def test_a_range_of_rows_has_the_bits_it_has_among_all(asking: tuple[int, int]) -> None:
    rows = clustered(3, 200, 45, duplicates=True)
    whole = k_nearest(rows[:80], rows[80:], 20)
    features = Vectors(rows[:80], rows[80:], compiled=False)
    part = nearest_gpu.of_rows(features, 20, asking, memory=10**9, block=17)
    for name, found in zip(("rows", "distances", "farthest"), part, strict=True):
        np.testing.assert_array_equal(found, getattr(whole, name)[slice(*asking)], err_msg=name)


def test_lists_crowded_by_equal_images_are_made_longer() -> None:
    rows = clustered(1, 600, 24)
    rows[100:500] = rows[100]
    same(rows[:30], rows[30:], 20, "cpu", 128)


def test_running_out_of_memory_halves_the_block_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, tried = clustered(2, 200, 16), []
    whole = nearest_gpu._Search.of_block

    def of_block(self, start: int, stop: int):  # type: ignore[no-untyped-def]
        tried.append(stop - start)
        if stop - start > 50:
            raise torch.cuda.OutOfMemoryError
        return whole(self, start, stop)

    monkeypatch.setattr(nearest_gpu._Search, "of_block", of_block)
    same(rows[:20], rows[20:], 11, "cpu", 200)
    assert tried[:4] == [200, 100, 50, 50]


def test_a_product_beyond_its_bound_stops_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clustered(4, 200, 32)
    monkeypatch.setattr(nearest_gpu, "_to_tf32", lambda values: 1.01 * values)
    search = nearest_gpu._Search(Vectors(rows[:20], rows[20:]), 11)
    search.slack = 1e-3  # as if the device had not told the truth about its products
    with pytest.raises(AssertionError, match="further from its cosine than its bound"):
        search.of_block(0, 50)


def test_lists_grow_where_many_rows_are_crowded() -> None:
    rows = clustered(5, 400, 24)
    rows[50:350] = rows[50]
    search = nearest_gpu._Search(Vectors(rows[:20], rows[20:]), 11)
    before = search.length
    search.of_block(0, 200)
    assert search.length == 2 * before
