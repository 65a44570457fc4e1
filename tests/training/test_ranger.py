"""Ranger against the papers' loops."""

import copy

import numpy as np
import pytest
import torch

from naic_reid.training.ranger import Ranger
from tests.oracles.ranger import ranger


def _gradients(num: int) -> list[float]:
    return np.random.default_rng(0).normal(0.3, 1, num).astype(np.float32).tolist()


def _walk(optimizer: Ranger, weight: torch.nn.Parameter, gradients: list[float]) -> list[float]:
    path = []
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=weight.dtype)
        optimizer.step()
        path.append(weight.item())
    return path


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_thirty_steps_follow_the_papers(decay: float) -> None:
    weight = torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    path = _walk(Ranger([weight], lr=0.1, weight_decay=decay), weight, _gradients(30))
    assert path == pytest.approx(ranger(0.7, _gradients(30), rate=0.1, decay=decay), abs=1e-12)


def test_a_saved_state_goes_on_to_the_same_bits() -> None:
    weight = torch.nn.Parameter(torch.tensor([0.7]))
    optimizer = Ranger([weight], lr=0.1)
    whole = _walk(optimizer, weight, _gradients(20))
    for cut in (1, 5, 6, 9):
        weight = torch.nn.Parameter(torch.tensor([0.7]))
        optimizer = Ranger([weight], lr=0.1)
        _walk(optimizer, weight, _gradients(20)[:cut])
        state = copy.deepcopy(optimizer.state_dict())
        weight = torch.nn.Parameter(weight.detach().clone())
        optimizer = Ranger([weight], lr=0.1)
        optimizer.load_state_dict(state)
        assert _walk(optimizer, weight, _gradients(20)[cut:]) == whole[cut:]


def test_parameters_without_gradients_stay_and_hold_no_state() -> None:
    moved, still = (torch.nn.Parameter(torch.tensor([0.7])) for _ in range(2))
    optimizer = Ranger([moved, still], lr=0.1)
    _walk(optimizer, moved, _gradients(8))
    assert still.item() == pytest.approx(0.7)
    assert still not in optimizer.state
