"""Folding and halving change rounding only."""

import pytest
import torch
from torch import nn

from naic_reid.architecture import Architecture
from naic_reid.models import build
from naic_reid.models.inference import fused, halved


def _trained(backbone: str) -> nn.Module:
    """An embedder whose normalisations have statistics and factors of their own."""
    torch.manual_seed(1)
    embedder = build(Architecture(backbone=backbone, height=64, width=32))
    for module in embedder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.3, 1)
            nn.init.normal_(module.bias, std=0.2)
    return embedder.eval()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50_ibn_a", "resnet50_ibn_b", "se_resnet50_ibn_a"])
def test_a_folded_network_gives_the_same_features(backbone: str) -> None:
    embedder = _trained(backbone)
    quick = fused(embedder)
    images = torch.randn(4, 3, 64, 32)
    with torch.inference_mode():
        for ours, theirs in zip(quick(images)["whole"][:2], embedder(images)["whole"][:2], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_plain_network_keeps_no_batch_normalisation_but_the_neck() -> None:
    embedder = _trained("resnet18")
    left = [m for m in fused(embedder).modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert len(left) == 1
    assert sum(isinstance(m, nn.BatchNorm2d) for m in embedder.modules()) == 20


def test_folding_leaves_the_network_it_was_given_alone() -> None:
    embedder = _trained("resnet18_ibn_a")
    before = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    halved(fused(embedder), torch.bfloat16)
    after = embedder.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "backbone", ["resnet50_ibn_b", "timm/efficientnet_lite0", "timm/vit_tiny_patch16_224"]
)
def test_halved_features_point_where_the_whole_ones_do(backbone: str) -> None:
    torch.manual_seed(2)
    pooling = "average" if "vit" in backbone else "gem"
    embedder = build(Architecture(backbone=backbone, height=64, width=32, pooling=pooling)).eval()
    images = torch.randn(4, 3, 64, 32)
    with torch.inference_mode():
        whole = embedder(images)["whole"].feature
        with torch.autocast("cpu", torch.bfloat16):
            half = halved(fused(embedder), torch.bfloat16)(images)["whole"].feature
    assert half.dtype == torch.float32
    assert nn.functional.cosine_similarity(whole, half).min() > 0.999
