"""Building by name, the neck, and timm's networks of every shape."""

import subprocess
import sys

import pytest
import torch

from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.models import build


def _built(backbone: str, pooling: str = "gem"):  # type: ignore[no-untyped-def]
    return build(Architecture(backbone=backbone, height=64, width=32, pooling=pooling))


def test_features_are_the_normalised_embeddings() -> None:
    torch.manual_seed(1)
    embedder = _built("resnet18").train()
    embeddings, features, _ = embedder(torch.randn(8, 3, 64, 32))["whole"]
    assert embeddings.shape == features.shape == (8, embedder.dimension)
    deviation = (embeddings.var(0, unbiased=False) + embedder.branches["whole"].neck.eps).sqrt()
    expected = (embeddings - embeddings.mean(0)) / deviation
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def test_the_neck_runs_once_a_step_and_its_bias_stays_zero() -> None:
    torch.manual_seed(2)
    embedder = _built("resnet18").train()
    embeddings, features, _ = embedder(torch.randn(4, 3, 64, 32))["whole"]
    torch.testing.assert_close(
        embedder.branches["whole"].neck.running_mean, 0.1 * embeddings.detach().mean(0)
    )
    assert embedder.branches["whole"].neck.num_batches_tracked == 1
    features.square().sum().backward()
    assert embedder.branches["whole"].neck.bias.grad is None
    assert not embedder.branches["whole"].neck.bias.requires_grad
    assert embedder.branches["whole"].neck.weight.grad is not None


def test_one_image_keeps_its_batch_dimension() -> None:
    embedder = _built("resnet18").eval()
    with torch.inference_mode():
        assert embedder(torch.zeros(1, 3, 64, 32))["whole"].feature.shape == (1, 512)


def test_embeddings_and_features_are_float32_under_autocast() -> None:
    embedder = _built("resnet18_ibn_a").train()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings, features, _ = embedder(torch.randn(4, 3, 64, 32))["whole"]
    assert embeddings.dtype == features.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("efficientnet_lite0", 1280),  # a map, wider than its last stage
        ("vit_tiny_patch16_224", 192),  # tokens, drawn for one size
        ("resnest14d", 2048),
    ],
)
def test_a_timm_networks_width_and_size_are_found(name: str, dimension: int) -> None:
    embedder = build(Architecture(backbone=f"timm/{name}", height=128, width=64, pooling="average"))
    assert embedder.dimension == dimension
    assert embedder.training
    embeddings, features, _ = embedder(torch.randn(2, 3, 128, 64))["whole"]
    assert embeddings.shape == features.shape == (2, dimension)
    features.square().sum().backward()
    idle = [n for n, p in embedder.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_an_unknown_backbone_is_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match="unknown backbone 'resnet50_ibn-a'; near: resnet50_ibn_a, "):
        _built("resnet50_ibn-a")
    with pytest.raises(ValueError, match=r"timm has no 'resnett50'; near: resnet50, "):
        _built("timm/resnett50")


def test_a_size_a_timm_network_cannot_take_is_refused() -> None:
    with pytest.raises(ReidError, match=r"timm/densenet121: not at 16×16 pixels: "):
        build(Architecture(backbone="timm/densenet121", height=16, width=16, pooling="average"))


def test_the_generalised_mean_of_tokens_is_refused() -> None:
    with pytest.raises(ReidError, match="set pooling: average"):
        _built("timm/vit_tiny_patch16_224")


def test_the_room_opens_without_timm() -> None:
    code = (
        "import sys; from naic_reid.models import build; from naic_reid.architecture import Architecture;"
        "build(Architecture(backbone='resnet18', height=64, width=32, pooling='gem'));"
        "sys.exit('timm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_standardised_input_makes_colour_casts_vanish() -> None:
    torch.manual_seed(3)
    embedder = build(Architecture(backbone="resnet18_ibn_a", height=64, width=32, standardise=True)).eval()
    images = torch.randn(3, 3, 64, 32)
    cast = (
        images * torch.tensor([0.5, 1.5, 0.8])[:, None, None] + torch.tensor([0.3, -0.2, 0.1])[:, None, None]
    )
    with torch.inference_mode():
        torch.testing.assert_close(
            embedder(cast)["whole"].feature, embedder(images)["whole"].feature, atol=1e-3, rtol=1e-3
        )
        embedder._standardise = False
        assert (embedder(cast)["whole"].feature - embedder(images)["whole"].feature).abs().max() > 0.05
