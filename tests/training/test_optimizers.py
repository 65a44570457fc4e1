"""Optimizers by name."""

import sys
from typing import get_args

import pytest
import torch

from naic_reid.config import Train
from naic_reid.errors import ReidError
from naic_reid.training import optimizers

BUILT_IN = [name for name in optimizers.OPTIMIZERS if not name.startswith("apex")]


def test_the_config_names_every_optimizer() -> None:
    assert set(get_args(Train.model_fields["optimizer"].annotation)) == set(optimizers.OPTIMIZERS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_steps_downhill_at_its_groups_rates(name: str) -> None:
    slow, quick, still = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    optimizer = optimizers.build(
        name, {"slow": ([slow], 0.001), "quick": ([quick], 0.01), "none": ([], 0.1)}, 0.0
    )
    assert [group[optimizers.BASE_RATE] for group in optimizer.param_groups] == [0.001, 0.01]
    for _ in range(5):
        for p in (slow, quick):
            p.grad = torch.ones(1)
        optimizer.step()
    assert 1 - quick.item() == pytest.approx(10 * (1 - slow.item()), rel=1e-2)
    assert quick.item() < 0.99
    assert still.item() == 1


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_is_what_its_definition_says(nesterov: bool) -> None:
    weight = torch.nn.Parameter(torch.tensor([0.5, -2.0]))
    optimizer = optimizers.build("sgd", {"body": ([weight], 0.1)}, 0.01, nesterov=nesterov)
    optimizers.allocate(optimizer)
    expected, velocity = weight.detach().clone().double(), torch.zeros(2, dtype=torch.float64)
    for number in range(4):
        gradient = torch.tensor([1.0, -0.5 * number])
        weight.grad = gradient
        optimizers.step(optimizer, torch.tensor(True))
        pull = gradient.double() + 0.01 * expected
        velocity = 0.9 * velocity + pull
        expected = expected - 0.1 * (pull + 0.9 * velocity if nesterov else velocity)
        torch.testing.assert_close(weight.detach().double(), expected, atol=1e-6, rtol=0)


def test_learning_rates_are_set_by_the_names_of_groups() -> None:
    body, head = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = optimizers.build("sgd", {"body": ([body], 0.1), "head": ([head], 0.1)}, 0.0)
    optimizers.set_rates(optimizer, {"head": 0.3, "body": 0.2})
    assert [group[optimizers.BASE_RATE] for group in optimizer.param_groups] == [0.2, 0.3]


@pytest.mark.parametrize("name", ["apex_adam", "apex_sgd"])
def test_a_missing_package_is_an_error_with_its_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apex.optimizers", None)
    with pytest.raises(ReidError, match=r"apex.*or take adam or sgd"):
        optimizers.build(name, {"body": ([torch.nn.Parameter(torch.ones(1))], 0.1)}, 0.0)
