"""Ranger: rectified Adam that looks back every few steps at where it came from.

The rectified step (Liu et al. 2020, algorithm 2, with decoupled weight decay) is one of AdamW with
another rate, decay and eps, so torch's fused kernel takes it in one pass over memory, on CPUs and GPUs:
a step of torch's own RAdam took a seventh of a ResNet-18's training time at batch 32. Look-ahead (Zhang
et al. 2019, algorithm 1) stands here because timm's begins its slow weights at the first
synchronisation; the original's begin before the first step, so that the first six are pulled back too.

Source: the constants are those of the original's Ranger (lessw2020, Apache-2.0), restated.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

STEPS = 6
"""Fast steps between two looks back."""
SHARE = 0.5
"""Of the way from slow to fast weights that is kept."""
LEAST_LENGTH = 5
"""Of the approximated moving average; up to it the variance is unknown and steps are plain momentum."""


class Ranger(torch.optim.Optimizer):
    """RAdam with look-ahead; slow weights are part of each parameter's state, hence of `state_dict`."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._step_supports_amp_scaling = True
        self._moved: list[Tensor] = []

    @torch.no_grad()
    def allocate(self, params: Iterable[Tensor]) -> None:
        """Make the state of parameters before their first step."""
        fresh = list(params)
        made = [
            {"step": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p), "slow": p.detach().clone()}
            for p in fresh
        ]
        self.state.update(zip(fresh, made, strict=True))

    def untake(self) -> None:
        """The last step, which the device skipped, does not count."""
        for p in self._moved:
            self.state[p]["step"] -= 1
        self._moved = []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; or none, and counted until `untake`, where `found_inf` is 1 on the device."""
        assert closure is None
        skip: Tensor | None = getattr(self, "found_inf", None)
        moving = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.allocate(p for p in moving if p not in self.state)
        for group in self.param_groups:
            by_age = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_age[self.state[p]["step"] + 1].append(p)
            for age, fast in by_age.items():
                self._move(group, age, fast, skip)
        for p in moving:
            self.state[p]["step"] += 1
        self._moved = moving

    def _move(self, group: dict[str, Any], t: int, fast: list[Tensor], skip: Tensor | None) -> None:
        """Step number t of parameters that have taken t − 1."""
        rate, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        gradients = [p.grad for p in fast if p.grad is not None]
        m, v, slow = ([self.state[p][name] for p in fast] for name in ("m", "v", "slow"))
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        if length > LEAST_LENGTH:
            rectified = math.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            )
            # AdamW divides by √v / √(1 − β₂ᵗ) + eps where RAdam has (√v + eps) / √(1 − β₂ᵗ).
            age = torch.full((), t, dtype=torch.float32, device=fast[0].device)
            torch._fused_adamw_(
                fast, gradients, m, v, [], [age] * len(fast), lr=rate * rectified, beta1=beta1, beta2=beta2,
                weight_decay=decay / rectified, eps=group["eps"] / math.sqrt(1 - beta2**t), amsgrad=False,
                maximize=False, found_inf=skip,
            )  # fmt: skip
        elif skip is None or not skip.item():  # the host waits here in the first few steps, and never again
            torch._foreach_mul_(fast, 1 - rate * decay)
            torch._foreach_lerp_(m, gradients, 1 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, gradients, gradients, 1 - beta2)
            torch._foreach_add_(fast, m, alpha=-rate / (1 - beta1**t))
        if t % STEPS == 0:
            kept = torch.ones((), device=fast[0].device) if skip is None else 1 - skip
            # A weight of 0 or 1 leaves or copies to the bit.
            torch._foreach_lerp_(slow, fast, [SHARE * kept] * len(fast))
            torch._foreach_lerp_(fast, slow, [kept] * len(fast))
