"""Every loss by name: against its plain loops, at its extremes, and under autocast."""

import dataclasses
import inspect
import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from naic_reid import config, losses
from naic_reid.errors import ReidError
from naic_reid.losses import AttributeLoss
from naic_reid.models.attributes import HEADS, AttributeHeads, TrainedAttributes
from tests.oracles import losses as oracle

CLASSES, DIMENSION = 5, 7
IDENTITY = [
    ("arcface", {"scale": 30.0, "margin": 0.4}),
    ("arcface", {"scale": 8.0, "margin": 1.3}),
    ("arcface_fastreid", {"scale": 30.0, "margin": 0.4}),
    ("arcface_fastreid", {"scale": 8.0, "margin": 1.3}),
    ("cosface", {"scale": 64.0, "margin": 0.35}),
    ("am_softmax", {"scale": 30.0, "margin": 0.35}),
    ("circle", {"scale": 64.0, "margin": 0.35, "smoothing": 0.0}),
    ("circle", {"scale": 64.0, "margin": 0.35, "smoothing": 0.1}),
    ("linear", {"smoothing": 0.1}),
    ("linear", {"smoothing": 0.0}),
    ("linear_fastreid", {"smoothing": 0.1}),
    ("linear_fastreid", {"smoothing": 0.0}),
    ("sphere", {"scale": 1.0}),
    ("sphere", {"scale": 5.0}),
]
METRIC = [
    ("weighted_triplet", {"margin": None}),
    ("weighted_triplet", {"margin": 0.3}),
    ("weighted_triplet_fastreid", {"margin": None}),
    ("weighted_triplet_fastreid", {"margin": 0.3}),
    ("hard_triplet", {"margin": None}),
    ("hard_triplet", {"margin": 0.3}),
    ("pull_triplet", {"margin": None}),
    ("pull_triplet", {"margin": 0.1}),
    ("relative_triplet", {"margin": 0.6}),
    ("pairwise_cosface", {"scale": 64.0, "margin": 0.35}),
    ("pairwise_circle", {"scale": 16.0, "margin": 0.25}),
    ("batch_circle", {"scale": 32.0, "margin": 0.25}),
    ("mined_triplet", {"margin": 0.3}),
    ("contrastive", {"margin": 1.0}),
    ("lifted", {"margin": 1.0}),
    ("instance", {"scale": 32.0}),
    ("instance_identity", {"scale": 32.0}),
]
WEIGHED = ("pairwise_circle", "batch_circle", "pull_triplet", "relative_triplet")
"""Parts of these carry no gradient."""
PULLING = ("center", "contrastive", "lifted", "instance")  # have a price for a person alone, too
LABELS = {
    "P×K": [0, 0, 1, 1, 2, 2, 3, 3],
    "uneven groups": [0, 0, 0, 1, 1, 2, 2, 2],
    "shuffled": [3, 0, 1, 0, 2, 3, 1, 2],
}


