"""A step and the loop, driven by a linear layer."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from naic_reid import losses
from naic_reid.errors import ReidError
from naic_reid.models.branches import Seen
from naic_reid.models.heads import Group
from naic_reid.training import loop, optimizers
from naic_reid.training import step as steps
from naic_reid.training.average import Moving
from naic_reid.training.learner import Judgement, Learner, Term
from naic_reid.training.state import State
from naic_reid.training.step import Batch, NotFiniteError, Plan, Record, TornError

STEPS = 3
WEIGHTS = {"identity": 1.0, "length": 0.25}
OPTIMIZERS = [name for name in optimizers.OPTIMIZERS if not name.startswith("apex")]


class Judged(nn.Module):
    """A learner of two terms that moves a buffer and draws numbers; `spoil` may change a loss."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.spoil: Callable[[Tensor], Tensor] = lambda loss: loss

    def forward(self, images: Tensor, labels: Tensor) -> Judgement:
        self.seen += torch.rand(())  # as running statistics and dropout do
        self.get_buffer("count").add_(1)
        embeddings = self.layer(images.flatten(1))
        features = 2 * embeddings
        terms = {"identity": nn.functional.cross_entropy(features, labels)}
        terms["length"] = self.spoil(embeddings.square().mean())
        return Judgement(terms, (features.argmax(1) == labels).float().mean())


def _batches(epoch: int, first: int) -> Iterator[Batch]:
    for step in range(first, STEPS):
        generator = torch.Generator().manual_seed(100 * epoch + step)
        images = torch.randn(6, 1, 2, 2, generator=generator)
        labels = (images.mean((1, 2, 3)) > 0).long()
        yield Batch(images, labels, [f"{epoch}-{step}-{i}.png" for i in range(6)])


def _state(optimizer: str = "sgd", average: float | None = None) -> State:
    learner = Judged()
    made = optimizers.build(optimizer, {"body": (learner.parameters(), 0.5)}, 0.0)
    optimizers.allocate(made)
    return State(learner, made, average=average and Moving(learner, average))


def _plain() -> State:
    learner = Judged()
    group = {"params": learner.parameters(), "lr": 0.5, optimizers.BASE_RATE: 0.5}
    return State(learner, torch.optim.SGD([group], fused=True))


def _run(
    state: State, epochs: int = 2, *, options: dict[str, Any] | None = None, **plan: Any
) -> list[Record]:
    return list(_records(state, epochs, options=options, **plan))


def _records(
    state: State, epochs: int = 2, *, options: dict[str, Any] | None = None, **plan: Any
) -> Iterator[Record]:
    return loop.run(
        state, _batches, lambda epoch, _: Plan(WEIGHTS, STEPS, 1 / (1 + epoch), **plan), epochs=epochs,
        **(options or {}),
    )  # fmt: skip


def _everything(state: State) -> dict[str, Any]:
    """A copy of all that training moves."""
    kept: dict[str, Any] = copy.deepcopy(state.snapshot())
    return kept


def _same(a: Any, b: Any) -> bool:
    """To the bit."""
    if isinstance(a, Tensor):
        return torch.equal(a.nan_to_num(7), b.nan_to_num(7))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("factor", [1.0, 0.325])
