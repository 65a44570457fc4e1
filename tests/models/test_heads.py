"""Branches and how they join: what a stripe sees, what distance stripes make, how their loss is made up."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from naic_reid import recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy
from naic_reid.config import Loss, Train
from naic_reid.models import build, heads
from naic_reid.models.branches import Region, Seen, summed
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import Average
from naic_reid.models.weights import Checkpoint
from tests.oracles import stripes as oracle

COUNT = 3
NAMES = [f"stripe_{i}" for i in range(COUNT)]


def _network() -> Embedder:
    """Gates that look, over a backbone whose map is eight high."""
    torch.manual_seed(0)
    embedder = Embedder(nn.Conv2d(3, 5, 1), heads.stripes(Average(), Average(), 5, COUNT))
    for name in NAMES:
        nn.init.normal_(embedder.branches[name].gate.weight, std=2)
    return embedder.eval()


def _images(num: int = 4) -> Tensor:
    return torch.randn(num, 3, 8, 4, generator=torch.Generator().manual_seed(1))


def _plainly(seen: dict[str, Seen]) -> list[tuple[list[float], list[list[float]], list[float]]]:
    """Each image as whole, stripes, gates."""
    return [
        (
            seen["whole"].feature[i].tolist(),
            [seen[name].feature[i].tolist() for name in NAMES],
            [seen[name].mass[i].item() for name in NAMES],  # type: ignore[index]
        )
        for i in range(len(seen["whole"].feature))
    ]


@pytest.mark.parametrize("weight", [0.2, 1.0, 6.0])
def test_squared_distances_of_unit_rows_are_those_of_the_slow_twin(weight: float) -> None:
    network = _network()
    seen = summed(network(_images()), network(_images().flip(3)))
    found = torch.cdist(*[network.unit(seen, weight).double()] * 2).square()
    images = _plainly(seen)
    for i, one in enumerate(images):
        for j, other in enumerate(images):
            assert found[i, j].item() == pytest.approx(oracle.distance(one, other, weight), abs=2e-5)


def test_unit_rows_have_length_one_and_the_promised_width() -> None:
    network = _network()
    rows = network.unit(network(_images()))
    assert rows.shape == (4, network.dimension) == (4, 5 + COUNT * heads.STRIPE_WIDTH)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize(("height", "count"), [(8, 3), (6, 6), (2, 3), (16, 6)])
def test_a_stripe_sees_its_rows_alone(height: int, count: int) -> None:
    activations = torch.randn(2, 5, height, 4, generator=torch.Generator().manual_seed(2))
    for i in range(count):
        found = Region(0, i, count).of([activations]).mean((2, 3))
        expected = [oracle.means(image, count)[i] for image in activations.tolist()]
        torch.testing.assert_close(found, torch.tensor(expected))


def test_parts_that_do_not_overlap_leave_the_last_one_shorter() -> None:
    rows = torch.arange(16.0).view(1, 1, 16, 1)
    parts = [Region(0, i, 3, overlapping=False).of([rows]).flatten().tolist() for i in range(3)]
    assert [len(part) for part in parts] == [6, 6, 4]
    assert [row for part in parts for row in part] == list(range(16))


def test_at_first_all_stripes_count_alike() -> None:
    seen = build(Architecture(backbone="resnet18", height=64, width=32, stripes=2)).eval()(
        torch.randn(2, 3, 64, 32)
    )
    assert [seen[f"stripe_{i}"].mass.tolist() for i in (0, 1)] == [[0.5, 0.5]] * 2


def test_the_loss_of_stripes_equals_its_loops() -> None:
    network = _network().train()
    train = Train(identity_loss=Loss(name="linear"), metric_loss=None)
    learner = recipe.learner(train, network, 5)
    for judge in learner.identity:
        nn.init.normal_(judge.weight)
    images, labels = _images(6), torch.tensor([0, 0, 1, 2, 4, 4])
    found = learner(images, labels).losses["stripes"].item()
    _, local, gates = zip(*_plainly(network(images)), strict=True)
    rows = [judge.weight.tolist() for judge in learner.identity]
    assert found == pytest.approx(oracle.loss(local, gates, labels.tolist(), rows[1:-1], rows[-1]), rel=1e-4)
    assert recipe.terms(train, network) == {"linear": 1.0, "stripes": 1.0}


def test_without_stripes_nothing_is_added() -> None:
    torch.manual_seed(3)
    plain = build(Architecture(backbone="resnet18", height=64, width=32)).eval()
    seen = plain(torch.randn(2, 3, 64, 32))
    assert list(seen) == ["whole"]
    assert torch.equal(plain.unit(seen), nn.functional.normalize(seen["whole"].feature))


def test_a_checkpoint_with_stripes_rebuilds_them_also_from_the_names_of_before(tmp_path: Path) -> None:
    settings = Architecture(backbone="resnet18", height=64, width=32, stripes=2)
    torch.manual_seed(4)
    network = build(settings).eval()
    done = Checkpoint.of(network, nn.Linear(512, 2, bias=False), 1, ("a/1", "a/2"), settings, MadeBy())
    done.write(tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    earlier = {"branches.whole.neck.": "bottleneck."}
    for i in range(2):
        earlier[f"branches.stripe_{i}.reduction."] = f"stripes.embed.{i}.0."
        earlier[f"branches.stripe_{i}.neck."] = f"stripes.embed.{i}.1."
        earlier[f"branches.stripe_{i}.gate."] = f"stripes.gate.{i}."
    for now, then in earlier.items():
        assert any(name.startswith(now) for name in content["weights"])
        content["weights"] = {name.replace(now, then): t for name, t in content["weights"].items()}
    torch.save(content, tmp_path / "old.pt")
    images = torch.randn(2, 3, 64, 32)
    for name in ("c.pt", "old.pt"):
        again = Checkpoint.read(tmp_path / name).embedder()
        assert torch.equal(again.unit(again(images)), network.unit(network(images)))
