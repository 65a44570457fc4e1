"""Losses of two variations of images without labels."""

import math

import pytest
import torch
from torch import Tensor

from naic_reid.losses import CONSISTENCIES

ONE = torch.tensor([[2.0, 0, -1], [0, 1, 0]], dtype=torch.float64)
OTHER = torch.tensor([[1.0, 0.5, 0], [0, 2, -1]], dtype=torch.float64)


def _shares(row: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def _divergence(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _by_definition(form: str, one: Tensor, other: Tensor) -> float:
    found = []
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        p, q = _shares(a), _shares(b)
        m = _shares([x + y for x, y in zip(a, b, strict=True)])
        two = (p, q), (q, p)
        if form == "twin":
            two = (m, p), (m, q)
        found.append(sum(_divergence(*pair) for pair in two) / 2)
    return sum(found) / len(found)


@pytest.mark.parametrize(("form", "stated"), [("teacher", 0.2539344212), ("twin", 0.1966984550)])
def test_each_form_is_its_definition_and_its_stated_value(form: str, stated: float) -> None:
    assert CONSISTENCIES[form](ONE, OTHER).item() == pytest.approx(stated, abs=1e-7)  # of float32
    assert _by_definition(form, ONE, OTHER) == pytest.approx(stated, abs=1e-10)
    rows = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(2)) * 4
    assert CONSISTENCIES[form](*rows).item() == pytest.approx(_by_definition(form, *rows.double()), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert CONSISTENCIES[form](*rows).dtype == torch.float32


def test_the_older_sum_over_the_batch_is_the_mean_by_a_larger_weight() -> None:
    assert len(ONE) * CONSISTENCIES["twin"](ONE, OTHER).item() == pytest.approx(0.3933969101, abs=2e-7)


@pytest.mark.parametrize("form", CONSISTENCIES)
def test_gradients_go_through_targets_too_and_equal_rows_have_none(form: str) -> None:
    one, other = (rows.clone().requires_grad_() for rows in (ONE, OTHER))
    CONSISTENCIES[form](one, other).backward()
    step = 1e-3
    for rows, grad in ((one, one.grad), (other, other.grad)):
        for place in ((0, 0), (1, 2)):
            moved = []
            for sign in (1, -1):
                shifted = rows.detach().clone()
                shifted[place] += sign * step
                moved.append(_by_definition(form, *((shifted, OTHER) if rows is one else (ONE, shifted))))
            assert grad[place].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-5)
    same = ONE.clone().requires_grad_()
    value = CONSISTENCIES["teacher"](same, ONE)
    value.backward()
    assert abs(value.item()) < 1e-7 and same.grad.abs().max() < 1e-7
