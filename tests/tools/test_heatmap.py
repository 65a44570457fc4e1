"""Heat maps: the length of the last map, over the picture; and the command that shows them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from naic_reid import heat
from naic_reid.architecture import Architecture
from naic_reid.cli import main
from naic_reid.data import images
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from naic_reid.models.weights import Checkpoint
from tests.tools import house


def test_heat_is_the_length_of_the_last_map_at_each_place(place: Path) -> None:
    picture = images.read(place / "photos/0/0.png")
    assert picture.shape == (64, 32, 3)  # the input's own size: nothing is resized
    found = heat.heat(Extractor.load(place / "model.pt", "cpu"), picture)
    network = Checkpoint.read(place / "model.pt").embedder().eval()
    mean, deviation = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    inputs = ((torch.from_numpy(picture) / 255 - mean) / deviation).permute(2, 0, 1)[None]
    with torch.no_grad():
        last = network.backbone(inputs)[0]
    expected = [[sum(float(v) ** 2 for v in last[:, y, x]) ** 0.5 for x in range(2)] for y in range(4)]
    np.testing.assert_allclose(found, np.array(expected), rtol=2e-4)


def test_a_compiled_network_shows_the_same(place: Path) -> None:
    extractor, picture = Extractor.load(place / "model.pt", "cpu"), images.read(place / "photos/0/0.png")
    expected = heat.heat(extractor, picture)
    extractor.compile(backend="eager")
    extractor.images([picture])
    np.testing.assert_array_equal(heat.heat(extractor, picture), expected)


def test_tokens_lie_on_their_grid(tmp_path: Path) -> None:
    model = house.model(
        tmp_path / "vit.pt",
        Architecture(backbone="timm/test_vit", height=64, width=32, pooling="average"),
    )
    found = heat.heat(Extractor.load(model, "cpu"), np.full((50, 30, 3), 90, np.uint8))
    assert found.shape == (4, 2)


@pytest.mark.parametrize("policy", ["crop", "pad"])
def test_only_the_part_of_the_input_that_the_picture_covers_is_shown(tmp_path: Path, policy: str) -> None:
    model = house.model(tmp_path / "plain.pt", Architecture(backbone="resnet18", height=64, width=32))
    extractor = Extractor.load(model, "cpu", geometry=policy)
    wide = heat.heat(extractor, np.full((16, 32, 3), 90, np.uint8))
    assert wide.shape[0] < 4
    assert wide.shape[1] == 2


def test_the_narrowest_picture_covers_a_place_of_the_map(tmp_path: Path) -> None:
    model = house.model(tmp_path / "plain.pt", Architecture(backbone="resnet18", height=64, width=48))
    extractor = Extractor.load(model, "cpu", geometry="pad", border="masked")
    assert heat.heat(extractor, np.full((64, 4, 3), 90, np.uint8)).shape == (4, 1)


def test_an_overlay_is_half_picture_and_half_viridis() -> None:
    strengths = np.array([[1.0, 3.0]], np.float32)
    shown = heat.overlay(np.full((2, 2, 3), 100, np.uint8), strengths)
    dark, bright = (68, 1, 84), (253, 231, 36)  # viridis at 0 and at 1
    assert shown[0].tolist() == [[round((100 + c) / 2) for c in colour] for colour in (dark, bright)]
    same = heat.overlay(np.full((2, 2, 3), 100, np.uint8), strengths, (3.0, 5.0))
    assert same[0, 1].tolist() == shown[0, 0].tolist()
    with pytest.raises(ReidError, match="not finite"):
        heat.overlay(np.zeros((2, 2, 3), np.uint8), np.array([[np.nan]], np.float32))


def test_pages_and_pictures_are_written(place: Path, tmp_path: Path) -> None:
    photos, page, out = place / "photos", tmp_path / "heat.html", tmp_path / "out"
    words = ["heatmap", str(place / "model.pt"), str(photos), "--device", "cpu"]
    assert main([*words, "--html", str(page), "--out", str(out)]) == 0
    assert page.read_text().count("<img ") == 4
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "0_2.png", "1.png", "1_2.png"]
    extractor = Extractor.load(place / "model.pt", "cpu")
    picture = images.read(photos / "0/0.png")
    expected = heat.overlay(picture, heat.heat(extractor, picture))
    assert np.array_equal(cv2.imread(str(out / "0.png"))[..., ::-1], expected)
    own = [path.read_bytes() for path in sorted(out.iterdir())]
    assert main([*words, "--out", str(out), "--same-scale"]) == 0
    assert own != [path.read_bytes() for path in sorted(out.iterdir())]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{place}/photos"], "nothing would be shown"),
        (["{place}/empty", "--html", "{place}/x.html"], "no images"),
        (
            ["{place}/photos", "--out", "{place}/photos/0"],
            "photos/0/0.png: is an image that this command reads",
        ),
        (["{place}/photos/0/0.png", "--html", "{place}/model.pt"], "model.pt: is read by this command"),
    ],
)
def test_what_cannot_be_is_refused(
    place: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "empty").mkdir(exist_ok=True)
    given = [word.format(place=place) for word in words]
    assert main(["heatmap", str(place / "model.pt"), "--device", "cpu", *given]) == 2
    assert sentence in capsys.readouterr().err