def _batch(labels: list[int], seed: int, length: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = length * torch.randn(len(labels), DIMENSION, generator=generator)
    return rows.requires_grad_(), torch.tensor(labels)


@pytest.mark.parametrize(("name", "options"), IDENTITY)
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_identity_loss_equals_its_loops(name: str, options: dict[str, float], labels: list[int]) -> None:
    torch.manual_seed(1)
    loss = losses.build_identity(name, CLASSES, DIMENSION, **options)
    features, targets = _batch(labels, 2)
    found, logits = loss(features, targets)
    expected = getattr(oracle, {"am_softmax": "cosface"}.get(name, name))(
        features.tolist(), loss.weight.tolist(), labels, *options.values()
    )
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert logits.shape == (len(labels), CLASSES)


@pytest.mark.parametrize(("name", "options"), METRIC)
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("length", [0.3, 1.0, 5.0])
def test_metric_loss_equals_its_loops(
    name: str, options: dict[str, float | None], labels: list[int], length: float
) -> None:
    embeddings, targets = _batch(labels, 3, length)
    found = losses.build_metric(name, CLASSES, DIMENSION, **options)(embeddings, targets)
    expected = getattr(oracle, name)(embeddings.tolist(), labels, *options.values())
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_center_loss_equals_its_loops_and_its_centres_follow_the_papers_rule() -> None:
    torch.manual_seed(4)
    loss = losses.build_metric("center", CLASSES, DIMENSION)
    embeddings, targets = _batch([0, 0, 0, 2, 2, 4], 5)
    before = loss.centers.tolist()
    found = loss(embeddings, targets)
    assert found.item() == pytest.approx(
        oracle.center(embeddings.tolist(), targets.tolist(), before), rel=1e-5
    )
    assert loss.centers.tolist() == before, "they move when the step is taken"
    loss.follow(torch.tensor(False))
    assert loss.centers.tolist() == before
    loss(embeddings, targets)
    loss.forget()
    loss(embeddings, targets)
    loss.follow(torch.tensor(True))
    moved = oracle.moved_centers(embeddings.tolist(), targets.tolist(), before, 0.5)
    torch.testing.assert_close(loss.centers.detach(), torch.tensor(moved))
    assert loss.centers[1].tolist() == before[1]
    now = loss.centers.clone()
    loss.eval()(embeddings, targets)
    loss.follow(torch.tensor(True))
    assert torch.equal(now, loss.centers)


@pytest.mark.parametrize(("name", "options"), IDENTITY)
def test_gradient_of_an_identity_loss_equals_the_slope_of_its_loops(
    name: str, options: dict[str, float]
) -> None:
    torch.manual_seed(6)
    labels = [0, 1, 2, 3, 4]
    loss = losses.build_identity(name, CLASSES, DIMENSION, **options)
    features, targets = _batch(labels, 7)
    loss(features, targets)[0].backward()
    plain = getattr(oracle, {"am_softmax": "cosface"}.get(name, name))
    fixed = [features.tolist()] if name == "circle" else []  # its weights carry no gradient
    for row, column in ((0, 0), (3, 5)):
        slope = _slope(
            lambda rows: plain(rows, loss.weight.tolist(), labels, *options.values(), *fixed),
            features.tolist(), row, column,
        )  # fmt: skip
        assert features.grad[row, column].item() == pytest.approx(slope, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize(("name", "options"), METRIC)
def test_gradient_of_a_metric_loss_equals_the_slope_of_its_loops(
    name: str, options: dict[str, float | None]
) -> None:
    labels = LABELS["uneven groups"]
    embeddings, targets = _batch(labels, 8)
    losses.build_metric(name, CLASSES, DIMENSION, **options)(embeddings, targets).backward()
    plain = getattr(oracle, name)
    fixed = [embeddings.tolist()] if name in WEIGHED else []
    for row, column in ((0, 0), (4, 3)):
        slope = _slope(
            lambda rows: plain(rows, labels, *options.values(), *fixed), embeddings.tolist(), row, column
        )
        assert embeddings.grad[row, column].item() == pytest.approx(slope, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize(("name", "options"), IDENTITY)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("length", [1e-4, 1.0, 1e4])
def test_identity_loss_and_its_gradient_are_finite_where_cosines_are_one(
    name: str, options: dict[str, float], sign: float, length: float
) -> None:
    loss = losses.build_identity(name, 2, 4, **options)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    features = (sign * length * torch.tensor([[1.0, 0, 0, 0]] * 2)).requires_grad_()
    value, _ = loss(features, torch.tensor([0, 1]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(loss.weight.grad).all()


EXTREMES = {
    "huge distances": (torch.eye(6, 4) * 1e6, [0, 0, 1, 1, 2, 2]),
    "all the same": (torch.ones(6, 4), [0, 0, 1, 1, 2, 2]),
    "all zero": (torch.zeros(6, 4), [0, 0, 1, 1, 2, 2]),
    "persons seen once": (torch.eye(6, 4), [0, 1, 2, 3, 4, 5]),
    "one person only": (torch.eye(6, 4), [0, 0, 0, 0, 0, 0]),
    "one positive pair": (torch.eye(6, 4), [0, 0, 1, 2, 3, 4]),
    "opposite": (torch.tensor([[1.0, 0], [-1.0, 0], [1.0, 0], [-1.0, 0]]), [0, 0, 1, 1]),
}


@pytest.mark.parametrize("name", losses.METRIC_LOSSES)
@pytest.mark.parametrize(("rows", "labels"), EXTREMES.values(), ids=EXTREMES.keys())
def test_metric_loss_and_its_gradient_are_finite_at_extremes(
    name: str, rows: Tensor, labels: list[int]
) -> None:
    embeddings = rows.clone().requires_grad_()
    loss = losses.build_metric(name, 6, rows.shape[1])(embeddings, torch.tensor(labels))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("name", [name for name in losses.METRIC_LOSSES if name not in PULLING])
def test_an_anchor_without_negatives_costs_nothing(name: str) -> None:
    embeddings, targets = _batch([0, 0, 0, 0], 9)
    assert losses.build_metric(name, 1, DIMENSION)(embeddings, targets).item() == 0


@pytest.mark.parametrize(("name", "options"), IDENTITY)
def test_identity_loss_is_float32_under_autocast(name: str, options: dict[str, float]) -> None:
    loss = losses.build_identity(name, CLASSES, DIMENSION, **options)
    features, targets = _batch(LABELS["P×K"], 10)
    with torch.autocast("cpu", torch.bfloat16):
        value, logits = loss(features, targets)
    assert value.dtype == logits.dtype == torch.float32
    assert torch.equal(value, loss(features, targets)[0])


@pytest.mark.parametrize("name", [name for name in losses.METRIC_LOSSES if name != "center"])
def test_metric_loss_is_float32_under_autocast(name: str) -> None:
    embeddings, targets = _batch(LABELS["P×K"], 11)
    loss = losses.build_metric(name, CLASSES, DIMENSION)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(embeddings, targets)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(embeddings, targets))
    short = embeddings.bfloat16()
    assert torch.equal(loss(short, targets), loss(short.float(), targets))


@pytest.mark.parametrize("name", losses.METRIC_LOSSES)
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    torch.manual_seed(12)
    embeddings, targets = _batch(LABELS["uneven groups"], 13)
    loss = losses.build_metric(name, CLASSES, DIMENSION).eval()
    turned = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    torch.testing.assert_close(loss(embeddings, targets), loss(embeddings[turned], targets[turned]))


TRIPLETS = [(name, margin) for name in ("weighted_triplet", "hard_triplet") for margin in (None, 0.3)]


@pytest.mark.parametrize(("name", "margin"), TRIPLETS)
def test_triplets_of_long_and_near_rows_have_the_gradient_of_double_precision(
    name: str, margin: float | None
) -> None:
    generator = torch.Generator().manual_seed(15)
    shared = 40 * torch.rand(64, generator=generator)
    rows = shared + torch.randn(12, 64, generator=generator)
    rows[1] = rows[0] + 1e-3 * torch.randn(64, generator=generator)  # the same image, as good as
    rows[2] = rows[0]
    labels = torch.arange(12) // 3
    loss = losses.build_metric(name, 4, 64, margin=margin)
    found, expected = rows.clone().requires_grad_(), rows.double().requires_grad_()
    loss(found, labels).backward()
    oracle.triplet_of_tensors(name, expected, labels, margin).backward()
    assert found.grad is not None and expected.grad is not None
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=2e-5, rtol=2e-4)


def test_memory_of_a_triplet_grows_with_the_square_of_the_batch_and_not_with_its_width_too() -> None:
    """By what is called: `cdist`'s backward is one call, whose kernel for GPUs holds [B, B, D]."""
    num, dimension = 128, 96

    class Seen(TorchDispatchMode):
        names: ClassVar[set[str]] = set()
        largest = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            Seen.names.add(str(function))
            for tensor in tree_leaves(found):
                if isinstance(tensor, Tensor):
                    Seen.largest = max(Seen.largest, tensor.numel())
            return found

    embeddings = torch.randn(num, dimension, requires_grad=True)
    for name, _ in TRIPLETS:
        with Seen():
            losses.build_metric(name, 4, dimension)(embeddings, torch.arange(num) // 4).backward()
    assert not [name for name in Seen.names if "cdist_backward" in name]
    assert Seen.largest == num**2


def test_a_relative_triplet_depends_on_no_scale_and_costs_nothing_from_the_share_on() -> None:
    embeddings, targets = _batch(LABELS["P×K"], 14)
    loss = losses.build_metric("relative_triplet", CLASSES, DIMENSION)
    assert loss(7 * embeddings, targets).item() == pytest.approx(loss(embeddings, targets).item(), rel=1e-5)
    line, persons = torch.tensor([[0.0], [0.6], [1.6], [2.2]]), torch.tensor([0, 0, 1, 1])
    for share, expected in ((0.6, 0.0), (0.61, 0.0), (0.5, 0.05), (0.3, 0.1875)):
        found = losses.build_metric("relative_triplet", 2, 1, margin=share)(line, persons).item()
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "pushes"), [("hard_triplet", True), ("pull_triplet", False), ("relative_triplet", False)]
)
def test_only_an_ordinary_triplet_moves_the_nearest_of_the_others(name: str, pushes: bool) -> None:
    """The single image of a person is nobody's own: as a negative alone it is reached by no gradient."""
    rows = torch.tensor([[0.0, 0], [3, 0], [1, 1]], requires_grad=True)
    losses.build_metric(name, 2, 2, margin=0.3)(rows, torch.tensor([0, 0, 1])).backward()
    assert rows.grad is not None and rows.grad[:2].any()
    assert bool(rows.grad[2].any()) == pushes


def test_logits_leave_the_margin_out() -> None:
    loss = losses.build_identity("arcface", CLASSES, DIMENSION)
    with torch.no_grad():
        _, logits = loss(loss.weight.detach(), torch.arange(CLASSES))
    assert logits.diagonal().tolist() == pytest.approx([30.0] * CLASSES, rel=1e-5)


def test_an_option_a_loss_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ReidError, match="linear has no scale, margin: leave it out"):
        losses.build_identity("linear", 2, 2, scale=1.0, margin=0.1)
    with pytest.raises(ReidError, match="weighted_triplet has no scale"):
        losses.build_metric("weighted_triplet", 2, 2, scale=1.0)


def test_a_loss_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(
        ReidError, match="arcfase: no identity loss; there are arcface, arcface_fastreid, cosface"
    ):
        losses.build_identity("arcfase", 2, 2)
    with pytest.raises(ReidError, match="arcface: no metric loss; there are weighted_triplet"):
        losses.build_metric("arcface", 2, 2)


def test_the_configs_tables_are_the_rooms() -> None:
    for table, room in (
        (config.IDENTITY_LOSSES, losses.IDENTITY_LOSSES),
        (config.METRIC_LOSSES, losses.METRIC_LOSSES),
    ):
        assert list(table) == list(room)
        for name, factory in room.items():
            options = tuple(inspect.signature(factory).parameters)
            given = ("num_classes", "dimension", "regions")  # by the network
            assert table[name] == tuple(o for o in options if o not in given), name


def _slope(function, rows: list[list[float]], row: int, column: int, step: float = 1e-5) -> float:  # type: ignore[no-untyped-def]
    values = []
    for move in (step, -step):
        moved = [list(values) for values in rows]
        moved[row][column] += move
        values.append(function(moved))
    return (values[0] - values[1]) / (2 * step)


# 1-D embeddings of persons a, a, b, b; values worked out by hand from FastReID's definitions.
BY_HAND = [
    ("hard_triplet", {"margin": 0.3}, 1.0, 0.0),
    ("hard_triplet", {}, 1.0, 0.134341),
    ("weighted_triplet_fastreid", {}, 1.0, 0.084380),
    ("weighted_triplet_fastreid", {}, 5.0, 5.764032),
    ("weighted_triplet", {}, 5.0, 0.001634),
]


@pytest.mark.parametrize(("name", "options", "factor", "expected"), BY_HAND)
def test_metric_losses_give_the_worked_examples(
    name: str, options: dict[str, float], factor: float, expected: float
) -> None:
    embeddings = factor * torch.tensor([[0.0], [1.0], [4.0], [6.0]])
    found = losses.build_metric(name, 2, 1, **options)(embeddings, torch.tensor([0, 0, 1, 1]))
    assert found.item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("name", "expected"), [("circle", 2.934615), ("cosface", 3.239953), ("arcface_fastreid", 1.906305)]
)
def test_margin_classifiers_give_the_worked_examples(name: str, expected: float) -> None:
    loss = losses.build_identity(name, 2, 3, scale=64.0, margin=0.35)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[0.5, 0.75**0.5, 0.0], [0.2, 0.0, 0.96**0.5]]))
    assert loss(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0]))[0].item() == pytest.approx(
        expected, abs=1e-5
    )


