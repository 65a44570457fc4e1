"""A training step: in half precision near float32, skipped on the device, and without a wait for the host."""

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn

from naic_reid import models, recipe
from naic_reid.architecture import Architecture
from naic_reid.config import Train
from naic_reid.training import optimizers
from naic_reid.training.state import State
from naic_reid.training.step import Batch, Plan, settle, step

NETWORK = Architecture(backbone="resnet18_ibn_a", height=64, width=32)
TRAIN = Train(optimizer="adamw", learning_rate=1e-3)


def _state(device: str) -> State:
    torch.manual_seed(1)
    learner = recipe.learner(TRAIN, models.build(NETWORK), 4).to(device)
    learner.to(memory_format=torch.channels_last).train()
    return State(learner, recipe.optimizer(TRAIN, learner))


def _batch(device: str) -> Batch:
    images = torch.randn(16, 3, 64, 32, generator=torch.Generator().manual_seed(2))
    images = images.to(device, memory_format=torch.channels_last)
    return Batch(images, torch.arange(16, device=device) // 4, [""] * 16)


def _plan(word: str, state: State) -> Plan:
    return Plan(recipe.terms(TRAIN, state.learner.embedder), 100, precision=word)


def _gradient(state: State) -> Tensor:
    return torch.cat([p.grad.flatten().double().cpu() for p in state.parameters if p.grad is not None])


def _stepped(device: str, word: str) -> tuple[float, Tensor]:
    """The loss and the gradient of a first step."""
    state = _state(device)
    step(state, _batch(device), _plan(word, state))
    record = settle(state)
    assert record is not None and record.finite
    return record.total, _gradient(state)


def test_a_step_in_every_precision_has_the_loss_and_gradient_of_float32(device: str) -> None:
    loss, gradient = _stepped("cpu", "fp32")
    words = {"fp32": (1e-4, 1e-3), "tf32": (5e-3, 0.03), "fp16": (5e-3, 0.1), "bf16": (0.05, 0.6)}
    for word, (of_loss, of_gradient) in words.items():
        if device == "cpu" and word in ("tf32", "fp16"):
            continue  # the one is fp32 there; the other takes minutes, and the loop's own tests try it
        found, slope = _stepped(device, word)
        assert abs(found - loss) < of_loss * loss, (word, found, loss)
        apart = float((slope - gradient).norm() / gradient.norm())
        assert apart < of_gradient, (word, apart)  # a scale left in would make it 65,535, none at all 1


class _Steep(nn.Module):
    """A loss that is finite, and whose gradient is not, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, images: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        roots = (self.weight - images.flatten()).sqrt()
        return {"loss": roots.sum()}, torch.ones((), device=images.device)


def test_a_step_that_overflows_is_skipped_on_the_device_and_the_next_is_taken(device: str) -> None:
    learner = _Steep().to(device)
    state = State(learner, optimizers.build("sgd", {"body": (learner.parameters(), 0.1)}, 0.0))
    plan = Plan({"loss": 1.0}, 100, precision="fp16")
    labels = torch.zeros(1, dtype=torch.int64, device=device)
    steep, plain = (Batch(torch.full((1, 1, 2, 2), v, device=device), labels, [""]) for v in (1.0, 0.0))
    step(state, steep, plan)
    step(state, plain, plan)
    scale = float(state.scale.value)
    assert state.skipped == 1 and scale == 2.0**15
    record = settle(state)
    assert record is not None and record.finite and state.skipped == 0
    assert torch.isfinite(learner.weight).all() and not torch.equal(learner.weight.cpu(), torch.ones(4))


def test_no_step_makes_the_host_wait(gpu: str) -> None:
    names = [name for name in optimizers.OPTIMIZERS if not name.startswith("apex")]
    for word, name in itertools.product(("bf16", "fp16"), names):
        learner = _state(gpu).learner
        state = State(learner, optimizers.build(name, {"body": (learner.parameters(), 1e-3)}, 0.01))
        batch, plan = _batch(gpu), replace(_plan(word, state), clip=1.0)
        for _ in range(6):
            step(state, batch, plan)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(7):  # through one of Ranger's looks back
                step(state, batch, plan)
        finally:
            torch.cuda.set_sync_debug_mode("default")
