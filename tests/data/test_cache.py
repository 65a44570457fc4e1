"""Decoded images are kept while there is room."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from naic_reid import machine
from naic_reid.data import cache
from naic_reid.data.cache import ImageCache

MB = 1 << 20


def _image(number: int, size: int = MB) -> np.ndarray:
    return np.full(size, number, np.uint8)


def test_no_more_is_kept_than_was_allowed_and_the_rest_is_read_again() -> None:
    kept = ImageCache(3 * MB)
    for number in range(5):
        kept.keep(number, _image(number))
    found = [kept.get(number) for number in range(5)]
    assert [image is not None for image in found] == [True, True, True, False, False]
    assert all(image is None or (image == number).all() for number, image in enumerate(found))
    assert ImageCache(0).get(0) is None


def test_an_image_kept_twice_counts_once() -> None:
    kept = ImageCache(2 * MB)
    for number in (0, 0, 0, 1, 2):
        kept.keep(number, _image(number))
    assert kept.get(1) is not None
    assert kept.get(2) is None


def test_threads_together_keep_no_more_either() -> None:
    kept = ImageCache(50 * MB)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: kept.keep(number % 120, _image(0)), range(1000)))
    assert sum(kept.get(number) is not None for number in range(120)) == 50


def test_two_caches_that_begin_together_leave_half_of_what_was_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_STEP", 4 * MB)
    caches: list[ImageCache] = []
    numbers = range(2000)

    def held() -> int:
        return sum(one.get(number) is not None for one in caches for number in numbers) * MB

    monkeypatch.setattr(machine, "free_memory", lambda: 400 * MB - held())
    caches += [ImageCache(), ImageCache()]
    image = _image(0)
    for number in numbers[:300]:
        for one in caches:
            one.keep(number, image)
    assert 190 * MB <= held() <= 200 * MB
    assert all(one.get(80) is not None for one in caches)
