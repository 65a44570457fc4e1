"""Averages of a network's weights over training, which are kept in the place of the last ones."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from naic_reid.training.repeatable import generators, set_generators

_Network = TypeVar("_Network", bound=nn.Module)


class Average(Generic[_Network]):
    """A network of averages, beside one that is trained, and how many weights it was made of."""

    def __init__(self, network: _Network) -> None:
        """Of the network, which stays as it is."""
        self.network = copy.deepcopy(network).requires_grad_(False)
        """The average."""
        self.count = 0
        """Of weights taken in; nothing is averaged at 0."""
        self._trained = network
        self._live = [*network.parameters(), *network.buffers()]

    def after_step(self, instead: Mapping[Tensor, Tensor] = {}) -> None:
        """Learn of weights after a step; `instead` gives values for some, which have moved on."""

    def after_epoch(self, epoch: int) -> None:
        """Learn of weights after an epoch, from 0."""

    def settled(self, batches: Iterable[Sequence[Any]]) -> _Network:
        """The network to keep; `batches`, whose first is images, are those of an epoch."""
        return self.network

    @torch.no_grad()
    def _take(self, share: float, instead: Mapping[Tensor, Tensor] = {}) -> None:
        """(1 − share) · average + share · weights, running statistics included; counts are copied."""
        live = [instead.get(tensor, tensor).detach() for tensor in self._live]
        own = [*self.network.parameters(), *self.network.buffers()]
        moves = [self.count > 0 and tensor.is_floating_point() for tensor in own]
        pairs = list(zip(own, live, moves, strict=True))
        if smooth := [(a, b) for a, b, moving in pairs if moving]:
            averages, values = map(list, zip(*smooth, strict=True))
            torch._foreach_lerp_(averages, values, share)
        for a, b, moving in pairs:
            if not moving:
                a.copy_(b)
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.count = state["count"]


class Moving(Average[_Network]):
    """The exponential moving average (EMA): decay · average + (1 − decay) · weights after each step.

    Begins as the weights after the first step (as `torch.optim.swa_utils.AveragedModel`, which asks the
    device for a count at each step).
    """

    def __init__(self, network: _Network, decay: float) -> None:
        super().__init__(network)
        self._decay = decay

    def after_step(self, instead: Mapping[Tensor, Tensor] = {}) -> None:
        """Take in the weights as they are now."""
        self._take(1 - self._decay, instead)


class Equal(Average[_Network]):
    """The mean of the weights after each epoch from one on (SWA, Izmailov et al. 2018)."""

    def __init__(self, network: _Network, first: int) -> None:
        """`first` is the epoch, from 0, after which the first weights are taken."""
        super().__init__(network)
        self._first = first

    def after_epoch(self, epoch: int) -> None:
        """Take in the weights of an epoch that counts."""
        if epoch >= self._first:
            self._take(1 / (self.count + 1))

    @torch.no_grad()
    def settled(self, batches: Iterable[Sequence[Any]]) -> _Network:
        """The average, batch normalisation's statistics made anew from an epoch's images.

        The running statistics of averaged weights are no averages of running statistics. A normalisation that
        is frozen keeps its own. Random generators are left as they were, so that training goes on as it would
        have.
        """
        device = next(self.network.parameters()).device
        before = generators(device)
        norms: list[tuple[_BatchNorm, float | None]] = []
        for own, trained in zip(self.network.modules(), self._trained.modules(), strict=True):
            own.training = trained.training
            if own.training and isinstance(own, _BatchNorm):
                norms.append((own, own.momentum))
                own.reset_running_stats()
                own.momentum = None  # the mean over batches
        for images, *_ in batches:
            self.network(images)
        for own, momentum in norms:
            own.momentum = momentum
        set_generators(before, device)
        return self.network