def test_smoothing_gives_the_worked_example() -> None:
    loss = losses.build_identity("linear_fastreid", 4, 4, smoothing=0.1)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(4))
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    assert loss(logits, torch.tensor([0]))[0].item() == pytest.approx(0.640190, abs=1e-6)


# Unit rows at these angles of persons 0 … 2: values worked out in double precision from the definitions.
ANGLES, PERSONS = (40.0, 34.0, 17.0, 2.0, 27.0, 86.0), (0, 1, 0, 0, 1, 2)
AT_ANGLES = [
    ("batch_circle", {"scale": 32.0}, PERSONS, 30.3135298739),
    ("batch_circle", {"scale": 64.0}, PERSONS, 58.6823309238),
    ("batch_circle", {}, range(6), 0.0),
    ("contrastive", {}, PERSONS, 0.8662316039),
    ("contrastive", {}, range(6), 0.5491357001),
    ("mined_triplet", {}, PERSONS, 0.3723780467),
    ("mined_triplet", {}, range(6), 0.0),
    ("lifted", {}, PERSONS, 2.3378368328),
    ("lifted", {}, range(6), 2.0947591707),
    ("instance", {"scale": 32.0}, PERSONS, 0.6891047755),
    ("instance", {"scale": 64.0}, PERSONS, 0.4754967033),
    ("instance_identity", {"scale": 32.0}, PERSONS, 0.2974770204),
    ("arcface", {"scale": 64.0, "margin": math.radians(28.6)}, PERSONS, 14.8950242708),
    ("cosface", {"scale": 64.0, "margin": 0.35}, PERSONS, 17.3165346004),
    ("sphere", {}, PERSONS, 1.4615181812),
]


