"""All that training moves, in one place: it is saved whole, loaded whole and put back whole.

Parameters move in the optimizer alone; running statistics and random generators already in the forward
pass. A step that ends in an error, or is found not to be finite when its numbers arrive, is taken back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from naic_reid.training import optimizers
from naic_reid.training.average import Average
from naic_reid.training.repeatable import generators, set_generators
from naic_reid.training.saving import copied
from naic_reid.training.scale import LossScale

_COUNTS = ("epoch", "step", "skipped", "overflows")


@runtime_checkable
class Follower(Protocol):
    """A module that moves something of its own after each step, as class centres do."""

    def follow(self, taken: Tensor) -> None:
        """Move by what was seen since the last call, where the step was taken (bool, on the device)."""

    def forget(self) -> None:
        """Drop what was seen: the step is begun anew."""


class State:
    """Learner, optimizer, loss scale, average, generators, epoch and step."""

    def __init__(
        self,
        learner: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        called: nn.Module | None = None,
        average: Average[Any] | None = None,
    ) -> None:
        """`called` is the learner as it is called where it is wrapped for several processes or compiled."""
        self.learner, self.optimizer, self.average = learner, optimizer, average
        self.called = called or learner
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.followers = [module for module in learner.modules() if isinstance(module, Follower)]
        self.scale = LossScale(self.device)
        """For steps in fp16."""
        self.epoch, self.step = 0, 0
        """Of the next step, from 0."""
        self.skipped = 0
        """Steps in a row, the last included, whose gradient overflowed in fp16."""
        self.overflows = 0
        """Such steps, in all."""
        self.pending: Pending | None = None
        """The step whose numbers have not been read."""
        self.unsaid: Any = None
        """The record of a step that was settled while the one after it failed, until that is taken."""
        self._before: list[_Before] = []
        self._spare = [_Before(learner, self.device) for _ in range(2)]

    @property
    def device(self) -> torch.device:
        place: torch.device = self.parameters[0].device
        return place

    def begin(self) -> None:
        """Remember how all is before a step that may fail."""
        self.optimizer.zero_grad(set_to_none=True)
        optimizers.allocate(self.optimizer)
        for follower in self.followers:
            follower.forget()
        before = self._spare.pop()
        before.remember()
        self._before.append(before)

    def take_back(self) -> None:
        """Put all back as it was at the last `begin`."""
        self.optimizer.zero_grad(set_to_none=True)
        before = self._before.pop()
        before.put_back()
        self._spare.append(before)

    def take_back_all(self) -> None:
        """Put all back as it was before the step whose numbers are being read, which the device skipped."""
        assert self.pending is not None
        while self._before:
            self.take_back()
        optimizers.untake(self.optimizer)
        if self.pending.scaled:
            self.scale.put_back()
        self.epoch, self.step = self.pending.epoch, self.pending.step
        self.pending = None

    def advance(self, pending: "Pending") -> None:
        """The step is on its way; its numbers come later."""
        self.pending = pending
        self.step += 1

    def accept(self) -> None:
        """The pending step was taken."""
        if self.average is not None:
            # A step that has begun meanwhile may have moved running statistics already.
            self.average.after_step(self._before[-1].as_they_were if len(self._before) > 1 else {})
        self.skipped = 0
        self._settled()

    def end_epoch(self) -> None:
        """The epoch's last step was settled: the next begins."""
        if self.average is not None:
            self.average.after_epoch(self.epoch)
        self.epoch, self.step = self.epoch + 1, 0

    def skip(self) -> None:
        """The pending step was skipped on the device: its gradient had overflowed."""
        optimizers.untake(self.optimizer)
        self.skipped += 1
        self.overflows += 1
        self._settled()

    def _settled(self) -> None:
        self._spare.append(self._before.pop(0))
        self.pending = None

    def snapshot(self) -> dict[str, Any]:
        """All of it, by name; the tensors are the live ones. Nothing may be pending."""
        assert self.pending is None
        kept = {name: keeper.state_dict() for name, keeper in self._keepers()}
        return (
            kept | {name: getattr(self, name) for name in _COUNTS} | {"generators": [generators(self.device)]}
        )

    def load(self, snapshot: Mapping[str, Any], rank: int = 0) -> None:
        """Be as the snapshot says; generators by the rank of their process, where there are as many."""
        for name, keeper in self._keepers():
            keeper.load_state_dict(snapshot[name])
        for name in _COUNTS:
            setattr(self, name, snapshot[name])
        if rank < len(snapshot["generators"]):
            set_generators(snapshot["generators"][rank], self.device)

    def _keepers(self) -> Iterable[tuple[str, Any]]:
        names = ("learner", "optimizer", "scale", "average")
        return [(name, keeper) for name in names if (keeper := getattr(self, name)) is not None]


@dataclass
class Pending:
    """A step whose numbers are on their way from the device to the host."""

    epoch: int
    step: int
    steps: int
    rate: float
    scaled: bool
    terms: tuple[str, ...]
    names: Sequence[str]
    numbers: InitVar[Tensor]

    def __post_init__(self, numbers: Tensor) -> None:
        self._host, self._arrived = copied(numbers)

    def read(self) -> list[float]:
        """The numbers, once they are there."""
        self._arrived()
        values: list[float] = self._host.tolist()
        return values


class _Before:
    """What a forward pass moves though no optimizer does, as it was: running statistics, generators."""

    def __init__(self, learner: nn.Module, device: torch.device) -> None:
        self._device = device
        self._live: dict[torch.dtype, list[Tensor]] = {}
        for buffer in learner.buffers():
            self._live.setdefault(buffer.dtype, []).append(buffer)
        self._kept = {kind: [buffer.clone() for buffer in live] for kind, live in self._live.items()}
        self._generators: list[Tensor] = []

    def remember(self) -> None:
        for kind, live in self._live.items():
            torch._foreach_copy_(self._kept[kind], live)
        self._generators = generators(self._device)

    def put_back(self) -> None:
        for kind, live in self._live.items():
            torch._foreach_copy_(live, self._kept[kind])
        set_generators(self._generators, self._device)

    @property
    def as_they_were(self) -> dict[Tensor, Tensor]:
        """Each buffer with its value then."""
        return {
            buffer: kept
            for kind, live in self._live.items()
            for buffer, kept in zip(live, self._kept[kind], strict=True)
        }
