"""torchreid's published checkpoints: the features of the definition, or an error that names a tensor."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from naic_reid.data import augment
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from tests.oracles import osnet as oracle

SMALL = (16, 64, 96, 128)
BACKBONES = {"": "osnet_x0_25", "ain": "osnet_ain_x0_25"}


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_published_file_gives_the_features_of_the_definition(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = oracle.published(SMALL, kind, torch.Generator().manual_seed(1))
    path = tmp_path / "osnet_market_64x32_softmax.pth"
    torch.save({"state_dict": {f"module.{name}": t for name, t in tensors.items()}, "epoch": 150}, path)
    with caplog.at_level("INFO"):
        extractor = Extractor.load(path, device="cpu")
    assert "left out: classifier.weight, classifier.bias; assumed: -" in caplog.text
    architecture = extractor.checkpoint.architecture
    assert (architecture.backbone, architecture.height, architecture.width) == (BACKBONES[kind], 64, 32)
    assert not extractor.flip and extractor.dimension == 512

    random = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (3, 64, 32, 3), dtype=torch.uint8, generator=random)
    wide = {name: tensor.double() for name, tensor in tensors.items() if tensor.is_floating_point()}
    expected = F.normalize(oracle.features(wide, augment.normalised(pixels).double()))
    torch.testing.assert_close(extractor(pixels).double(), expected, atol=5e-5, rtol=0)

    extractor.save(tmp_path / "saved")
    assert torch.equal(Extractor.load(tmp_path / "saved", device="cpu")(pixels), extractor(pixels))


def test_the_size_is_256_by_128_where_the_name_says_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(oracle.published(SMALL, "", torch.Generator().manual_seed(1)), tmp_path / "a.pth")
    with caplog.at_level("INFO"):
        geometry = Extractor.load(tmp_path / "a.pth", device="cpu").geometry
    assert (geometry.height, geometry.width) == (256, 128)
    assert "assumed: height: 256, width: 128" in caplog.text


def test_a_file_with_a_tensor_too_few_or_too_many_is_refused_by_its_name(tmp_path: Path) -> None:
    tensors = oracle.published(SMALL, "", torch.Generator().manual_seed(1))
    few = {name: tensor for name, tensor in tensors.items() if name != "conv3.1.gate.fc1.bias"}
    cases = [
        (few, r"1 missing \(backbone\.conv3\.1\.gate\.fc1\.bias\)"),
        (tensors | {"conv6.weight": torch.zeros(1)}, r"1 unexpected \(backbone\.conv6\.weight\)"),
        (tensors | {"conv1.conv.weight": torch.zeros(20, 3, 7, 7)}, "whose first layer has 20 channels"),
    ]
    torch.save(tensors, tmp_path / "a_9000x10_b.pth")
    with pytest.raises(ReidError, match=r"a_9000x10_b\.pth: height: .*2048; width: .*16$"):
        Extractor.load(tmp_path / "a_9000x10_b.pth", device="cpu")
    for content, says in cases:
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(ReidError, match=rf"a\.pth: .*{says}"):
            Extractor.load(tmp_path / "a.pth", device="cpu")
