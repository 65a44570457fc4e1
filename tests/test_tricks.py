"""`benchmarks/tricks.py`: what it does to queries, and that its scores are X223's."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from naic_reid.architecture import Architecture
from naic_reid.extractor import Extractor
from naic_reid.models.weights import Checkpoint
from naic_reid.retrieval import protocols
from tests.tools import house
from tests.walk import HOME


@pytest.fixture(scope="module")
def tricks() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HOME / "benchmarks"))
        import tricks

        return tricks


def test_attacked_pictures_are_pictures_that_differ_by_a_few_levels_and_whose_features_turn(
    tricks: ModuleType, tmp_path: Path
) -> None:
    path = house.model(tmp_path / "model.pt", Architecture(backbone="resnet18", height=32, width=16))
    pixels = np.random.default_rng(0).integers(0, 256, (18, 32, 16, 3), np.uint8)
    extractor = Extractor.load(path, "cpu")
    clean, cosines = extractor.images(pixels), []
    for levels in (1, 4):
        found = tricks.attacked(Checkpoint.read(path), pixels, levels)
        assert found.dtype == np.uint8 and found.shape == pixels.shape
        away = np.abs(found.astype(int) - pixels.astype(int))
        assert away.max() == levels and (found != pixels).mean() > 0.5
        cosines.append((extractor.images(found) * clean).sum(1).mean())
    assert cosines[1] < cosines[0] < 1


def test_its_scores_are_those_of_every_image_against_all_others(tricks: ModuleType) -> None:
    from x223 import Truth, scores

    rng = np.random.default_rng(1)
    persons, cameras = np.arange(24) // 4, rng.integers(0, 2, 24)
    truth = Truth(tuple(map(str, range(24))), np.arange(24) % 4 == 0, persons, cameras)
    rows = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(24, 5))).float()).numpy()
    found = tricks.each(rows, rows, tricks._labels(truth))
    counted = np.array(found["counted"])
    expected = scores([rows], [1.0], truth, None)
    assert 100 * np.sum(found["mAP"]) / counted.sum() == pytest.approx(expected.x223)
    assert 100 * np.sum(found["R1"]) / counted.sum() == pytest.approx(expected.rank1)
    labels = tricks._labels(truth)
    several, kept = protocols.averaged(rows, labels, rows, labels)
    assert kept == 0
    own = (persons == persons[5]) & (cameras == cameras[5])
    np.testing.assert_allclose(several[5], rows[own].mean(0), atol=1e-6)
