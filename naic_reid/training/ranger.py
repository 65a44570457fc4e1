"""Ranger: rectified Adam that looks back every few steps at where it came from.

The inner steps are torch's own RAdam (Liu et al. 2020, algorithm 2) with decoupled weight decay, whose
variance is taken as known when N_sma > 5, else the step is plain momentum: the same rule as the
original's. Look-ahead (Zhang et al. 2019, algorithm 1) stands here because timm's starts its slow
weights from the fast ones at the first synchronisation, so that its first six steps are not pulled
back; the original's start from the weights before the first step.

Source: the constants are those of the original's Ranger (lessw2020, Apache-2.0), restated.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

STEPS = 6
"""Fast steps between two looks back."""
SHARE = 0.5
"""Of the way from slow to fast weights that is kept."""


class Ranger(torch.optim.RAdam):
    """RAdam with look-ahead; slow weights are part of each parameter's state, hence of `state_dict`."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, decoupled_weight_decay=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        moving = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        starts = {p: p.clone() for p in moving if p not in self.state}
        loss: float | None = super().step(closure)
        for p, start in starts.items():
            self.state[p]["slow"] = start
        due = [p for p in moving if int(self.state[p]["step"]) % STEPS == 0]
        if due:
            slow = [self.state[p]["slow"] for p in due]
            torch._foreach_lerp_(slow, due, SHARE)
            torch._foreach_copy_(due, slow)
        return loss