@pytest.mark.parametrize(("name", "options", "persons", "expected"), AT_ANGLES)
def test_losses_give_the_friendly_baselines_examples(
    name: str, options: dict[str, float], persons: Sequence[int], expected: float
) -> None:
    rows, labels = _at(ANGLES), torch.tensor(list(persons))
    if name in losses.METRIC_LOSSES:
        found = losses.build_metric(name, 6, 2, **options)(rows, labels)
    else:
        loss = losses.build_identity(name, 3, 2, **options)
        with torch.no_grad():
            loss.weight.copy_(torch.tensor([[1.0], [2.0], [0.5]]) * _at((10.0, 60.0, 100.0)))
        found = loss(rows, labels)[0]
    assert found.item() == pytest.approx(expected, abs=2e-5)


def _at(degrees: Sequence[float]) -> Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack((angles.cos(), angles.sin()), 1)


def test_the_dialect_of_arcface_goes_on_where_the_papers_penalty_is_constant() -> None:
    """Past the angle π − m adding m brings the cosine up again."""
    losses_of = {}
    for name in ("arcface", "arcface_fastreid"):
        loss = losses.build_identity(name, 2, 2, scale=1.0, margin=0.5)
        with torch.no_grad():
            loss.weight.copy_(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]))
        losses_of[name] = loss(torch.tensor([[1.0, 1e-3]]), torch.tensor([0]))[0].item()
    assert losses_of["arcface_fastreid"] < losses_of["arcface"]


