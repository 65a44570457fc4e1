"""Convolution with spread taps, against bilinear loops, dilation, torchvision, and finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d

from naic_reid.models import scaled_conv
from naic_reid.models.scaled_conv import convolved, convolved_each, kernels, spread
from tests.oracles.partial import bilinear

PAIRS = [(1.5, 1.0), (2.0, 1.0), (0.6, 0.8), (1.3, 2.4)]


def _both(size: int, groups: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    maps = torch.randn(2, 4, 11, 9, generator=generator)
    weight = torch.randn(6, 4 // groups, size, size, generator=generator)
    return maps, weight, torch.randn(6, generator=generator)


def _scaled(
    maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, scale: object, stride: int = 1,
    groups: int = 1,
) -> torch.Tensor:  # fmt: skip
    return convolved(maps, kernels(weight, torch.as_tensor(scale)), bias, (stride, stride), groups)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("scale", PAIRS)
def test_taps_are_where_a_deformable_convolution_puts_them(
    scale: tuple[float, float], size: int, stride: int
) -> None:
    maps, weight, bias = _both(size)
    taps = torch.arange(size) - size // 2
    rows, columns = torch.meshgrid(taps, taps, indexing="ij")
    offsets = torch.stack(((scale[0] - 1) * rows, (scale[1] - 1) * columns), 2).view(1, -1, 1, 1)
    shape = F.conv2d(maps, weight, stride=stride, padding=size // 2).shape[2:]
    expected = deform_conv2d(maps, offsets.expand(2, -1, *shape), weight, bias, stride, size // 2)
    found = _scaled(maps, weight, bias, scale, stride)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [*PAIRS, (0.5, 3.0)])
def test_a_scaled_convolution_is_what_its_loops_say(scale: tuple[float, float]) -> None:
    maps, weight, _ = _both(3)
    found = _scaled(maps[:1, :2].double(), weight[:1, :2].double(), None, torch.tensor(scale).double(), 2)
    expected = bilinear(maps[0, :2].numpy(), weight[0, :2].numpy(), *scale, stride=2)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [3, 7])
def test_scale_1_is_the_plain_convolution_to_the_bit_and_whole_scales_are_dilation(
    size: int, groups: int
) -> None:
    maps, weight, bias = _both(size, groups)
    plain = F.conv2d(maps, weight, bias, 2, size // 2, groups=groups)
    assert torch.equal(kernels(weight, torch.ones(2)), weight)
    assert torch.equal(_scaled(maps, weight, bias, [1.0, 1.0], 2, groups), plain)
    dilated = F.conv2d(maps, weight, bias, 1, (2 * (size // 2), 3 * (size // 2)), (2, 3), groups)
    found = _scaled(maps, weight, bias, [2.0, 3.0], 1, groups)
    torch.testing.assert_close(found, dilated, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("groups", "places"), [(1, 0), (1, 99), (2, 99)])
def test_images_of_unequal_scales_are_convolved_together_as_one_by_one(
    groups: int, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a kernel for each, and by what the taps see of each; so are the gradients of all that takes part."""
    monkeypatch.setattr(scaled_conv, "_PLACES", places)
    maps, weight, bias = _both(3, groups)
    scales = torch.tensor([[1.5, 0.7], [0.9, 2.2]])
    parts = [each.requires_grad_() for each in (maps, weight, bias, scales)]
    together = convolved_each(maps, weight, scales, bias, (2, 1), groups)
    one_by_one = [
        convolved(maps[image : image + 1], kernels(weight, scale), bias, (2, 1), groups)
        for image, scale in enumerate(scales)
    ]
    torch.testing.assert_close(together, torch.cat(one_by_one), atol=1e-5, rtol=1e-5)
    pulled = torch.randn(together.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(together, parts, pulled)
    expected = torch.autograd.grad(torch.cat(one_by_one), parts, pulled)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("scale", "kernel", "expected"),
    [
        (1.5, [0.5, 0.5, 2, 1.5, 1.5], [11, 22.5, 45.5, 43, 38]),
        (1.0, [1, 2, 3], [8, 17, 34, 68, 40]),
        (2.0, [1, 0, 2, 0, 3], [14, 28, 57, 18, 36]),
        (0.5, [0.5, 4, 1.5], [7, 14.5, 29, 58, 68]),
    ],
)
def test_one_column_by_hand(scale: float, kernel: list[float], expected: list[float]) -> None:
    column = torch.tensor([1.0, 2, 4, 8, 16]).view(1, 1, 5, 1)
    weight = torch.tensor([1.0, 2, 3]).view(1, 1, 3, 1)
    made = kernels(weight, torch.tensor([scale, 1.0]))
    assert made.flatten().tolist() == kernel
    found = convolved(column, made, None, (1, 1), 1)
    assert found.flatten().tolist() == expected


@pytest.mark.parametrize(("scale", "error"), [(2.0, 1e-5), (3.0, 1e-5), (1.5, 0.003), (0.5, 0.03)])
def test_what_was_stretched_is_seen_as_it_was_before(scale: float, error: float) -> None:
    """The control of scaled taps: the plain convolution of what was not stretched, far from borders."""
    weight = torch.tensor([1.0, 2, 3]).view(1, 1, 3, 1)
    places = torch.arange(60) / scale
    stretched = torch.sin(0.1 * places + 1).view(1, 1, 60, 1)
    expected = sum(tap * torch.sin(0.1 * (places + at) + 1) for at, tap in ((-1, 1), (0, 2), (1, 3)))
    scaled = convolved(stretched, kernels(weight, torch.tensor([scale, 1.0])), None, (1, 1), 1)
    plain = F.conv2d(stretched, weight, padding=(1, 0))
    far, usual = ((each.flatten() - expected)[5:-5].abs().max() for each in (scaled, plain))
    assert far < error and usual > 0.05


@pytest.mark.parametrize("at", [1.25, 0.8, 1.5])
def test_the_gradient_by_the_scale_is_that_of_finite_differences(at: float) -> None:
    maps, weight, _ = (each.double() for each in _both(3))

    def total(scale: torch.Tensor) -> torch.Tensor:
        return (_scaled(maps, weight, None, scale) ** 2).sum()

    scale = torch.tensor([at, 1.1], dtype=torch.float64, requires_grad=True)
    total(scale).backward()
    assert scale.grad is not None
    for side in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[side] = 1e-5
        slope = (total(scale.detach() + step) - total(scale.detach() - step)) / 2e-5
        assert scale.grad[side].item() == pytest.approx(slope.item(), rel=1e-6)


@pytest.mark.parametrize(("at", "slope"), [(1.5, 23), (1.0, 22)])
def test_the_slope_of_the_column_by_hand(at: float, slope: float) -> None:
    column, weight = (
        torch.tensor([1.0, 2, 4, 8, 16]).view(1, 1, 5, 1),
        torch.tensor([1.0, 2, 3]).view(1, 1, 3, 1),
    )
    scale = torch.tensor([at, 1.0], requires_grad=True)
    convolved(column, kernels(weight, scale), None, (1, 1), 1)[0, 0, 2, 0].backward()
    assert scale.grad is not None and scale.grad[0] == slope


def test_taps_are_shared_between_their_two_neighbours() -> None:
    found = spread(torch.tensor([1.5, 0.5]), 1, 2)
    assert found[0].tolist() == [[0.5, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, 0, 0.5], [0, 0, 0.5]]
    assert found[1].tolist() == [[0, 0, 0], [0.5, 0, 0], [0.5, 1, 0.5], [0, 0, 0.5], [0, 0, 0]]
    assert torch.equal(found.sum(1), torch.ones(2, 3))
