"""FastReID's published files: what is recognised, features as of networks written out, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from naic_reid.architecture import Architecture
from naic_reid.data.augment import normalised
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from naic_reid.models import build, fastreid
from tests.oracles import fastreid as oracle

SMALL = {"height": 64, "width": 32}


def _pixels(num: int = 4, height: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num, height, 32, 3), dtype=torch.uint8, generator=generator)


def _features(converted: fastreid.Converted, pixels: Tensor) -> Tensor:
    network = converted.checkpoint.embedder()
    with torch.inference_mode():
        return network.unit(network(normalised(pixels)))


def _planar(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float()


# file name, what the file has, how the oracle pools and begins, what must be told
SINGLE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "market_bot_R50": ({"names": "zoo"}, {"ceil": False}, {"pooling": "average", "ceil_pool": False}),
    "bot_today_R50-ibn": ({"ibn": True}, {}, {"pooling": "average", "ceil_pool": True}),
    "market_agw_R50-ibn": (
        {"ibn": True, "non_local": True, "learnt": True, "names": "zoo"}, {"ceil": False},
        {"pooling": "gem_learnt", "non_local": True, "ceil_pool": False},
    ),
    "agw_today_R50": ({"non_local": True}, {"pooling": "gem"}, {"pooling": "gem", "ceil_pool": True}),
    "msmt_sbs_R101-ibn": (
        {"depth": 101, "ibn": True, "non_local": True, "learnt": True}, {"depth": 101},
        {"backbone": "resnet101_ibn_a", "pooling": "gem_learnt"},
    ),
    "veriwild_bot_R50-ibn": (
        {"ibn": True, "names": "middle"}, {"pooling": "gem"}, {"pooling": "gem", "ceil_pool": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_features_of_a_file_are_those_of_the_network_written_out(name: str) -> None:
    made, read, told = SINGLE[name]
    tensors = oracle.single(3, **made)
    converted = fastreid.convert(tensors, Path(f"{name}.pth"), **SMALL)
    assert {key: getattr(converted.checkpoint.architecture, key) for key in told} == told
    assert not converted.report.missing and converted.report.loaded == converted.report.total
    pixels = _pixels()
    with torch.inference_mode():
        expected = oracle.single_features(tensors, _planar(pixels), **read)
    for num in (1, 4):
        cosine = (_features(converted, pixels[:num]) * expected[:num]).sum(1)
        assert (1 - cosine).abs().max() < 1e-5


@pytest.mark.parametrize("published", [False, True])
def test_features_of_mgn_are_those_of_the_network_written_out(published: bool) -> None:
    tensors = oracle.mgn(5, published=published)
    converted = fastreid.convert(tensors, Path("market_mgn_R50-ibn.pth"), height=96, width=32)
    assert converted.checkpoint.architecture.head == ("mgn_relu" if published else "mgn")
    pixels = _pixels(2, 96)
    with torch.inference_mode():
        expected = oracle.mgn_features(tensors, _planar(pixels), published=published)
    cosine = (_features(converted, pixels) * expected).sum(1)
    assert (1 - cosine).abs().max() < 1e-5


@pytest.mark.parametrize("dilated", [False, True])
def test_features_of_a_resnest_are_those_of_the_network_written_out(dilated: bool) -> None:
    """Its tensors are called alike here, in timm and in the files; today's last stage is dilated."""
    torch.manual_seed(2)
    own = build(Architecture(backbone="resnest50", pooling="average", dilated=dilated, **SMALL))
    for module in own.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    pixels = _pixels()
    with torch.inference_mode():
        rows = own.eval()(normalised(pixels))["whole"].embedding
        own.branches["whole"].neck.running_mean.copy_(rows.mean(0))  # so that features show what differs
        own.branches["whole"].neck.bias.zero_()
    neck = "heads.bottleneck.0." if dilated else "heads.bnneck."
    tensors = {name: t for name, t in own.state_dict().items() if name.startswith("backbone.")}
    held = own.branches["whole"].state_dict()
    tensors |= {name.replace("neck.", neck): t for name, t in held.items() if name.startswith("neck.")}
    assert len([name for name in tensors if name.startswith("backbone.")]) == 474
    classes = {"heads.weight" if dilated else "heads.classifier.weight": torch.ones(3, 2048)}
    converted = fastreid.convert(tensors | classes, Path("market_bot_S50.pth"), **SMALL)
    assert converted.checkpoint.architecture.dilated == dilated
    with torch.inference_mode():
        expected = oracle.resnest_features(tensors, _planar(pixels), dilated=dilated)
    for num in (1, 4):
        cosine = (_features(converted, pixels[:num]) * expected[:num]).sum(1)
        assert (1 - cosine).abs().max() < 1e-5
    assert (expected @ expected.T).min() < 0.9, "the images differ"