def test_circles_class_rows_are_drawn_as_fastreids() -> None:
    torch.manual_seed(0)
    rows = losses.build_identity("circle", 50, 256).weight
    assert rows.abs().max().item() == pytest.approx(256**-0.5, rel=1e-2)


@pytest.mark.parametrize(("head", "cosine", "reduction"), [
    ("linear", 0.0, 0), ("linear", 2.0, 0), ("bottleneck", 0.0, 3), ("bottleneck", 2.0, 0), ("mlp3", 2.0, 0),
])  # fmt: skip
def test_attributes_are_judged_where_they_are_known(head: str, cosine: float, reduction: int) -> None:
    torch.manual_seed(3)
    heads = AttributeHeads(6, (2, 4), head, cosine=cosine, reduction=reduction).eval()
    known = torch.tensor([[1, 4], [2, 0], [0, 0]])  # of three persons; 0: not known
    features, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    loss, logits = AttributeLoss(heads, known)(features, labels)
    terms = []
    for at, told in enumerate(heads(features)):
        own = [
            -told[row].log_softmax(0)[known[label, at] - 1]
            for row, label in enumerate(labels.tolist())
            if known[label, at]
        ]
        terms.append(sum(own) / len(own))
    torch.testing.assert_close(loss, sum(terms) / 2)
    assert logits.shape == (5, 6) and (not cosine or bool((logits.abs() <= cosine + 1e-5).all()))
    torch.testing.assert_close(heads.probabilities(features)[:, 2:].sum(1), torch.ones(5))


