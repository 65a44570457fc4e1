"""`benchmarks/tricks.py`: what it does to queries, that its scores are X223's, and what it keeps."""

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from naic_reid.architecture import Architecture
from naic_reid.config import Model
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


def test_the_gallery_is_never_attacked_and_a_test_is_compared_with_the_plain_trainings_own(
    tricks: ModuleType, tmp_path: Path
) -> None:
    from x223 import Truth

    rng, names = np.random.default_rng(2), tuple(f"{row}.png" for row in range(8))
    persons, cameras = np.arange(8) // 4, np.arange(8) % 2
    truth = Truth(names, np.arange(8) % 4 == 0, persons, cameras)
    pixels = rng.integers(0, 256, (8, 32, 16, 3), np.uint8)
    for name, is_query, image in zip(names, truth.is_query, pixels, strict=True):
        path = tmp_path / "image_B_v1_1" / ("query" if is_query else "gallery") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image[:, :, ::-1])
    model = house.model(tmp_path / "model.pt", Architecture(backbone="resnet18", height=32, width=16))
    checkpoint, labels = Checkpoint.read(model), tricks._labels(truth)
    found = tricks.tested(checkpoint, ("clean", "4 levels"), truth, tmp_path)
    rows, turned = (
        Extractor(checkpoint, device="cpu").images(of)
        for of in (pixels, tricks.attacked(checkpoint, pixels, 4))
    )
    assert found["clean"] == tricks.each(rows, rows, labels)
    assert found["4 levels"] == tricks.each(turned, rows, labels) != tricks.each(turned, turned, labels)
    told = {"plain": [found], "ODFA": [{**found, "4 levels": found["clean"]}]}
    # Tested alike, a row that attacks do not harm is better by what they cost the plain one.
    gained, lost = (
        [apart.value for apart in tricks._apart(row, "4 levels", told, truth)] for row in ("ODFA", "plain")
    )
    assert gained == pytest.approx([-value for value in lost]) and any(gained)
    assert tricks._apart("plain", "clean", told, truth) == []


def test_a_row_is_trained_with_its_words_and_what_was_stopped_goes_on(
    tricks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, asked = tricks.kept, []

    def ours(seed: int, _recipe: object, model: Model, data: Path, listed: Path, place: Path) -> Path:
        asked.append((model.recipe.get("ema"), seed))
        assert (model.height, data, listed) == (96, tmp_path, Path("results/holdout/train.tsv"))
        return place / "last.pt"

    def trained(row: str, seed: int) -> dict[str, object]:
        if len(asked) == 3:
            raise KeyboardInterrupt
        words = {**tricks.MODEL, "recipe": tricks.TRAINED[row]}
        return kept.trained(words, seed, options, lambda checkpoint, _: {"of": checkpoint.name})

    monkeypatch.setattr(kept, "ours", ours)
    given = ["plain", "EMA", "--data", tmp_path, "--truth", "t", "--out", tmp_path, "--seeds", 0, 1]
    options = kept.parser("", tricks.TRAINED).parse_args([str(word) for word in given])
    with pytest.raises(KeyboardInterrupt):
        kept.fill(options, trained)
    assert asked == [(None, 0), (0.98, 0), (None, 1)] and not (tmp_path / "EMA_1.json").exists()
    asked.clear()
    kept.fill(options, trained)
    assert asked == [(0.98, 1)]
    assert [one["of"] for one in kept.read(tmp_path, "EMA", [0, 1])] == ["last.pt"] * 2
