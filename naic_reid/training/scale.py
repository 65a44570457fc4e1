"""The factor that keeps small gradients of float16 above 0: loss scaling."""

import torch
from torch import Tensor

GROWS_AFTER = 2000
"""Steps without an overflow."""


class LossScale:
    """A factor of the loss that halves with each overflow and doubles after 2,000 steps without one.

    Source: Micikevicius et al. 2018, section 3.2; the constants are those of `torch.amp.GradScaler`, whose
    results it gives. Unlike that, it takes the word of the step for whether there was an overflow, asks the
    host nothing, and can be put back.
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), 2.0**16, device=device)
        self._good = torch.zeros((), device=device)
        self._before = self.value.clone(), self._good.clone()

    def update(self, taken: Tensor) -> None:
        """After a step; `taken` says, bool on the device, that nothing overflowed."""
        for kept, live in zip(self._before, (self.value, self._good), strict=True):
            kept.copy_(live)
        self._good.add_(1).mul_(taken)
        grows = self._good == GROWS_AFTER
        self.value.mul_(torch.where(taken, 1.0 + grows.float(), 0.5)).clamp_(max=2.0**120)
        self._good.mul_(~grows)

    def put_back(self) -> None:
        """Be as before the last update."""
        for kept, live in zip(self._before, (self.value, self._good), strict=True):
            live.copy_(kept)

    def state_dict(self) -> dict[str, Tensor]:
        return {"value": self.value, "good": self._good}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.value.copy_(state["value"])
        self._good.copy_(state["good"])