def test_what_the_names_do_not_tell_is_said_and_can_be_overruled() -> None:
    tensors = oracle.single(3)
    told = fastreid.convert(tensors, Path("mine.pth"))
    assert told.assumed == ("pooling: average", "height: 256, width: 128")
    assert "heads.weight" in told.left_out
    other = fastreid.convert(tensors, Path("mine.pth"), pooling="gem", **SMALL)
    assert (other.checkpoint.architecture.pooling, other.assumed) == ("gem", ())
    sbs = fastreid.convert(tensors, Path("duke_sbs_R50.pth")).checkpoint.architecture
    assert (sbs.height, sbs.width) == (384, 128)


def test_counts_of_tensors_are_the_published_ones() -> None:
    assert len(oracle.single(1, names="zoo")) == 326
    assert len(oracle.single(1)) == 324
    assert len(oracle.single(1, non_local=True, learnt=True, names="zoo")) == 392
    assert len(oracle.single(1, non_local=True, learnt=True)) == 390
    assert len(oracle.single(1, 101, ibn=True, non_local=True, learnt=True, names="zoo")) == 836


@pytest.mark.parametrize("lost", ["heads.bottleneck.0.running_var", "backbone.layer3.2.conv2.weight"])
def test_a_file_with_a_hole_is_refused_by_name(lost: str) -> None:
    tensors = oracle.single(3)
    del tensors[lost]
    with pytest.raises(ReidError, match=r"a\.pth: not the whole of a FastReID .* 1 missing"):
        fastreid.convert(tensors, Path("a.pth"))


def test_other_pixels_are_refused() -> None:
    tensors = oracle.single(3, names="zoo") | {"pixel_mean": torch.tensor([127.5] * 3)}
    with pytest.raises(ReidError, match=r"its pixel_mean is \[127.5"):
        fastreid.convert(tensors, Path("a.pth"))


def test_files_of_others_are_not_taken_for_fastreids() -> None:
    assert fastreid.tensors_of({"state_dict": {"layer1.0.conv1.weight": torch.ones(1)}}) is None
    wrapped = {"model": {"module." + name: t for name, t in oracle.single(3).items()}, "epoch": 3}
    found = fastreid.tensors_of(wrapped)
    assert found is not None
    assert found["heads.weight"].std().item() == pytest.approx(1, abs=0.1)


def test_an_extractor_takes_a_published_file_as_it_is(tmp_path: Path) -> None:
    tensors = oracle.single(3, ibn=True, names="zoo")
    torch.save({"model": tensors, "iteration": 7}, tmp_path / "market_bot_R50-ibn.pth")
    extractor = Extractor.load(tmp_path / "market_bot_R50-ibn.pth", device="cpu")
    assert (extractor.geometry.height, extractor.geometry.resize, extractor.flip) == (256, "bicubic", False)
    picture = _pixels(1)[0].numpy()
    (row,) = extractor.images([picture])
    fitted = torch.from_numpy(extractor.geometry.fitted(picture))[None]
    with torch.inference_mode():
        expected = oracle.single_features(tensors, _planar(fitted), ceil=False)[0]
    assert 1 - float(torch.from_numpy(row) @ expected) < 1e-5