def test_a_step_is_that_of_the_weighted_sum_at_the_epochs_rate(factor: float) -> None:
    state, twin = _plain(), Judged()
    records = _run(state, loss_factor=factor)
    assert [(r.epoch, r.step, r.ends_epoch, r.settled) for r in records] == [
        (0, 0, False, False), (0, 1, False, False), (0, 2, True, True),
        (1, 0, False, False), (1, 1, False, False), (1, 2, True, True),
    ]  # fmt: skip
    for record in records:
        images, labels, *_ = next(_batches(record.epoch, record.step))
        judgement = twin(images, labels)
        identity, length = judgement.losses.values()
        total = identity + 0.25 * length
        twin.zero_grad()
        (factor * total).backward()
        gradient = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])
        with torch.no_grad():
            for p in twin.parameters():
                assert p.grad is not None
                p -= 0.5 / (1 + record.epoch) * p.grad
        assert record.losses == pytest.approx({"identity": identity.item(), "length": length.item()})
        assert record.total == pytest.approx(total.item())
        assert record.gradient == pytest.approx(gradient.norm().item())
        assert record.rate == 0.5 / (1 + record.epoch)
        assert record.accuracy == pytest.approx(judgement.right.item())
        assert (record.images, record.scale, record.finite) == (6, None, True)
    both = zip(state.learner.parameters(), twin.parameters(), strict=True)
    assert all(torch.allclose(a, b) for a, b in both)


def test_micro_batches_add_up_to_a_batchs_step_where_losses_are_means() -> None:
    whole, cut = _state(), _state()
    expected = _run(whole)
    found = _run(cut, options={"micro_batches": [4]})  # of 4 and 2
    for a, b in zip(expected, found, strict=True):
        assert a.total == pytest.approx(b.total)
        assert a.losses == pytest.approx(b.losses)
        assert a.accuracy == pytest.approx(b.accuracy)
    both = zip(whole.parameters, cut.parameters, strict=True)
    assert all(torch.allclose(a, b) for a, b in both)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_state_that_was_saved_between_two_steps_goes_on_to_the_same_bits(
    optimizer: str, precision: str
) -> None:
    whole = _state(optimizer, average=0.5)
    records = _run(whole, 3, precision=precision)
    expected = _everything(whole)
    for stop in (1, 4, 8):
        cut = _state(optimizer, average=0.5)
        one = _records(cut, 3, precision=precision, options={"pause": lambda: True})
        for record in itertools.islice(one, stop):
            assert record.settled
        saved = _everything(cut)
        again = _state(optimizer, average=0.5)
        again.load(saved)
        rest = _run(again, 3, precision=precision)
        assert [r.losses for r in rest] == [r.losses for r in records[stop:]]
        assert _same(_everything(again), expected), stop


def test_records_that_come_late_or_at_once_are_the_same_and_so_is_what_was_trained() -> None:
    runs = []
    for pause in (lambda: False, lambda: True):
        state = _state("ranger", 0.5)
        records = _run(state, options={"pause": pause})
        runs.append(([(r.losses, r.gradient) for r in records], _everything(state)))
    assert _same(*runs)


