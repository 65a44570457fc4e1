"""Stripes with weights: what they see, and what distance they make."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy
from naic_reid.models import build
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import Average
from naic_reid.models.stripes import WIDTH, Stripes
from naic_reid.models.weights import Checkpoint
from tests.oracles import stripes as oracle

COUNT = 3


def _network() -> Embedder:
    """Gates that look, over a backbone whose map is eight high."""
    torch.manual_seed(0)
    embedder = Embedder(nn.Conv2d(3, 5, 1), Average(), 5, num_stripes=COUNT)
    assert embedder.stripes is not None
    for gate in embedder.stripes.gate:
        nn.init.normal_(gate.weight, std=2)  # type: ignore[arg-type]
    return embedder.eval()


def _images(num: int = 4) -> Tensor:
    return torch.randn(num, 3, 8, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("weight", [0.2, 1.0, 6.0])
def test_squared_distances_of_unit_rows_are_those_of_the_slow_twin(weight: float) -> None:
    network = _network()
    features = network(_images())[1] + network(_images().flip(3))[1]
    found = torch.cdist(*[network.unit(features, weight).double()] * 2).square()
    images = [
        (row[:5], [row[5 + i * WIDTH : 5 + (i + 1) * WIDTH] for i in range(COUNT)], row[-COUNT:])
        for row in features.tolist()
    ]
    for i, one in enumerate(images):
        for j, other in enumerate(images):
            assert found[i, j].item() == pytest.approx(oracle.distance(one, other, weight), abs=2e-5)


def test_unit_rows_have_length_one_and_the_promised_width() -> None:
    network = _network()
    rows = network.unit(network(_images())[1])
    assert rows.shape == (4, network.dimension) == (4, 5 + COUNT * WIDTH)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize(("height", "count"), [(8, 3), (6, 6), (2, 3), (16, 6)])
def test_a_stripe_sees_its_rows_alone(height: int, count: int) -> None:
    torch.manual_seed(2)
    stripes = Stripes(5, count).eval()
    activations = torch.randn(2, 5, height, 4)
    found = stripes(activations)
    for image, row in zip(activations.tolist(), found, strict=True):
        for i, mean in enumerate(oracle.means(image, count)):
            expected = stripes.embed[i](torch.tensor([mean]))[0]
            torch.testing.assert_close(row[i * WIDTH : (i + 1) * WIDTH], expected)
    assert found[:, -count:].tolist() == [[0.5] * count] * 2, "at first all stripes count alike"


def test_without_stripes_nothing_is_added() -> None:
    torch.manual_seed(3)
    plain = build(Architecture(backbone="resnet18", height=64, width=32)).eval()
    assert not [name for name in plain.state_dict() if "stripes" in name]
    features = plain(torch.randn(2, 3, 64, 32))[1]
    assert features.shape == (2, plain.dimension) == (2, 512)
    assert torch.equal(plain.unit(features), nn.functional.normalize(features))


def test_a_checkpoint_with_stripes_rebuilds_them(tmp_path: Path) -> None:
    settings = Architecture(backbone="resnet18", height=64, width=32, stripes=6)
    torch.manual_seed(4)
    network = build(settings).eval()
    classifier = nn.Linear(512, 2, bias=False)
    done = Checkpoint.of(network, classifier, 1, ("a/1", "a/2"), settings, MadeBy())
    done.write(tmp_path / "c.pt")
    again = Checkpoint.read(tmp_path / "c.pt").embedder()
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(again(images)[1], network(images)[1])
