"""A teacher: a moving average of a network whose features the network is drawn towards while it learns."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """τ · teacher + (1 − τ) · network after each step, running statistics included; it gives no gradient.

    Always in evaluation mode. Begins as the network is. It is part of what is saved, and follows a step that
    is on its way as the device knows it, so that a run that is cut off goes on to the same bits.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Of a network, which stays as it is; `decay` is τ."""
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay, self._student = decay, (network,)  # in a tuple: it is no part of this module
        self.train()

    def train(self, _mode: bool = True) -> "Teacher":
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        """What the network's average sees in images."""
        return self.network(images)

    @torch.no_grad()
    def restart(self) -> None:
        """Be as the network is, whose weights have been put in since."""
        (student,) = self._student
        for own, live in zip(_tensors(self.network), _tensors(student), strict=True):
            own.copy_(live)

    @torch.no_grad()
    def follow(self, taken: Tensor) -> None:
        """Move towards the network as it is now, where `taken` is true."""
        (student,) = self._student
        pairs = zip(_tensors(self.network), _tensors(student), strict=True)
        for own, live in pairs:
            aim = live.detach()
            moved = torch.lerp(own, aim, 1 - self._decay) if own.is_floating_point() else aim
            own.copy_(torch.where(taken, moved, own))

    def forget(self) -> None:
        """Nothing is kept from a forward pass."""


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
