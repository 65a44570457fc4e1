"""Opposite-direction feature attacks: what they do to images, and that they leave the network alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid import recipe
from naic_reid.architecture import Architecture
from naic_reid.config import Loss, Train
from naic_reid.models import build
from naic_reid.training import attack

BOUNDS = ((-2.1179, 2.2489), (-2.0357, 2.4286), (-1.8044, 2.6400))  # of R, G, B, as published


class Net(nn.Module):
    """A smooth network in double precision, with a norm and dropout that evaluation mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(6 * 4 * 2, 5)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.drop(torch.tanh(self.norm(self.first(images))).flatten(1)))

    def unit(self, seen: Tensor) -> Tensor:
        return F.normalize(seen)


def _images(seed: int = 0, number: int = 3) -> Tensor:
    """Within what photographs can be, some at its ends."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, 6, 4, generator=generator, dtype=torch.float64).clamp(-1.8, 2.2)


def _by_definition(net: Net, image: Tensor, start: Tensor, levels: int) -> Tensor:
    """One image [1, 3, H, W]; plain loops over steps and channels."""
    still = copy.deepcopy(net).eval()
    level = 1 / (0.226 * 255)
    target = -F.normalize(still(image)).detach()
    away, shown = start.double(), image
    for step in range(round(min(1.25 * levels, levels + 4))):
        if step:
            x = shown.clone().requires_grad_()
            F.mse_loss(F.normalize(still(x)), target).backward()
            away = (away + x.grad.sign()).clamp(-levels, levels)
        shown = image - level * away
        for channel, (black, white) in enumerate(BOUNDS):
            shown[:, channel] = shown[:, channel].clamp(black, white)
    return shown


@pytest.mark.parametrize("levels", [1, 3, 16])
def test_an_attack_is_what_its_definition_says_image_by_image(levels: int) -> None:
    net, images, start = Net().train(), _images(), attack.drawn((3, 3, 6, 4), 7)
    found = recipe.attack(levels)(net, images, start)
    for row in range(3):
        one = slice(row, row + 1)
        torch.testing.assert_close(
            found[one], _by_definition(net, images[one], start[one], levels), atol=1e-4, rtol=0
        )
    assert (found - images).abs().max() <= levels * attack.LEVEL + 1e-4


def test_the_published_numbers() -> None:
    attacked = recipe.attack(16)
    assert attacked.steps == 20 and recipe.attack(2).steps == 2 and recipe.attack(64).steps == 68
    assert round(attack.LEVEL, 7) == 0.0173521 and round(16 * attack.LEVEL, 5) == 0.27763
    for channel, bounds in enumerate(BOUNDS):
        assert (attacked.black[channel].item(), attacked.white[channel].item()) == pytest.approx(
            bounds, abs=5e-5
        )


def test_without_a_drawn_step_the_slope_is_nothing_and_with_one_features_turn_round() -> None:
    net, images = Net().eval(), _images()
    feature = net.unit(net(images)).detach()
    slopes = [
        attack._slope(lambda x: net.unit(net(x)), at, -feature).abs().max()
        for at in (images, images + attack.LEVEL * attack.drawn(images.shape, 1))
    ]
    assert slopes[0] < 1e-9 * slopes[1]
    noise = 16 * attack.LEVEL * attack.drawn(images.shape, 1)
    found = recipe.attack(16)(net, images, attack.drawn(images.shape, 1))
    attacked, shaken = ((net.unit(net(x)) * feature).sum(1) for x in (found, images + noise))
    assert (attacked < shaken - 0.2).all()


def test_the_network_is_left_as_it_was() -> None:
    net = Net().train()
    net.norm.eval()  # as one that is frozen
    before, drawn = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    recipe.attack(4)(net, _images(), attack.drawn((3, 3, 6, 4), 1))
    assert net.training and net.drop.training and not net.norm.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in net.parameters())

    def broken(_images: Tensor) -> Tensor:
        raise MemoryError

    net.forward = broken  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        recipe.attack(4)(net, _images(), attack.drawn((3, 3, 6, 4), 1))
    assert net.training and not net.norm.training


def test_images_are_attacked_alike_in_any_company_and_format() -> None:
    net, images, start = (
        build(Architecture(backbone="resnet18", height=32, width=16)),
        torch.randn(4, 3, 32, 16),
        None,
    )
    net.train()(images)
    start = attack.drawn(images.shape, 5)
    attacked = recipe.attack(2)
    whole = attacked(net, images, start)
    parts = torch.cat([attacked(net, images[rows], start[rows]) for rows in (slice(0, 1), slice(1, 4))])
    last = attacked(net, images.to(memory_format=torch.channels_last), start)
    for other in (parts, last):
        assert ((whole - other).abs() > 1e-5).float().mean() < 1e-3  # a slope of about 0 may turn its sign
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attacked(net, images, start), whole) and whole.dtype == torch.float32


def test_drawn_steps_are_signs_determined_by_their_key() -> None:
    drawn = attack.drawn((2, 3, 50, 40), 1, 2)
    assert set(drawn.unique().tolist()) == {-1, 1} and abs(drawn.float().mean()) < 0.05
    assert torch.equal(drawn, attack.drawn((2, 3, 50, 40), 1, 2))
    assert not torch.equal(drawn, attack.drawn((2, 3, 50, 40), 2, 1))


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(backbone="timm/test_resnet", height=32, width=16, stripes=2, pooling="average"),
        Architecture(backbone="resnet18", height=80, width=16, head="mgn", last_stride=1),
    ],
    ids=["stripes", "mgn"],
)
def test_the_term_is_the_identity_loss_of_attacked_images_by_the_network_that_is_trained(
    architecture: Architecture,
) -> None:
    torch.manual_seed(0)
    network = build(architecture)
    height = architecture.height
    train = Train(identity_loss=Loss(name="linear"), metric_loss=Loss(name="hard_triplet"))
    learner = recipe.learner(train, network, 2).train()
    other = copy.deepcopy(learner)
    images, labels = torch.randn(2, 4, 3, height, 16), torch.tensor([0, 0, 1, 1])
    found = learner(images[0], labels, images[1])
    plain = other(images[0], labels)
    attacked = other(images[1], labels)  # which moves the statistics once more
    torch.testing.assert_close(found.losses["adversarial"], attacked.losses["linear"])
    assert {**found.losses, "adversarial": None} == {**plain.losses, "adversarial": None}
    for name, value in learner.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])
    assert math.isfinite(found.losses["adversarial"].item())


def test_the_recipe_attacks_every_so_many_steps_of_an_epoch() -> None:
    train = Train.model_validate({"adversarial": {"every": 3, "weight": 0.2}})
    assert [step for step in range(8) if recipe.attacked(train, step)] == [0, 3, 6]
    assert not recipe.attacked(Train(), 0)
    network = build(Architecture(backbone="timm/test_resnet", height=32, width=16))
    assert recipe.terms(train, network)["adversarial"] == 0.2 and "adversarial" not in recipe.terms(
        Train(), network
    )
