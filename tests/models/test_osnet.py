"""OSNet: its sizes as published, its forward pass by the definition, and torchreid's files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from naic_reid.architecture import Architecture
from naic_reid.models import build
from naic_reid.models.inference import fused
from naic_reid.models.osnet import OSNETS
from naic_reid.models.weights import load_pretrained
from tests.oracles import osnet as oracle

CHANNELS = {"x1_0": (64, 256, 384, 512), "x0_75": (48, 192, 288, 384), "x0_5": (32, 128, 192, 256),
            "x0_25": (16, 64, 96, 128)}  # fmt: skip
PUBLISHED = {  # torchreid's model zoo: millions of parameters, and of multiplications at 256 × 128, with `fc`
    "osnet_x1_0": (2.2, 978.9), "osnet_x0_75": (1.3, 571.8), "osnet_x0_5": (0.6, 272.9),
    "osnet_x0_25": (0.2, 82.3), "osnet_ibn_x1_0": (2.2, 978.9), "osnet_ain_x1_0": (2.2, 978.9),
}  # fmt: skip
FILES = {
    "osnet_x1_0": ("x1_0", ""), "osnet_x0_75": ("x0_75", ""), "osnet_x0_5": ("x0_5", ""),
    "osnet_x0_25": ("x0_25", ""), "osnet_ibn_x1_0": ("x1_0", "ibn"), "osnet_ain_x1_0": ("x1_0", "ain"),
    "osnet_ain_x0_25": ("x0_25", "ain"),
}  # fmt: skip


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_it_is_as_large_and_costs_as_much_as_published(backbone: str) -> None:
    net, total = OSNETS[backbone](), 0

    def count(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += out[0].numel() * module.weight[0].numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        assert net.eval()(torch.zeros(1, 3, 256, 128)).shape == (1, net.dimension, 16, 8)
    fc = net.dimension * 512
    millions, multiplications = PUBLISHED[backbone]
    assert (sum(p.numel() for p in net.parameters()) + fc + 3 * 512) / 1e6 == pytest.approx(
        millions, abs=0.05
    )
    assert (total + fc) / 1e6 == pytest.approx(multiplications, rel=2e-3)


@pytest.mark.parametrize("backbone", FILES)
def test_torchreids_file_gives_the_map_of_the_definition_and_every_tensor_is_told_of(
    backbone: str, tmp_path: Path
) -> None:
    width, kind = FILES[backbone]
    tensors = oracle.published(CHANNELS[width], kind, torch.Generator().manual_seed(1))
    content = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": content, "epoch": 150}, tmp_path / "a.pth")
    net = build(Architecture(backbone=backbone, height=64, width=32)).backbone
    report = load_pretrained(net, tmp_path / "a.pth")
    assert report.loaded == report.total
    assert sorted(report.unexpected) == ["classifier.bias", "classifier.weight"]

    images = torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(2))
    wide = {name: tensor.double() for name, tensor in tensors.items() if tensor.is_floating_point()}
    expected = oracle.last_map(wide, images.double())
    scale = expected.abs().max()
    with torch.inference_mode():
        quick = fused(net.eval())(images).double()
        torch.testing.assert_close(quick / scale, expected / scale, atol=5e-4, rtol=0)
        torch.testing.assert_close(net.double()(images.double()), expected, atol=1e-9, rtol=1e-9)


def test_folding_leaves_no_batch_normalisation() -> None:
    left = [m for m in fused(OSNETS["osnet_x0_25"]().eval()).modules() if isinstance(m, nn.BatchNorm2d)]
    assert left == []


def test_it_trains_and_every_parameter_has_a_gradient() -> None:
    torch.manual_seed(0)
    net = OSNETS["osnet_ain_x0_25"]().train()
    net(torch.randn(4, 3, 64, 32)).square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
