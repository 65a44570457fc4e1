"""Instance normalisation: torch's values, with the layout kept."""

import pytest
import torch
from torch import Tensor, nn

from naic_reid.models.instance_norm import InstanceNorm2d
from naic_reid.models.resnet_ibn import IBN, RESNETS

LAST, FIRST = torch.channels_last, torch.contiguous_format


def _pair(channels: int) -> tuple[InstanceNorm2d, nn.InstanceNorm2d]:
    """Ours and torch's, with the same weights."""
    torch.manual_seed(1)
    ours = InstanceNorm2d(channels)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs = nn.InstanceNorm2d(channels, affine=True)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def _maps(dtype: torch.dtype = torch.float32, layout: torch.memory_format = LAST) -> Tensor:
    maps = 3 + 2 * torch.randn(3, 6, 8, 5, generator=torch.Generator().manual_seed(2))
    return maps.to(dtype).to(memory_format=layout).requires_grad_()


def _out_and_gradients(module: nn.Module, maps: Tensor) -> list[Tensor]:
    module.zero_grad()
    out = module(maps)
    slopes = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out.dtype)
    found = torch.autograd.grad(out, [maps, *module.parameters()], slopes)
    return [out, *found]


@pytest.mark.parametrize("layout", [LAST, FIRST])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_values_and_gradients_are_torchs(dtype: torch.dtype, layout: torch.memory_format) -> None:
    ours, theirs = _pair(6)
    if dtype == torch.float64:
        ours, theirs = ours.double(), theirs.double()
    near = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 0.05}[dtype]
    found = _out_and_gradients(ours, _maps(dtype, layout))
    expected = _out_and_gradients(theirs, _maps(dtype, layout))
    for ours_, theirs_ in zip(found, expected, strict=True):
        assert ours_.dtype == theirs_.dtype
        torch.testing.assert_close(ours_, theirs_, atol=near, rtol=near)


def test_of_half_precision_the_statistics_are_not() -> None:
    ours, _ = _pair(6)
    maps = (300 + torch.randn(3, 6, 32, 16)).bfloat16()
    exact = nn.functional.instance_norm(maps.double(), weight=ours.weight.double(), bias=ours.bias.double())
    torch.testing.assert_close(ours(maps).double(), exact, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [LAST, FIRST])
def test_the_layout_is_kept_forward_and_backward(dtype: torch.dtype, layout: torch.memory_format) -> None:
    out, of_maps, *_ = _out_and_gradients(_pair(6)[0], _maps(dtype, layout))
    assert out.is_contiguous(memory_format=layout)
    assert of_maps.is_contiguous(memory_format=layout)


def test_both_halves_of_ibn_keep_channels_last() -> None:
    out, of_maps, *_ = _out_and_gradients(IBN(6), _maps())
    assert out.is_contiguous(memory_format=LAST)
    assert of_maps.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("name", ["resnet18_ibn_a", "resnet18_ibn_b"])
def test_every_convolution_of_a_network_meets_channels_last(name: str) -> None:
    network = RESNETS[name](1).to(memory_format=LAST)
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(
                lambda _, inputs: seen.append(inputs[0].is_contiguous(memory_format=LAST))
            )
            module.register_full_backward_pre_hook(
                lambda _, slopes: seen.append(slopes[0].is_contiguous(memory_format=LAST))
            )
    network(torch.randn(2, 3, 64, 32).to(memory_format=LAST)).sum().backward()
    assert len(seen) > 30
    assert all(seen)


def test_one_pixel_is_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm2d(2)(torch.ones(2, 2, 1, 1))


def test_an_export_keeps_the_operator() -> None:
    ours, theirs = _pair(6)
    exported = torch.export.export(ours.eval(), (_maps().detach(),))
    assert any("instance_norm" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(_maps()), theirs.eval()(_maps()))
