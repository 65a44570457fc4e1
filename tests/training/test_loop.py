"""The loop, driven by a linear layer."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from naic_reid.errors import ReidError
from naic_reid.training import loop
from naic_reid.training.learner import Judgement

STEPS = 3


class Twice(nn.Module):
    """A linear layer whose answer is embedding and feature."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += torch.rand(())  # as running statistics and dropout do
        embeddings = self.layer(images.flatten(1))
        return embeddings, 2 * embeddings


class Judged(nn.Module):
    """A learner of two terms, of which `steep` may have a slope without end."""

    def __init__(self, network: Twice, steep: bool = False) -> None:
        super().__init__()
        self.network, self.steep = network, steep

    def forward(self, images: Tensor, labels: Tensor) -> Judgement:
        embeddings, features = self.network(images)
        losses = {"identity": nn.functional.cross_entropy(features, labels)}
        losses["length"] = (0 * embeddings).sqrt().sum() if self.steep else embeddings.square().mean()
        return Judgement(losses, (features.argmax(1) == labels).float().mean())


def _batches(epoch: int, first: int) -> Iterator[loop.Step]:
    for step in range(first, STEPS):
        generator = torch.Generator().manual_seed(100 * epoch + step)
        images = torch.randn(6, 1, 2, 2, generator=generator)
        yield images, (images.mean((1, 2, 3)) > 0).long(), [f"{epoch}-{step}-{i}.png" for i in range(6)]


def _sgd(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": network.parameters(), "lr": 0.5, loop.BASE_RATE: 0.5}])


def _run(
    network: Twice, start: tuple[int, int] = (0, 0), epochs: int = 2, steep: bool = False, **options: Any
) -> Iterator[loop.Record]:
    optimizer = torch.optim.SGD([{"params": network.parameters(), "lr": 0.5, loop.BASE_RATE: 0.5}])
    return loop.run(
        Judged(network, steep), {"identity": 1.0, "length": 0.25}, optimizer, _batches,
        lambda epoch, step: 1 / (1 + epoch), epochs=epochs, steps=lambda epoch: STEPS, start=start, **options,
    )  # fmt: skip


def test_a_step_is_that_of_the_weighted_sum_at_the_epochs_rate() -> None:
    network, twin = Twice(), Twice()
    records = list(_run(network))
    assert [(r.epoch, r.step, r.ends_epoch) for r in records] == [
        (0, 0, False), (0, 1, False), (0, 2, True), (1, 0, False), (1, 1, False), (1, 2, True)
    ]  # fmt: skip
    for record in records:
        images, labels, _ = next(_batches(record.epoch, record.step))
        embeddings, features = twin(images)
        identity, length = nn.functional.cross_entropy(features, labels), embeddings.square().mean()
        total = identity + 0.25 * length
        twin.zero_grad()
        total.backward()
        with torch.no_grad():
            for p in twin.parameters():
                assert p.grad is not None
                p -= 0.5 / (1 + record.epoch) * p.grad
        assert record.losses == pytest.approx({"identity": identity.item(), "length": length.item()})
        assert record.total == pytest.approx(total.item())
        assert record.rate == 0.5 / (1 + record.epoch)
        assert record.accuracy == pytest.approx((features.argmax(1) == labels).float().mean().item())
        assert record.images == 6
    assert all(torch.allclose(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))


def test_parts_of_a_batch_add_up_to_its_step_where_losses_are_means() -> None:
    whole, cut = Twice(), Twice()
    expected, found = list(_run(whole)), list(_run(cut, part=4))  # parts of 4 and 2
    for a, b in zip(expected, found, strict=True):
        assert a.total == pytest.approx(b.total)
        assert a.losses == pytest.approx(b.losses)
        assert a.accuracy == pytest.approx(b.accuracy)
    assert all(torch.allclose(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))


def test_a_run_begun_in_the_middle_takes_the_rest_of_the_steps() -> None:
    network = Twice()
    records = list(_run(network, start=(0, 2)))
    assert [(r.epoch, r.step) for r in records] == [(0, 2), (1, 0), (1, 1), (1, 2)]


def test_a_gradient_longer_than_allowed_is_shortened() -> None:
    free, held = Twice(), Twice()
    next(_run(free))
    next(_run(held, clip=1e-3))
    before = list(Twice().parameters())
    steps = [[b - p for p, b in zip(n.parameters(), before, strict=True)] for n in (free, held)]
    norms = [torch.nn.utils.get_total_norm(step).item() for step in steps]
    assert norms[1] == pytest.approx(0.5 * 1e-3, rel=1e-3)
    assert norms[0] > 2 * norms[1]
    for a, b in zip(*steps, strict=True):
        assert torch.allclose(a / norms[0], b / norms[1], atol=1e-3)


def test_a_gradient_that_is_not_finite_changes_nothing_though_the_loss_is() -> None:
    network = Twice()
    before = [p.clone() for p in network.parameters()]
    generator = torch.get_rng_state()
    records = _run(network, steep=True)
    with pytest.raises(loop.NotFiniteError, match=r"gradient nan") as caught:
        next(records)
    assert (caught.value.epoch, caught.value.step) == (0, 0)
    assert network.seen == 0
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))


def test_a_loss_that_is_not_finite_changes_nothing_and_names_its_images() -> None:
    network = Twice()
    records = _run(network)
    next(records)
    with torch.no_grad():
        network.layer.bias[0] = float("nan")
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(ReidError, match=r"epoch 1, step 2 \(total nan, identity nan.*0-1-0\.png, 0-1-1\.png"):
        next(records)
    for p, was in zip(network.parameters(), before, strict=True):
        assert torch.equal(p.nan_to_num(7), was.nan_to_num(7))
        assert p.grad is None
