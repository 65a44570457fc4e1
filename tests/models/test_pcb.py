"""The friendly baseline's PCB: what a stripe's classifier sees, what is searched with, how losses add up."""

import pytest
import torch
from torch import Tensor, nn

from naic_reid import config, recipe
from naic_reid.architecture import Architecture
from naic_reid.config import Loss, Train
from naic_reid.errors import ReidError
from naic_reid.models import build, pcb
from naic_reid.models.branches import summed
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import Average
from tests.oracles import stripes as oracle
from tests.test_contradictions import base

COUNT = 6


def _network(dropout: float = 0.0) -> Embedder:
    """Over a backbone whose map is twelve high."""
    torch.manual_seed(0)
    return Embedder(nn.Conv2d(3, 5, 1), pcb.head(Average(), 5, dropout)).eval()


def _images(num: int = 4) -> Tensor:
    return torch.randn(num, 3, 12, 4, generator=torch.Generator().manual_seed(1))


def _pooled(network: Embedder, images: Tensor) -> list[list[list[float]]]:
    return [oracle.means(image, COUNT) for image in network.backbone(images).tolist()]


def test_cosines_are_means_of_the_stripes_pooled_rows_summed_over_both_views() -> None:
    network, images = _network(), _images()
    with torch.inference_mode():
        found = network.unit(summed(network(images), network(images.flip(3))))
        views = [_pooled(network, shown) for shown in (images, images.flip(3))]
    assert found.shape == (4, network.dimension) == (4, COUNT * 5)
    rows = torch.tensor(views).double().sum(0)  # [B, 6, 5]
    for i in range(4):
        for j in range(4):
            cosines = [(a @ b / (a.norm() * b.norm())).item() for a, b in zip(rows[i], rows[j], strict=True)]
            assert (found[i] @ found[j]).item() == pytest.approx(sum(cosines) / COUNT, abs=1e-5)


def test_the_loss_is_the_sum_of_six_cross_entropies() -> None:
    network = _network()
    train = Train(identity_loss=Loss(name="linear", smoothing=0.0), metric_loss=None)
    learner = recipe.learner(train, network, 3)
    assert len(learner.identity) == COUNT and not learner.metrics
    images, labels = _images(), torch.tensor([0, 1, 2, 0])
    expected = 0.0
    for index, judge in enumerate(learner.identity):
        nn.init.normal_(judge.weight)
        stripe = network.branches[f"stripe_{index}"]
        rows = torch.tensor(_pooled(network, images))[:, index]
        reduced = rows @ stripe.reduction.weight.T + stripe.reduction.bias
        scale = (stripe.neck.running_var + stripe.neck.eps).sqrt()
        logits = ((reduced - stripe.neck.running_mean) / scale) @ judge.weight.T
        expected += -(logits.log_softmax(1)[range(4), labels]).mean().item()
    assert learner(images, labels).losses["linear"].item() == pytest.approx(expected, rel=1e-5)


def test_dropout_leaves_out_of_pooled_rows_and_of_features_alone() -> None:
    network = _network(0.5)
    stripe = network.branches["stripe_0"]
    seen: list[Tensor] = []
    stripe.reduction.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    maps = [network.backbone(_images(64))]
    torch.manual_seed(2)
    made = stripe.train()(maps)
    assert 0.3 < (seen[0] == 0).float().mean() < 0.7
    assert 0.4 < (made.feature == 0).float().mean() < 0.6
    assert (made.embedding != 0).all()
    network.eval()
    assert torch.equal(stripe(maps).feature, stripe(maps).feature)


def test_it_stands_on_every_network_that_makes_a_map() -> None:
    for backbone in ("resnet18", "osnet_x0_25", "timm/test_efficientnet"):
        network = build(Architecture(backbone=backbone, height=96, width=32, head="pcb", pooling="average"))
        rows = network.eval().unit(network(torch.randn(2, 3, 96, 32)))
        assert rows.shape == (2, network.dimension)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


def test_metric_losses_are_refused_by_name() -> None:
    whole = base()
    whole["models"]["small"]["head"] = "pcb"
    with pytest.raises(ReidError, match=r"models.small.head: pcb .* set metric_loss: null, and no weighted_"):
        config.typed({"config": config.Config}, {"config": whole}, "mine")
