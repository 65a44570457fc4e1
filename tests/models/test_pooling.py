"""Pooling: the formula, float32 in whatever comes, and a slope that is finite at 0."""

import pytest
import torch

from naic_reid.models.pooling import POOLINGS, Average, GeM


def test_gem_is_the_cube_root_of_the_mean_cube() -> None:
    x = torch.rand(3, 5, 4, 2)
    expected = (x.double() ** 3).mean((2, 3)) ** (1 / 3)
    torch.testing.assert_close(GeM()(x).double(), expected)


def test_average_is_the_mean_over_positions() -> None:
    x = torch.randn(3, 5, 4, 2)
    torch.testing.assert_close(Average()(x), x.sum((2, 3)) / 8)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_pooling_answers_in_float32(name: str, dtype: torch.dtype) -> None:
    x = torch.full((2, 3, 4, 4), 1e-3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = POOLINGS[name]()(x)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.full((2, 3), 1e-3), rtol=5e-3, atol=0)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e-30])
def test_gem_has_a_finite_slope_where_nothing_is_active(value: float) -> None:
    x = torch.full((2, 3, 4, 4), value, requires_grad=True)
    pooled = GeM()(x)
    pooled.sum().backward()
    torch.testing.assert_close(pooled, torch.full((2, 3), 1e-6), rtol=1e-4, atol=0)
    assert torch.isfinite(x.grad).all()
