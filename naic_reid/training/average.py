"""The exponential moving average (EMA) of a network's weights."""

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

_Network = TypeVar("_Network", bound=nn.Module)


class Average(Generic[_Network]):
    """decay · average + (1 − decay) · weights after each step, running statistics included.

    Begins as the weights after the first step (as `torch.optim.swa_utils.AveragedModel`, which asks the
    device for a count at each step).
    """

    def __init__(self, network: _Network, decay: float) -> None:
        """Of the network, which stays as it is."""
        self.network = copy.deepcopy(network).requires_grad_(False)
        """The average."""
        self._decay, self._begun = decay, False
        self._live = [*network.parameters(), *network.buffers()]

    @torch.no_grad()
    def update(self, instead: Mapping[Tensor, Tensor] = {}) -> None:
        """Take in the weights as they are now; `instead` gives values for some, which have moved on."""
        live = [instead.get(tensor, tensor).detach() for tensor in self._live]
        own = [*self.network.parameters(), *self.network.buffers()]
        moves = [self._begun and tensor.is_floating_point() for tensor in own]
        pairs = list(zip(own, live, moves, strict=True))
        if smooth := [(a, b) for a, b, moving in pairs if moving]:
            averages, values = map(list, zip(*smooth, strict=True))
            torch._foreach_lerp_(averages, values, 1 - self._decay)
        for a, b, moving in pairs:
            if not moving:
                a.copy_(b)
        self._begun = True

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "begun": self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self._begun = state["begun"]
