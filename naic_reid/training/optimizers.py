"""Optimizers by name, over groups of parameters that keep their own learning rate.

To add one: a line in the dict and a literal in `config/training.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from naic_reid.errors import ReidError
from naic_reid.training.ranger import Ranger

BASE_RATE = "base_rate"
"""The key of a parameter group that holds its learning rate (lr) before the schedule."""
NAME = "group"
"""The key of a parameter group that holds its name."""

Groups = list[dict[str, Any]]


def _ranger(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return Ranger(groups, weight_decay=weight_decay)


def _adam(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, weight_decay=weight_decay, fused=True)


def _adamw(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)


def _sgd(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay, fused=True)


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
    name: str,
    groups: Mapping[str, tuple[Iterable[Tensor], float]],
    weight_decay: float,
    *,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer of that name over groups (parameters, learning rate) by name, empty ones left out.

    `nesterov` is a word of those of stochastic gradient descent.

    Raises:
        ReidError: it comes from a package that is not installed.
    """
    more = {"nesterov": True} if nesterov else {}
    made = [
        {"params": list(parameters), "lr": rate, BASE_RATE: rate, NAME: group, **more}
        for group, (parameters, rate) in groups.items()
    ]
    return OPTIMIZERS[name]([group for group in made if group["params"]], weight_decay)


def set_rates(optimizer: torch.optim.Optimizer, rates: Mapping[str, float]) -> None:
    """Other learning rates before the schedule, by the names of groups."""
    for group in optimizer.param_groups:
        group[BASE_RATE] = rates[group[NAME]]


def allocate(optimizer: torch.optim.Optimizer) -> None:
    """Have the state of parameters that shall be trained and have none yet, all 0, as before a first step.

    Optimizers allocate it in the middle of their first step, when a full memory would leave some parameters
    moved and others not. Where memory does not suffice, nothing has moved.
    """
    fresh = [
        p for group in optimizer.param_groups for p in group["params"]
        if p.requires_grad and p not in optimizer.state
    ]  # fmt: skip
    if not fresh:
        return
    if isinstance(optimizer, Ranger):
        optimizer.allocate(fresh)
        return
    options = [dict(group) for group in optimizer.param_groups]
    optimizer.zero_grad(set_to_none=True)
    try:
        for p in fresh:
            p.grad = torch.zeros_like(p)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
        for p in fresh:
            for value in optimizer.state[p].values():
                if isinstance(value, Tensor):
                    value.zero_()
    except Exception:
        for p in fresh:
            optimizer.state.pop(p, None)
        raise
    finally:
        optimizer.zero_grad(set_to_none=True)
        for group, was in zip(optimizer.param_groups, options, strict=True):
            group.clear()
            group.update(was)


def step(optimizer: torch.optim.Optimizer, taken: Tensor) -> None:
    """A step by the gradients or, where `taken` is false, none: bool on the device, unknown to the host.

    An optimizer that cannot skip on the device, as those of apex, makes the host wait for the answer.
    """
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        if taken.item():
            optimizer.step()
        return
    skipping: Any = optimizer
    skipping.grad_scale, skipping.found_inf = None, (~taken).float()  # as GradScaler hands them over
    try:
        optimizer.step()
    finally:
        del skipping.grad_scale, skipping.found_inf


def untake(optimizer: torch.optim.Optimizer) -> None:
    """What the host counted of the last step, which the device skipped, is not counted."""
    if isinstance(optimizer, Ranger):
        optimizer.untake()
