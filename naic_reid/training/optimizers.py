"""Optimizers by name, over groups of parameters that keep their own learning rate.

To add one: a line in the dict and a literal in `config.py`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from naic_reid.training.loop import BASE_RATE
from naic_reid.training.ranger import Ranger

Groups = list[dict[str, Any]]


def _ranger(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return Ranger(groups, weight_decay=weight_decay)


def _adam(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, weight_decay=weight_decay)


def _sgd(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[[Groups, float], torch.optim.Optimizer]] = {
    "ranger": _ranger,
    "adam": _adam,
    "sgd": _sgd,
}


def build(
    name: str, groups: Iterable[tuple[Iterable[Tensor], float]], weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer of that name over (parameters, learning rate) groups, empty ones left out."""
    made = [{"params": list(parameters), "lr": rate, BASE_RATE: rate} for parameters, rate in groups]
    return OPTIMIZERS[name]([group for group in made if group["params"]], weight_decay)