@pytest.mark.parametrize("reduction", [0, 5])
@pytest.mark.parametrize(
    ("head", "hidden"), [("linear", []), ("mlp2", [512]), ("mlp3", [512, 256]), ("mlp4", [512, 256, 128])]
)
def test_layers_before_the_values_are_what_their_names_say(
    head: str, hidden: list[int], reduction: int
) -> None:
    torch.manual_seed(4)
    heads, features = AttributeHeads(6, (2, 4), head, reduction=reduction).eval(), torch.randn(3, 6)
    layers = [layer for layer in heads.modules() if isinstance(layer, torch.nn.Linear)]
    widths = [6, *([reduction] if reduction else []), *hidden, 6]
    assert [layer.in_features for layer in layers] == widths[:-1] and layers[-1].out_features == 6
    rows = features.double().numpy()
    for number, layer in enumerate(layers):
        rows = rows @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if number < len(layers) - 1 and not (reduction and number == 0):
            rows = np.maximum(rows, 0)
    np.testing.assert_allclose(torch.cat(heads(features), 1).detach().numpy(), rows, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_trained_heads_are_made_again_from_what_a_record_tells(head: str) -> None:
    heads, features = AttributeHeads(6, (2, 4), head, cosine=2.0, reduction=5).eval(), torch.randn(3, 6)
    values = {"hat": ("no", "yes"), "top": ("a", "b", "c", "d")}
    kept = TrainedAttributes(values, heads.state_dict(), head, 2.0, 5)
    again = TrainedAttributes.of(json.loads(json.dumps(kept.words)), heads.state_dict())
    assert again is not None and torch.equal(
        again.heads(6).probabilities(features), heads.probabilities(features)
    )
    assert "reduction" not in TrainedAttributes(values, {}, head).words["attributes"]
    assert {*get_args(config.Attributes.model_fields["head"].annotation)} == HEADS.keys()
    with pytest.raises(ValueError, match="its attribute heads are mlp9, none of linear"):
        TrainedAttributes.of(dataclasses.replace(kept, head="mlp9").words, {})


def test_attributes_that_nobody_knows_give_no_loss_and_no_gradient() -> None:
    heads = AttributeHeads(6, (2,))
    loss, _ = AttributeLoss(heads, torch.zeros(3, 1, dtype=torch.long))(
        torch.randn(4, 6), torch.arange(4) % 3
    )
    loss.backward()
    assert loss == 0 and not heads.rows.weight.grad.any()
