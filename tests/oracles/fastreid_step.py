"""A training step of BoT, AGW, SBS and MGN written out: losses, gradients of torch, and Adam by its formula.

From a description of FastReID's release of July 2020; over its own tensor names, no module of ours.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.oracles import fastreid
from tests.oracles.fastreid import MGN_PARTS, Training

RATE, DECAY = 3.5e-4, 5e-4
Rows = Tensor
TRIPLETS = (("b1",), ("b2",), ("b3",), ("b21", "b22"), ("b31", "b32", "b33"))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """.9 on the class, .1 over the others."""
    targets = torch.full_like(logits, 0.1 / (logits.shape[1] - 1))
    targets[torch.arange(len(labels)), labels] = 0.9
    each = -(targets * logits.log_softmax(1)).sum(1)
    return each.sum() / max(1, int((each != 0).sum()))


def _linear(rows: Rows, classes: Tensor, labels: Tensor) -> Tensor:
    return _cross_entropy(rows @ classes.T, labels)


def _circle(rows: Rows, classes: Tensor, labels: Tensor) -> Tensor:
    cosines = F.normalize(rows) @ F.normalize(classes).T
    still = cosines.detach()
    others = (still + 0.35).clamp(min=0) * (cosines - 0.35)
    own = (1.35 - still).clamp(min=0) * (cosines - 0.65)
    one_hot = F.one_hot(labels, len(classes)).bool()
    return _cross_entropy(64 * torch.where(one_hot, own, others), labels)


def _pairs(rows: Rows, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each anchor: distances to its own person's rows, itself among them, and to the others'."""
    distances = (rows[:, None] - rows[None]).square().sum(2).clamp(min=1e-12).sqrt()
    return [(d[labels == who], d[labels != who]) for d, who in zip(distances, labels, strict=True)]


def _hard(rows: Rows, labels: Tensor, margin: float) -> Tensor:
    excess = torch.stack([own.max() - others.min() for own, others in _pairs(rows, labels)])
    return (excess + margin).clamp(min=0).mean() if margin else excess.exp().log1p().mean()


def _weighted(rows: Rows, labels: Tensor) -> Tensor:
    excess = []
    for own, others in _pairs(rows, labels):
        near, far = (own - own.max()).exp(), (-others).exp()
        excess.append((near * own).sum() / (near.sum() + 1e-6) - (far * others).sum() / (far.sum() + 1e-6))
    return torch.stack(excess).exp().log1p().mean()


def _bot(t: Training, images: Tensor, labels: Tensor) -> Tensor:
    before, after = fastreid.single_rows(t, images, ceil=False)
    return _linear(after, t["heads.classifier.weight"], labels) + _hard(before, labels, 0.3)


def _agw(t: Training, images: Tensor, labels: Tensor) -> Tensor:
    before, after = fastreid.single_rows(t, images, ceil=False)
    return _linear(after, t["heads.classifier.weight"], labels) + _weighted(before, labels)


def _sbs(t: Training, images: Tensor, labels: Tensor) -> Tensor:
    _, after = fastreid.single_rows(t, images, ceil=False)
    return _circle(after, t["heads.classifier.weight"], labels) + _hard(after, labels, 0)


def _mgn(t: Training, images: Tensor, labels: Tensor) -> Tensor:
    rows = fastreid.mgn_rows(t, images, published=True)
    identity = [_circle(rows[part], t[f"{part}_head.classifier.weight"], labels) for part in MGN_PARTS]
    metric = [_hard(torch.cat([rows[part] for part in parts], 1), labels, 0) for parts in TRIPLETS]
    return torch.stack(identity).sum() / 8 + torch.stack(metric).sum() / 5


LOSSES: dict[str, Callable[[Training, Tensor, Tensor], Tensor]] = {
    "bot": _bot, "agw": _agw, "sbs": _sbs, "mgn": _mgn,
}  # fmt: skip
BIASES = {"bot": 2.0, "agw": 2.0, "sbs": 1.0, "mgn": 1.0}
"""Factor of the learning rate of biases."""
FROZEN = {"sbs": ("backbone.",), "mgn": ("backbone.", "b1.", "b2.", "b3.")}
"""What does not move in the first ten epochs."""


class Twin:
    """A network being trained."""

    def __init__(self, method: str, tensors: dict[str, Tensor]) -> None:
        self.method = method
        self.tensors = Training({name: tensor.clone() for name, tensor in tensors.items()})
        for part in MGN_PARTS[1:]:  # one p, stored under eight names
            if f"{part}_pool.0.p" in self.tensors:
                self.tensors[f"{part}_pool.0.p"] = self.tensors["b1_pool.0.p"]
        self.moments: dict[str, tuple[Tensor, Tensor, int]] = {}
        self.gradients: dict[str, Tensor] = {}

    def step(self, images: Tensor, labels: Tensor, factor: float, *, frozen: bool) -> float:
        """One step of Adam; the loss. Images float [B, 3, H, W], 0…255."""
        t = self.tensors
        t.frozen = FROZEN[self.method] if frozen else ()
        moving = {name: tensor for name, tensor in t.items() if self._moves(name)}
        for tensor in moving.values():
            tensor.requires_grad_()
        loss = LOSSES[self.method](t, images, labels)
        gradients = torch.autograd.grad(loss, list(moving.values()))
        self.gradients = dict(zip(moving, gradients, strict=True))
        for name, gradient in self.gradients.items():
            rate = RATE * factor * (BIASES[self.method] if name.endswith(".bias") else 1)
            t[name] = self._adam(name, t[name].detach(), gradient, rate)
        for part in MGN_PARTS[1:]:
            if f"{part}_pool.0.p" in t:
                t[f"{part}_pool.0.p"] = t["b1_pool.0.p"]
        return loss.item()

    def _moves(self, name: str) -> bool:
        fixed = ("running_mean", "running_var", "num_batches_tracked", "bnneck.bias")
        shared = name.endswith("_pool.0.p") and name != "b1_pool.0.p"
        held = bool(self.tensors.frozen) and name.startswith(self.tensors.frozen)
        return not (name.endswith(fixed) or name.startswith("pixel_") or shared or held)

    def _adam(self, name: str, value: Tensor, gradient: Tensor, rate: float) -> Tensor:
        pull = gradient + DECAY * value
        first, second, steps = self.moments.get(name, (torch.zeros_like(value), torch.zeros_like(value), 0))
        steps += 1
        first, second = 0.9 * first + 0.1 * pull, 0.999 * second + 0.001 * pull.square()
        self.moments[name] = first, second, steps
        lean = first / (1 - 0.9**steps)
        return value - rate * lean / ((second / (1 - 0.999**steps)).sqrt() + 1e-8)


def factor(method: str, epoch: float) -> float:
    """Of the learning rate: .01 → 1 over ten epochs; then ×.1 at 40 and 90, or from 30 to 60 a cosine."""
    warm = min(1.0, 0.01 * (1 - epoch / 10) + epoch / 10)
    if method in ("bot", "agw"):
        return warm * 0.1 ** ((epoch >= 40) + (epoch >= 90))
    share = min(max((epoch - 30) / 30, 0), 1)
    return warm * (0.0022 + (1 - 0.0022) * (1 + math.cos(math.pi * share)) / 2)