def test_a_gradient_longer_than_allowed_is_shortened_and_a_shorter_one_is_not() -> None:
    free, held, loose = _plain(), _plain(), _plain()
    for state, clip in ((free, None), (held, 1e-3), (loose, 1e3)):
        next(_records(state, clip=clip, options={"pause": lambda: True}))
    before = list(Judged().parameters())
    steps = [[b - p for p, b in zip(s.parameters, before, strict=True)] for s in (free, held)]
    norms = [torch.nn.utils.get_total_norm(step).item() for step in steps]
    assert norms[1] == pytest.approx(0.5 * 1e-3, rel=1e-3)
    assert norms[0] > 2 * norms[1]
    for a, b in zip(*steps, strict=True):
        assert torch.allclose(a / norms[0], b / norms[1], atol=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(free.parameters, loose.parameters, strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("spoil", [lambda loss: loss / 0, lambda loss: loss + (0 * loss).sqrt()])
@pytest.mark.parametrize("at", [0, 1, 2, 7])
def test_a_step_that_is_not_finite_changes_nothing_though_the_next_has_begun(
    optimizer: str, spoil: Callable[[Tensor], Tensor], at: int
) -> None:
    """Of loss and gradient, and of the gradient alone; Ranger's steps 1 to 3 are plain, 8 is rectified."""
    expected = _everything_after(_state(optimizer, 0.5), at)
    state = _state(optimizer, 0.5)
    state.learner.spoil = lambda loss: spoil(loss) if state.learner.count == at + 1 else loss
    with pytest.raises(
        NotFiniteError, match=rf"epoch {at // 3 + 1}, step {at % 3 + 1} \(.*gradient (nan|inf)"
    ):
        _run(state, 9)
    assert (state.epoch, state.step) == divmod(at, STEPS)
    assert _same(_everything(state), expected)
    assert all(p.grad is None for p in state.parameters)


def test_a_loss_that_is_not_finite_names_its_images() -> None:
    state = _state()
    state.learner.spoil = lambda loss: loss * (float("nan") if state.learner.count == 2 else 1)
    with pytest.raises(ReidError, match=r"epoch 1, step 2 \(total nan, length nan.*0-1-0\.png, 0-1-1\.png"):
        _run(state)


def test_a_step_that_begins_anew_forgets_what_centres_saw_of_the_one_that_failed() -> None:
    centre = losses.build_metric("center", 2, 4)
    made = optimizers.build("sgd", {"body": ([nn.Parameter(torch.zeros(1))], 0.1)}, 0.0)
    state = State(nn.Sequential(centre), made)
    before = centre.get_parameter("centers").clone()
    centre(torch.ones(2, 4), torch.tensor([0, 1]))
    state.begin()
    (follower,) = state.followers
    follower.follow(torch.tensor(True))
    assert torch.equal(centre.get_parameter("centers"), before)


def test_accuracy_is_the_share_of_images_whose_own_class_is_the_likeliest() -> None:
    class Told(nn.Module):
        def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            return features.sum(), features

    class Rows(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Seen]:
            return {"whole": Seen(images, images)}

    learner = Learner(Rows(), [Term("told", Group(("whole",)), Told())], [])
    logits = torch.tensor([[3.0, 1, 2], [0, 2, 1], [1, 0, 4], [5, 4, 6]])
    assert float(learner(logits, torch.tensor([0, 1, 1, 2])).right) == 0.75


def test_fp16_that_overflows_in_every_step_is_refused_and_nothing_has_moved() -> None:
    state = _state("ranger", 0.5)
    before = [p.clone() for p in state.parameters]
    state.learner.spoil = lambda loss: loss + (0 * loss).sqrt()  # a slope without end
    seen: list[Record] = []
    with pytest.raises(NotFiniteError, match=r"fp16 overflows: gradients of (\d+) steps in a row.*bf16"):
        seen.extend(_records(state, 1000, precision="fp16"))
    assert len(seen) < steps.MOST_SKIPPED
    assert [r.scale for r in seen[:3]] == [2.0**16, 2.0**15, 2.0**14]
    assert not any(r.finite for r in seen)
    assert state.overflows == state.skipped == len(seen)
    assert all(torch.equal(p, was) for p, was in zip(state.parameters, before, strict=True))
    assert float(state.scale.value) == 2.0 ** (16 - len(seen)), "what the last one took from it is put back"
    again = _state("ranger", 0.5)
    again.load(_everything(state))
    assert (again.overflows, again.skipped) == (state.overflows, state.skipped)


def test_fp16_skips_a_step_that_overflows_and_goes_on_as_if_it_had_not_been() -> None:
    state, twin = _state("ranger"), _state("ranger")
    for one in (state, twin):
        one.scale.value.fill_(2.0**10)
    state.learner.spoil = lambda loss: loss + (0 * loss).sqrt() if state.learner.count == 4 else loss
    records = _run(state, 4, precision="fp16")
    assert [r.step + STEPS * r.epoch for r in records if not r.finite] == [3]
    assert [r.scale for r in records[3:6]] == [2.0**10, 2.0**9, 2.0**9]
    assert (state.skipped, state.overflows) == (0, 1)
    assert all(state.optimizer.state[p]["step"] == 11 for p in state.parameters)

    def without_the_fourth(epoch: int, first: int) -> Iterator[Batch]:
        for place, batch in enumerate(_batches(epoch, first), start=first):
            if (epoch, place) != (1, 0):
                yield batch

    for epoch in range(4):
        twin.epoch, twin.step = epoch, 0
        for batch in without_the_fourth(epoch, 0):
            steps.step(twin, batch, Plan(WEIGHTS, STEPS, 1 / (1 + epoch), "fp16"))
            steps.settle(twin)
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(state.parameters, twin.parameters, strict=True)
    )


def test_a_norm_that_overflows_though_no_gradient_does_moves_nothing() -> None:
    state = _state("adamw")
    before = [p.clone() for p in state.parameters]
    state.learner.spoil = lambda loss: loss + 1e22 * state.learner.layer.bias.sum()
    record = next(_records(state, precision="fp16", options={"pause": lambda: True}))
    assert record.gradient == float("inf")
    assert not record.finite
    assert all(torch.equal(p, was) for p, was in zip(state.parameters, before, strict=True))


def _full(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("place", ["allocate", "forward", "backward", "norm", "optimizer"])
@pytest.mark.parametrize("at", [0, 4])
def test_a_full_memory_anywhere_in_a_step_leaves_all_as_it_was_and_the_step_is_taken_anew(
    optimizer: str, place: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _everything_after(_state(optimizer, 0.5), at)
    whole = _everything_after(_state(optimizer, 0.5), 3 * STEPS)
    state = _state(optimizer, 0.5)
    count = 0

    def once(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == at + 1:
                _full()
            return function(*arguments, **named)

        return called

    if place == "forward":
        inner = state.learner.forward
        state.learner.forward = once(inner)
    elif place == "backward":
        monkeypatch.setattr(Tensor, "backward", once(Tensor.backward))
    elif place == "norm":
        monkeypatch.setattr(torch.nn.utils, "get_total_norm", once(torch.nn.utils.get_total_norm))
    elif place == "optimizer":
        monkeypatch.setattr(optimizers, "step", once(optimizers.step))
    else:
        monkeypatch.setattr(optimizers, "allocate", once(optimizers.allocate))
    with pytest.raises(loop.TooLargeError, match=r"no memory for 6 images at once on cpu, in epoch"):
        _run(state, 3)
    steps.settle(state)
    saved = _everything(state)
    assert _same(saved, expected)
    assert all(p.grad is None for p in state.parameters)
    monkeypatch.undo()
    again = _state(optimizer, 0.5)
    again.load(saved)
    _run(again, 3)
    assert _same(_everything(again), whole)


def _everything_after(state: State, steps_taken: int) -> dict[str, Any]:
    one = _records(state, 3, options={"pause": lambda: True})
    for _ in range(steps_taken):
        next(one)
    return _everything(state)


def test_what_does_not_fit_is_cut_into_the_next_smaller_micro_batches_for_good() -> None:
    state = _state()
    seen: list[int] = []
    forward = state.learner.forward

    def small(images: Tensor, labels: Tensor) -> Judgement:
        seen.append(len(images))
        return forward(images, labels) if len(images) < 4 else _full()

    state.learner.forward = small
    _run(state, 1, options={"micro_batches": [None, 4, 3, 2]})
    assert seen == [6, 4, 3, 3, 3, 3, 3, 3]


def test_no_record_is_lost_when_memory_is_full_after_the_step_before_was_settled() -> None:
    state = _state()
    step = state.optimizer.step
    calls = itertools.count()
    state.optimizer.step = lambda: _full() if next(calls) == 2 else step()
    expected = [(record.epoch, record.step) for record in _run(_state())]
    found = _run(state, options={"micro_batches": [None, 6]})
    assert [(record.epoch, record.step) for record in found] == expected


def test_an_optimizer_that_fails_midway_ends_the_run_and_says_that_the_last_saved_state_is_whole() -> None:
    state = _state("adamw")
    step = state.optimizer.step

    def torn() -> None:
        step()
        _full()

    state.optimizer.step = torn
    with pytest.raises(TornError, match=r"midway \(CUDA out of memory\).*last saved state"):
        _run(state, options={"micro_batches": [None, 3]})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_state_is_allocated_before_the_first_step_and_its_steps_are_those_without(optimizer: str) -> None:
    twins = []
    for early in (True, False):
        torch.manual_seed(1)
        layer = nn.Linear(3, 3)
        made = optimizers.build(optimizer, {"body": (layer.parameters(), 0.1)}, 0.01)
        if early:
            before = [p.clone() for p in layer.parameters()]
            optimizers.allocate(made)
            assert all(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))
            assert set(made.state) == set(layer.parameters())
            assert (made.param_groups[0]["lr"], made.param_groups[0]["weight_decay"]) == (0.1, 0.01)
            optimizers.allocate(made)
        for number in range(4):
            layer(torch.full((2, 3), float(number))).square().sum().backward()
            made.step()
            made.zero_grad()
        twins.append(layer.weight.detach())
    assert torch.equal(*twins)


class _Syncs(TorchDispatchMode):
    """Counts what makes a host wait for a GPU: numbers read from a tensor, and shapes that depend on one."""

    WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "item")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function).split(".")[1]
        if name in self.WAITING or name.startswith("_unique"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_waits_for_the_device_once_and_that_is_for_the_step_before(
    optimizer: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm = net, nn.BatchNorm1d(8)

        def forward(self, images: Tensor) -> dict[str, Seen]:
            embeddings = self.body(images)
            return {"whole": Seen(embeddings, self.norm(embeddings))}

    whole = Group(("whole",))
    metrics = [Term(name, whole, losses.build_metric(name, 4, 8)) for name in ("weighted_triplet", "center")]
    learner = Learner(Net(), [Term("arcface", whole, losses.build_identity("arcface", 4, 8))], metrics)
    made = optimizers.build(optimizer, {"body": (learner.parameters(), 0.01)}, 0.01)
    state = State(learner, made, average=Moving(learner.embedder, 0.9))
    batch = Batch(torch.randn(8, 3, 2, 2), torch.arange(8) // 2, [""] * 8)
    weights = {"arcface": 1.0, "weighted_triplet": 1.0, "center": 0.1}
    plan = Plan(weights, 100, precision=precision, clip=1.0)
    for _ in range(9):  # Ranger's first steps ask; fp16's first may overflow
        steps.step(state, batch, plan)
    read: list[tuple[int, int]] = []
    tolist = Tensor.tolist

    def counted(tensor: Tensor) -> Any:
        assert state.pending is not None
        read.append((state.pending.step, state.step))
        return tolist(tensor)

    monkeypatch.setattr(Tensor, "tolist", counted)
    for word in ("item", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(Tensor, word, lambda *_, word=word: pytest.fail(f"{word} makes the host wait"))
    with _Syncs() as syncs:
        for _ in range(7):  # through one of Ranger's looks back
            steps.step(state, batch, plan)
    assert syncs.found == []
    assert read == [(place, place + 1) for place in range(8, 15)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_kept_parameters_stay_and_do_not_count_in_the_gradients_length(optimizer: str) -> None:
    plain, keeping = _state(optimizer), _state(optimizer)
    bias, weight = keeping.learner.layer.bias, keeping.learner.layer.weight
    before = [bias.clone(), weight.clone()]
    batch = next(_batches(0, 0))
    for state, kept in ((plain, []), (keeping, [bias])):
        steps.step(state, batch, Plan(WEIGHTS, STEPS, kept=kept))
    lengths = [steps.settle(state).gradient for state in (plain, keeping)]  # type: ignore[union-attr]
    assert torch.equal(bias, before[0])
    assert not torch.equal(weight, before[1])
    assert lengths[1] < lengths[0]
