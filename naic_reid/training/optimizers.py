"""Optimizers by name, over groups of parameters that keep their own learning rate.

To add one: a line in the dict and a literal in `config/training.py`.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from naic_reid.errors import ReidError
from naic_reid.training.loop import BASE_RATE
from naic_reid.training.ranger import Ranger

Groups = list[dict[str, Any]]


def _ranger(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return Ranger(groups, weight_decay=weight_decay)


def _adam(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, weight_decay=weight_decay, fused=True)


def _adamw(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)


def _sgd(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay)


def _apex(name: str, **options: float) -> Callable[[Groups, float], torch.optim.Optimizer]:
    def build(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
        try:
            optimizers = import_module("apex.optimizers")
        except ImportError as error:
            raise ReidError(
                f"train.optimizer needs apex's {name}, which is not installed here: install NVIDIA's apex "
                "with its CUDA extensions, or take adam or sgd, whose fused kernels are torch's own"
            ) from error
        made: torch.optim.Optimizer = getattr(optimizers, name)(groups, weight_decay=weight_decay, **options)
        return made

    return build


OPTIMIZERS: dict[str, Callable[[Groups, float], torch.optim.Optimizer]] = {
    "ranger": _ranger,
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "apex_adam": _apex("FusedAdam", adam_w_mode=False),
    "apex_sgd": _apex("FusedSGD", momentum=0.9),
}


def build(
    name: str, groups: Iterable[tuple[Iterable[Tensor], float]], weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer of that name over (parameters, learning rate) groups, empty ones left out.

    Raises:
        ReidError: it comes from a package that is not installed.
    """
    made = [{"params": list(parameters), "lr": rate, BASE_RATE: rate} for parameters, rate in groups]
    return OPTIMIZERS[name]([group for group in made if group["params"]], weight_decay)
