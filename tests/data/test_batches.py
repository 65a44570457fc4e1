"""Laying out epochs and making batches."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from naic_reid.data import augment, batches, images, read_ahead, sampler
from naic_reid.data.geometry import Geometry
from naic_reid.errors import ReidError
from naic_reid.files import digest

RECIPE = augment.Recipe(0.5, 3, 0.5, 0.5, 0.5, 0.2, 0.5)
HEIGHT, WIDTH = 32, 16
INPUT = Geometry(HEIGHT, WIDTH)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for i in range(11):
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), rng.integers(0, 256, (40 + i, 30, 3), np.uint8))
    return tmp_path


def _paths(num: int = 11) -> list[str]:
    return [f"{i:02}.png" for i in range(num)]


def _source(
    folder: Path, labels: Sequence[int] = range(11), memory: int | None = None
) -> batches.TrainingImages:
    return batches.TrainingImages(folder, batches.TrainingList(_paths(), labels), INPUT, memory=memory)


def _made(folder: Path, *, workers: int, first: int = 0, memory: int = 1 << 30) -> list[batches.Batch]:
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    source = _source(folder, labels, memory=memory)
    order = sampler.identity_batches(labels, 2, 2, 1, 0)
    list(source.batches(order, RECIPE, 1, 0))  # once, to fill the cache
    return list(source.batches(order, RECIPE, 1, 0, first=first, workers=workers))


def _same(a: list[batches.Batch], b: list[batches.Batch]) -> bool:
    return len(a) == len(b) and all(
        x.number == y.number and torch.equal(x.pixels, y.pixels)
        and torch.equal(x.erase, y.erase) and torch.equal(x.labels, y.labels)
        and x.paths == y.paths
        for x, y in zip(a, b, strict=True)
    )  # fmt: skip


def test_batches_depend_neither_on_workers_nor_on_the_cache_nor_on_where_one_begins(folder: Path) -> None:
    alone = _made(folder, workers=1)
    assert _same(alone, _made(folder, workers=4))
    assert _same(alone, _made(folder, workers=2, memory=0))
    assert _same(alone[2:], _made(folder, workers=2, first=2))


def test_the_sampler_and_a_batchs_augmentation_draw_from_streams_of_their_own(folder: Path) -> None:
    source = _source(folder)
    order = np.arange(10).reshape(5, 2)

    def erase(*stream: int) -> torch.Tensor:
        return torch.from_numpy(
            augment.draw(augment.Recipe(erasing=1.0), 2, HEIGHT, WIDTH, np.random.default_rng(stream)).erase
        )

    made = [batch.erase for batch in source.batches(order, augment.Recipe(erasing=1.0), 7, 3)]
    assert torch.equal(made[0], erase(7, 3, 1))
    assert torch.equal(erase(7, 3), erase(7, 3, 0))  # NumPy fills a seed up with zeros
    assert not any(torch.equal(each, erase(7, 3)) for each in made)


def test_what_a_gpu_copies_is_pinned_by_the_threads_that_make_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append((threading.current_thread(), tensor.data_ptr()))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    source = _source(folder)
    recipe = augment.Recipe(erasing=1.0, erasing_fill="noise")
    made = list(source.batches(np.arange(10).reshape(5, 2), recipe, 1, 0, workers=2, pinned=True))
    tensors = [each for b in made for each in (b.pixels, b.erase, b.noise, b.labels)]
    assert {place for _, place in pinned} == {each.data_ptr() for each in tensors if each is not None}
    assert threading.main_thread() not in {thread for thread, _ in pinned}


def test_a_batch_is_finished_as_its_draws_say(folder: Path) -> None:
    source = _source(folder)
    for fill in ("mean", "noise"):
        recipe = augment.Recipe(erasing=1.0, erasing_fill=fill)
        (batch,) = source.batches(np.arange(8).reshape(1, 8), recipe, 1, 0)
        images, labels = batch.finished(torch.device("cpu"))
        assert torch.equal(images, augment.finish(batch.pixels, batch.erase, batch.noise))
        assert torch.equal(labels, batch.labels)
        assert (batch.noise is None) == (fill == "mean")


def test_what_is_blank_in_a_batch_is_what_was_drawn_and_stretched_parts_leave_nothing_blank(
    folder: Path,
) -> None:
    source = _source(folder)
    order = np.arange(8).reshape(1, 8)
    for then in ("blank", "stretch"):
        recipe = augment.Recipe(crop_keep=(0.2, 0.8), crop_keep_x=(0.4, 0.9), crop_then=then)
        (batch,) = source.batches(order, recipe, 5, 0, workers=1)
        crop = augment.draw(recipe, 8, HEIGHT, WIDTH, np.random.default_rng((5, 0, 1))).crop
        images, _ = batch.finished(torch.device("cpu"))
        assert crop is not None
        for image, (_, left, rows, columns) in zip(images, crop.tolist(), strict=True):
            shown = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
            shown[:rows, left : left + columns] = True
            assert image[:, ~shown].any() == (then == "stretch") and image[:, shown].all()
    (half,) = source.batches(order, augment.Recipe(crop_keep=(0.2, 0.8), crop_then="blank"), 5, 0,
                             own=slice(4, 8))  # fmt: skip
    (full,) = source.batches(order, augment.Recipe(crop_keep=(0.2, 0.8), crop_then="blank"), 5, 0)
    assert torch.equal(half.finished(torch.device("cpu"))[0], full.finished(torch.device("cpu"))[0][4:])


@pytest.mark.parametrize(("fill", "pixel"), [("zero", augment.MEAN), ("black", (0.0, 0.0, 0.0))])
def test_what_is_erased_is_the_mean_pixel_or_black(
    folder: Path, fill: str, pixel: tuple[float, float, float]
) -> None:
    source = _source(folder)
    recipe = augment.Recipe(erasing=1.0, erasing_fill=fill)
    (batch,) = source.batches(np.arange(8).reshape(1, 8), recipe, 1, 0)
    images, _ = batch.finished(torch.device("cpu"))
    top, left = batch.erase[0, :2].tolist()
    found = images[0, :, top, left] * torch.tensor(augment.STD) + torch.tensor(augment.MEAN)
    torch.testing.assert_close(found, torch.tensor(pixel), atol=1e-6, rtol=0)


def test_threads_that_read_are_as_many_as_processors_and_opencv_starts_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(batches.machine, "processors", lambda: 3)
    monkeypatch.setattr(
        read_ahead, "ThreadPoolExecutor", lambda num: started.append(num) or ThreadPoolExecutor(num)
    )
    before = cv2.getNumThreads()
    try:
        source = _source(folder)
        list(source.batches(np.arange(10).reshape(5, 2), RECIPE, 1, 0))
        assert started == [3]
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_channels_are_shuffled_as_asked_from_one_kept_copy(folder: Path) -> None:
    paths = (*_paths(3), *_paths(3))
    channels = np.array([(0, 1, 2)] * 3 + [(2, 0, 1)] * 3)
    order = np.arange(6).reshape(1, 6)
    for memory in (0, 1 << 30):
        source = batches.TrainingImages(
            folder, batches.TrainingList(paths, range(6), channels), INPUT, memory=memory
        )
        for _ in range(2):
            (batch,) = source.batches(order, augment.Recipe(), 1, 0)
            assert torch.equal(batch.pixels[3:], batch.pixels[:3, :, :, [2, 0, 1]])


def test_a_processs_own_images_of_a_batch_are_those_of_the_whole(folder: Path) -> None:
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    source = _source(folder, labels)
    order = sampler.identity_batches(labels, 2, 2, 1, 0)
    whole = list(source.batches(order, RECIPE, 1, 0))
    halves = [list(source.batches(order, RECIPE, 1, 0, own=own)) for own in (slice(0, 2), slice(2, 4))]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(batch.pixels, torch.cat((first.pixels, second.pixels)))
        assert batch.paths == first.paths + second.paths
        assert torch.equal(batch.erase[2:], second.erase)


def test_labels_and_paths_of_a_batch_belong_to_its_images(folder: Path) -> None:
    labels = list(range(11))
    source = _source(folder, labels)
    order = sampler.identity_batches(labels, 3, 2, 1, 0)
    for batch in source.batches(order, augment.Recipe(), 1, 0):
        for pixels, label, path in zip(batch.pixels, batch.labels, batch.paths, strict=True):
            assert path == f"{int(label):02}.png"
            assert np.array_equal(pixels.numpy(), INPUT.fitted(images.read(folder / path)))


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


def test_an_image_that_has_changed_since_it_was_listed_is_refused_by_name(folder: Path) -> None:
    paths = _paths()
    digests = {path: digest(folder / path) for path in paths}
    source = batches.TrainingImages(
        folder, batches.TrainingList(paths, [0] * len(paths), digests=digests), INPUT
    )
    source._image(0)
    digests[paths[1]] = digests[paths[0]]
    source = batches.TrainingImages(
        folder, batches.TrainingList(paths, [0] * len(paths), digests=digests), INPUT
    )
    source._image(0)
    with pytest.raises(ReidError, match=rf"{paths[1]}: has changed since it was listed"):
        source._image(1)
