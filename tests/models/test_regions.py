"""Visible regions: which rows show what, what regions are made of, and what teaches them."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from naic_reid import losses, recipe
from naic_reid.architecture import Architecture
from naic_reid.config import Loss, Train
from naic_reid.errors import ReidError
from naic_reid.losses.regions import Regions, labels
from naic_reid.losses.triplet import VisibleTriplet
from naic_reid.models import build, regions
from naic_reid.models.branches import summed
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import Average
from naic_reid.retrieval.vectors import similarities
from tests.oracles import visible as oracle

TRAIN = Train(
    identity_loss=Loss(name="linear", smoothing=0),
    metric_loss=Loss(name="visible_triplet", margin=1.0, weight=3),
)


def _network(count: int = 3) -> Embedder:
    """A map six high of sixteen channels, whose locator has a say."""
    torch.manual_seed(0)
    network = Embedder(nn.Conv2d(3, 16, 1), regions.head(Average(), 16, count))
    assert isinstance(network.locator, regions.Locator)
    nn.init.normal_(network.locator.logits.weight, std=4)
    return network


def _images(num: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(num, 3, 6, 4, generator=torch.Generator().manual_seed(seed))


def _plainly(network: Embedder, images: Tensor) -> list[oracle.Image]:
    rows = network.unit(network(images)).double()
    count = network.regions
    features = rows[:, :-count].view(len(rows), count, -1)
    return list(zip(features.tolist(), rows[:, -count:].tolist(), strict=True))


@pytest.mark.parametrize(
    ("kept", "ends", "visible"),
    [(0.5, [8, 16, 24], [0, 1, 2]), (0.7, [6, 11, 17, 23, 24], [0, 1, 2, 3]), (0.3, [13, 24], [0, 1]),
     (1.0, [4, 8, 12, 16, 20, 24], [0, 1, 2, 3, 4, 5])],
)  # fmt: skip
def test_the_published_table_of_labels(kept: float, ends: list[int], visible: list[int]) -> None:
    found = labels(torch.tensor([[0.0, kept]]), 24, 6)
    lengths = [later - earlier for earlier, later in pairwise([0, *ends])]
    assert found.rows[0].tolist() == [n for n, length in enumerate(lengths) for _ in range(length)]
    assert found.visible[0].nonzero()[:, 0].tolist() == visible


@pytest.mark.parametrize(("height", "count"), [(24, 6), (12, 6), (12, 3), (8, 4), (8, 1), (2, 2)])
def test_labels_equal_their_loops_for_upper_and_lower_parts(height: int, count: int) -> None:
    shares = [
        (Fraction(top, 128), Fraction(kept, 128)) for kept in range(40, 129, 3) for top in (0, 128 - kept)
    ]
    found = labels(torch.tensor([[float(x) for x in pair] for pair in shares]), height, count)
    for row, (pair, expected) in enumerate(
        zip(shares, (oracle.labels(*s, height, count) for s in shares), strict=True)
    ):
        rows, visible = expected
        assert found.rows[row].tolist() == rows, pair
        if height > 2:
            assert set(found.visible[row].nonzero()[:, 0].tolist()) == visible, pair


def test_masses_sum_to_the_rows_and_regions_are_means_by_shares() -> None:
    network = _network().eval()
    maps = network.backbone(_images())
    shares = regions.shares(network.locator(maps))  # type: ignore[misc]
    seen = network(_images())
    masses = seen[regions.LOCATOR].embedding
    torch.testing.assert_close(masses.sum(1), torch.full((4,), 6.0))
    for index in range(3):
        mean = sum(shares[:, index, row, None] * maps[:, :, row].mean(2) for row in range(6))
        assert isinstance(mean, Tensor)
        own = seen[f"region_{index}"]
        torch.testing.assert_close(own.embedding, nn.functional.normalize(mean / masses[:, index, None]))
        torch.testing.assert_close(own.mass, masses[:, index])


def test_class_rows_are_shown_reduced_means_behind_a_neck_and_training_drops_some() -> None:
    network = _network()
    branch, locator = network.branches["region_1"], network.locator
    assert isinstance(branch, regions.VisibleBranch) and isinstance(locator, regions.Locator)
    map_ = network.backbone(_images(64))
    logits = network.eval().locator(map_)  # type: ignore[misc]
    shares = regions.shares(logits)[:, 1]
    mean = torch.einsum("bcr,br->bc", map_.mean(3), shares) / shares.sum(1, keepdim=True)
    assert branch.neck.running_mean is not None
    nn.init.normal_(branch.neck.running_mean)
    plain = branch([map_, logits])
    expected = mean @ branch.reduction.weight.T - branch.neck.running_mean
    torch.testing.assert_close(plain.feature, expected, atol=1e-4, rtol=1e-4)
    reduced: list[Tensor] = []
    branch.reduction.register_forward_pre_hook(lambda _module, given: reduced.append(given[0]))
    network.train()
    assert torch.equal(branch([map_, logits]).embedding, plain.embedding)
    assert 0.4 < (reduced[0] == 0).float().mean() < 0.6
    assert not torch.allclose(locator(map_), logits)


def test_the_locator_sees_means_of_columns_and_of_eight_channels() -> None:
    locator = regions.Locator(16, 3).eval()
    maps = torch.randn(2, 16, 6, 4)
    expected = torch.zeros(2, 3, 6)
    for row in range(6):
        two = torch.stack([maps[:, :8, row].mean((1, 2)), maps[:, 8:, row].mean((1, 2))], 1)
        expected[:, :, row] = two @ locator.logits.weight[:, :, 0].T + locator.logits.bias
    torch.testing.assert_close(locator(maps), expected)


def test_one_region_is_the_whole_map() -> None:
    network = _network(1).eval()
    rows = network.unit(network(_images()))
    whole = nn.functional.normalize(network.backbone(_images()).mean((2, 3)))
    torch.testing.assert_close(rows[:, :-1] * 2**0.5, whole)
    near = similarities(rows.detach().numpy(), rows.detach().numpy(), 1)
    torch.testing.assert_close(torch.from_numpy(near), (whole @ whole.T).detach(), atol=1e-6, rtol=1e-5)


def test_rows_have_length_one_half_of_it_masses_and_keep_their_distance_under_mirroring() -> None:
    network = _network().eval()
    seen = summed(network(_images()), network(_images().flip(3)))
    rows = network.unit(seen)
    assert rows.shape == (4, network.dimension) == (4, 3 * 16 + 3)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(rows[:, -3:].norm(dim=1), torch.full((4,), 0.5**0.5))


def test_the_triplet_equals_its_loops_also_with_a_teacher_that_is_the_network() -> None:
    network = _network().eval()
    images, persons = _images(6), [0, 0, 1, 1, 2, 2]
    expected = oracle.triplet(_plainly(network, images), persons, 0.2)
    rows = network.metric_groups[0].rows(network(images), "embedding")
    loss = VisibleTriplet(0.2, regions=3)
    assert loss(rows, torch.tensor(persons)).item() == pytest.approx(expected, abs=1e-5)
    assert loss(rows, torch.tensor(persons), rows.detach()).item() == pytest.approx(expected, abs=1e-5)


def test_identity_losses_equal_their_loops_and_leave_out_what_is_not_visible() -> None:
    torch.manual_seed(3)
    judge = Regions(5, 7, 3)
    for classes in judge.classes:
        nn.init.normal_(classes.weight)  # type: ignore[arg-type]
    features = torch.randn(4, 21, requires_grad=True)
    logits, persons = torch.randn(4, 18), torch.tensor([0, 1, 4, 4])
    parts = torch.tensor([[0, 0.4], [0, 1.0], [0, 0.5], [0.5, 0.5]])
    found = judge(features, logits, persons, parts)
    shown = [oracle.labels(*map(Fraction, pair), 6, 3) for pair in parts.tolist()]
    of_regions = [
        (part @ classes.weight.T).tolist()  # type: ignore[operator, union-attr]
        for part, classes in zip(features.detach().chunk(3, 1), judge.classes, strict=True)
    ]
    seen = [visible for _, visible in shown]
    assert found["regions"].item() == pytest.approx(
        oracle.identity(of_regions, persons.tolist(), seen), abs=1e-5
    )
    found["regions"].backward()
    for image, visible in enumerate(seen):
        for region in range(3):
            moved = features.grad[image, 7 * region : 7 * region + 7].abs().sum() > 0  # type: ignore[index]
            assert moved == (region in visible)
    rows = torch.tensor([row for row, _ in shown])
    of_rows = nn.functional.cross_entropy(logits.view(4, 3, 6), rows)
    torch.testing.assert_close(found["locator"], of_rows)
    assert judge(features, logits, persons, torch.tensor([[0, 0.1]] * 4))["regions"].isfinite()


def test_only_the_locators_own_loss_teaches_it() -> None:
    network = _network().train()
    learner = recipe.learner(TRAIN, network, 5)
    parts = torch.tensor([[0, 0.5], [0, 1.0], [0, 0.7], [0.5, 0.5]])
    found = learner(_images(), torch.tensor([0, 0, 1, 1]), parts=parts).losses
    assert recipe.terms(TRAIN, network) == {
        "linear": 1.0, "visible_triplet": 3.0, "regions": 1.0, "locator": 0.5,
    }  # fmt: skip
    assert found.keys() == recipe.terms(TRAIN, network).keys()
    taught = {}
    for name, loss in found.items():
        gradients = torch.autograd.grad(
            loss, [*network.locator.parameters(), network.backbone.weight],  # type: ignore[union-attr, list-item]
            retain_graph=True, allow_unused=True,
        )  # fmt: skip
        taught[name] = [gradient is not None and bool(gradient.any()) for gradient in gradients]
    assert taught["locator"] == [True, True, True]
    for name in ("linear", "visible_triplet", "regions"):
        assert taught[name] == [False, False, True], name


def test_losses_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ReidError, match="take visible_triplet, or none"):
        recipe.learner(Train(metric_loss=Loss(name="hard_triplet")), _network(), 5)
    with pytest.raises(ReidError, match="take another, or set regions"):
        losses.build_metric("visible_triplet", 5, 7, regions=0)
    with pytest.raises(ValueError, match="regions: 3 cannot be had with backbone resnet18 and head mgn"):
        Architecture(backbone="resnet18", height=96, width=32, head="mgn", regions=3)
    with pytest.raises(ValueError, match="stripes: 3 cannot be had with"):
        Architecture(backbone="resnet18", height=96, width=32, stripes=3, regions=3)


def test_an_architecture_without_regions_does_not_name_them_and_one_with_them_is_built() -> None:
    plain = Architecture(backbone="resnet18", height=64, width=32)
    assert "regions" not in plain.options
    network = build(plain.model_copy(update={"regions": 2})).eval()
    assert network.unit(network(torch.zeros(1, 3, 64, 32))).shape == (1, 2 * 512 + 2)


def test_a_region_of_which_nothing_at_all_is_seen_has_a_finite_feature_and_no_mass() -> None:
    branch = regions.VisibleBranch(4, 1).eval()
    logits = torch.tensor([0.0, -300.0])[None, :, None].expand(2, 2, 3)
    seen = branch([torch.rand(2, 4, 3, 2), logits])
    assert seen.mass is not None and not seen.mass.any()
    assert torch.isfinite(seen.embedding).all() and torch.isfinite(seen.feature).all()
