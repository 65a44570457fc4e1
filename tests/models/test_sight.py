"""Borders, masks and scales inside a network, against padding written out and against the picture alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from naic_reid import Extractor
from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.models import borders, build, sight
from naic_reid.models.embedder import Embedder
from naic_reid.models.inference import fused
from naic_reid.models.weights import Checkpoint
from tests.tools import house

PLAIN = Architecture(backbone="resnet18", height=64, width=32)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.model(tmp_path_factory.mktemp("sight") / "model.pt", PLAIN)


def _network(model: Path) -> Embedder:
    """Normalisations with biases of their own, as training leaves them."""
    embedder = Checkpoint.read(model).embedder()
    generator = torch.Generator().manual_seed(3)
    for module in embedder.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data = torch.randn(module.bias.shape, generator=generator) / 4
    return embedder


def _map(embedder: Embedder, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = embedder.backbone(images)
    return found


@pytest.mark.parametrize("fold", [True, False])
def test_a_blank_image_gives_one_number_for_each_channel_where_borders_are_blank(
    model: Path, fold: bool
) -> None:
    plain = _network(model)
    blank = torch.zeros(1, 3, 96, 48)
    assert _map(plain, blank).std((2, 3)).max() > 0.01
    changed = fused(plain) if fold else plain
    borders.prepared(changed, PLAIN, "blank")
    found = _map(changed, blank)
    assert torch.equal(found, found[:, :, :1, :1].expand_as(found))


def test_blank_borders_are_padding_with_what_a_blank_image_has_at_that_depth(model: Path) -> None:
    plain, changed = _network(model), _network(model)
    borders.prepared(changed, PLAIN, "blank")
    for module in plain.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
            module.register_forward_pre_hook(_Written())
    # Of endless blank space the middle of a large blank image is a part.
    _map(plain, torch.zeros(1, 3, 512, 512))
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_map(changed, images), _map(plain, images), atol=1e-4, rtol=1e-4)


class _Written:
    """Pads a convolution's input itself: with what its first input had in the middle."""

    def __init__(self) -> None:
        self.blank: torch.Tensor | None = None

    def __call__(self, conv: nn.Conv2d, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        (maps,) = given
        if self.blank is None:
            middle = maps.shape[2] // 2
            self.blank = maps[:1, :, middle : middle + 1, middle : middle + 1].clone()
            self.padding, conv.padding = conv.padding, (0, 0)
            return (F.pad(maps, [self.padding[1]] * 2 + [self.padding[0]] * 2, mode="replicate"),)
        down, right = self.padding
        num, channels, height, width = maps.shape
        padded = self.blank.expand(num, channels, height + 2 * down, width + 2 * right).clone()
        padded[:, :, down : down + height, right : right + width] = maps
        return (padded,)


def test_where_the_blank_is_0_blank_borders_are_the_plain_network_to_the_bit(model: Path) -> None:
    plain = Checkpoint.read(model).embedder()  # whose normalisations give 0 for 0
    for module in plain.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.zero_()
            module.running_mean.zero_()  # type: ignore[union-attr]
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    expected = _map(plain, images)
    borders.prepared(plain, PLAIN, "blank")
    assert torch.equal(_map(plain, images), expected)


def test_folding_changes_blank_borders_by_rounding_alone(model: Path) -> None:
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    folded, plain = fused(_network(model)), _network(model)
    for network in (folded, plain):
        borders.prepared(network, PLAIN, "blank")
    torch.testing.assert_close(_map(folded, images), _map(plain, images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("height", "width", "left"), [(40, 16, 0), (37, 13, 16), (64, 48, 0), (1, 1, 32)])
def test_inside_of_the_mask_the_map_is_that_of_the_picture_alone(
    model: Path, height: int, width: int, left: int
) -> None:
    """In double precision, for a convolution sums in an order that depends on the sizes."""
    picture = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).double()
    alone = _map(_network(model).double(), picture)
    canvas, mask = torch.zeros(1, 3, 64, 48).double(), torch.zeros(1, 1, 64, 48)
    canvas[:, :, :height, left : left + width] = picture
    mask[:, :, :height, left : left + width] = 1
    network = _network(model)
    borders.prepared(network, PLAIN, "masked").inside = mask
    found = _map(network.double(), canvas)
    rows, columns = alone.shape[2:]
    assert (rows, columns) == (-(-height // 16), -(-width // 16))
    inside = found[:, :, :rows, left // 16 : left // 16 + columns]
    torch.testing.assert_close(inside, alone, atol=1e-12, rtol=1e-12)


def test_without_a_mask_before_the_maximum_it_would_not_be(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sight, "MaskedMaxPool2d", lambda pool, _: pool)
    with pytest.raises(AssertionError):
        test_inside_of_the_mask_the_map_is_that_of_the_picture_alone(model, 37, 13, 16)


def test_a_mask_changes_nothing_for_who_else_reads_a_map_or_learns_from_it(model: Path) -> None:
    """Maps are overwritten where nobody else reads them; while gradients are kept, none is."""
    network = _network(model)
    mask = torch.zeros(1, 1, 64, 32)
    mask[:, :, :40] = 1
    borders.prepared(network, PLAIN, "masked").inside = mask
    images = (torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(0)) * mask).requires_grad_()
    learnt = network.backbone(images)
    learnt.sum().backward()
    torch.testing.assert_close(_map(network, images.detach()), learnt.detach())


@pytest.mark.parametrize("pooling", ["gem", "gem_learnt", "average"])
def test_masks_and_pooling_over_the_picture_give_the_features_of_crop(tmp_path: Path, pooling: str) -> None:
    path = house.model(tmp_path / "a.pt", PLAIN.model_copy(update={"pooling": pooling}))
    rng = np.random.default_rng(0)
    sizes = [(40, 30), (128, 48), (64, 48), (30, 60), (64, 32)]
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    cropped = Extractor.load(path, "cpu", geometry="crop").images(pictures)
    words: dict[str, Any] = {"geometry": "pad", "border": "masked"}
    masked = Extractor.load(path, "cpu", pool_over="picture", **words).images(pictures)
    np.testing.assert_allclose(masked, cropped, atol=1e-5)
    over_all = Extractor.load(path, "cpu", **words).images(pictures)
    assert np.abs(over_all[0] - cropped[0]).max() > 1e-3
    np.testing.assert_allclose(over_all[4], cropped[4], atol=1e-5)  # it fills the input


def test_kernels_that_were_kept_are_made_anew_for_another_scale(model: Path) -> None:
    network, images = _network(model), torch.randn(1, 3, 64, 32)
    plain = _map(network, images)
    told = borders.prepared(network, PLAIN, "zero")
    told.scale = torch.tensor([2.0, 1.0])
    assert (_map(network, images) - plain).abs().max() > 1e-3
    told.scale = torch.tensor([1.0, 1.0])
    torch.testing.assert_close(_map(network, images), plain)


def test_scale_1_changes_no_bit_and_others_spread_every_kernel_but_1x1(model: Path) -> None:
    pictures = list(np.random.default_rng(1).integers(0, 256, (3, 64, 32, 3), np.uint8))
    plain = Extractor.load(model, "cpu").images(pictures)
    assert np.array_equal(Extractor.load(model, "cpu", scale=(1.0, 1.0)).images(pictures), plain)
    assert np.abs(Extractor.load(model, "cpu", scale=(2.0, 1.0)).images(pictures) - plain).max() > 1e-3
    same_size = Extractor.load(model, "cpu", scale="size", size=(64, 32)).images(pictures)
    assert np.array_equal(same_size, plain)
    twice = Extractor.load(model, "cpu", scale="size", size=(128, 64))
    by_hand = Extractor.load(model, "cpu", scale=(2.0, 2.0), size=(128, 64))
    assert np.array_equal(twice.images(pictures), by_hand.images(pictures))
    embedder = build(PLAIN).eval()
    borders.prepared(embedder, PLAIN, "zero").scale = torch.tensor([2.0, 1.0])
    reference = build(PLAIN).eval()
    reference.load_state_dict(embedder.state_dict())
    for module in reference.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
            module.dilation, module.padding = (2, 1), (2 * (module.kernel_size[0] // 2), module.padding[1])
    images = torch.randn(1, 3, 64, 32)
    torch.testing.assert_close(_map(embedder, images), _map(reference, images), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"border": "masked"}, "border masked: what geometry resize gives is all picture"),
        ({"pool_over": "picture"}, "pool_over picture: with border zero"),
        ({"scale": "size"}, "scale size: size is as trained"),
        ({"scale": (0.4, 1.0)}, "extract.scale.*0.4"),
        ({"scale": "size", "size": (256, 32)}, r"size \[256, 32\] is 4 and 1 times"),
        ({"geometry": "pad", "border": "masked", "size": (70, 32)}, "70 × 32 must be multiples of 16"),
    ],
)
def test_words_that_mean_nothing_together_are_refused(model: Path, words: dict[str, Any], says: str) -> None:
    with pytest.raises(ReidError, match=says):
        Extractor.load(model, "cpu", **words)


@pytest.mark.parametrize("word", [{"backbone": "resnet18_ibn_a"}, {"stripes": 2}, {"ceil_pool": True}])
def test_networks_that_see_more_than_neighbours_are_refused(tmp_path: Path, word: dict[str, Any]) -> None:
    other = Architecture.model_validate(PLAIN.options | word)
    with pytest.raises(ReidError, match=r"extract.border and extract.scale: not with resnet18"):
        Extractor.load(house.model(tmp_path / "a.pt", other), "cpu", border="blank")
