"""The model file and weights from elsewhere: what is kept, what is refused, and in which words."""

import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from naic_reid import files
from naic_reid.architecture import Architecture
from naic_reid.artifacts import MadeBy
from naic_reid.errors import ReidError
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.resnet_ibn import RESNETS, Bottleneck, ResNet
from naic_reid.models.weights import Checkpoint, load_pretrained

MODEL = Architecture(backbone="resnet18_ibn_a", height=64, width=32)
IDENTITIES = ("a/1", "a/2", "b/1")


def _checkpoint(seed: int = 1) -> Checkpoint:
    torch.manual_seed(seed)
    embedder, classifier = build(MODEL), build_identity("arcface", 3, 512)
    return Checkpoint.of(embedder, classifier, 5, IDENTITIES, MODEL, MadeBy("train", 1, "1.0", "{}"))


def _with(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    fields = ("weights", "classifier", "epoch", "identities", "architecture", "made_by")
    return Checkpoint(**{name: changes.get(name, getattr(checkpoint, name)) for name in fields})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = _checkpoint()
    written.write(tmp_path / "epoch_5.pt")
    read = Checkpoint.read(tmp_path / "epoch_5.pt")
    assert (read.epoch, read.identities, read.architecture, read.made_by) == (
        5, IDENTITIES, MODEL, written.made_by,
    )  # fmt: skip
    for kind in ("weights", "classifier"):
        ours, theirs = getattr(read, kind), getattr(written, kind)
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_digest_of_what_is_written_is_known_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.MEMORY, str(tmp_path / "scratch" / "digests"))
    read = files.digest
    monkeypatch.setattr(files, "digest", lambda path: pytest.fail(f"{path} was read for its digest"))
    _checkpoint().write(tmp_path / "epoch_5.pt")
    assert files.known_digest(tmp_path / "epoch_5.pt") == read(tmp_path / "epoch_5.pt")


@pytest.mark.parametrize("options", [{}, {"standardise": True}, {"stripes": 2}])
def test_the_file_alone_rebuilds_the_network(tmp_path: Path, options: dict[str, Any]) -> None:
    model = MODEL.model_copy(update=options)
    torch.manual_seed(2)
    embedder = build(model)
    embedder.train()(torch.randn(4, 3, 64, 32))
    Checkpoint.of(embedder, build_identity("linear", 3, 512), 1, IDENTITIES, model, MadeBy()).write(
        tmp_path / "a.pt"
    )
    rebuilt = Checkpoint.read(tmp_path / "a.pt").embedder()
    assert not rebuilt.training
    images = torch.randn(3, 3, 64, 32)
    with torch.inference_mode():
        assert torch.equal(rebuilt.unit(rebuilt(images)), embedder.unit(embedder.eval()(images)))


def test_rebuilding_draws_nothing_from_the_generator() -> None:
    checkpoint = _checkpoint()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    checkpoint.embedder()
    assert torch.equal(torch.rand(1), expected)


def test_equal_content_gives_equal_bytes_whatever_the_name_and_the_history(tmp_path: Path) -> None:
    _checkpoint().write(tmp_path / "one.pt")
    Checkpoint.read(tmp_path / "one.pt").write(tmp_path / "elsewhere" / "two.pt")
    again = _checkpoint()
    laid_out_otherwise = {
        name: tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        for name, tensor in again.weights.items()
    }
    _with(again, weights=laid_out_otherwise).write(tmp_path / "three.pt")
    one, two, three = (
        path.read_bytes()
        for path in (tmp_path / "one.pt", tmp_path / "elsewhere" / "two.pt", tmp_path / "three.pt")
    )
    assert one == two == three


def test_later_training_does_not_change_a_checkpoint() -> None:
    embedder = build(MODEL)
    kept = Checkpoint.of(embedder, build_identity("linear", 3, 512), 1, IDENTITIES, MODEL, MadeBy())
    before = kept.weights["backbone.conv1.weight"].clone()
    with torch.no_grad():
        embedder.backbone.conv1.weight.add_(1)
    assert torch.equal(kept.weights["backbone.conv1.weight"], before)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("should_not_exist",)


def test_a_file_that_holds_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"type": "Checkpoint", "weights": _Code()}, tmp_path / "evil.pt")
    for read in (Checkpoint.read, lambda path: load_pretrained(RESNETS["resnet18"](1), path)):
        with pytest.raises(ReidError, match=r"evil.pt: it holds more than weights"):
            read(tmp_path / "evil.pt")
    assert not Path("should_not_exist").exists()


def test_damage_is_refused_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    _checkpoint().write(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content, reason in (
        (bytes(flipped), "bad CRC-32 for archive/data/"),
        (whole[: len(whole) // 2], ""),
        (b"", "it ends too early"),
        (b"nothing of the kind" * 9, ""),
    ):
        path.write_bytes(content)
        with pytest.raises(ReidError, match=rf"a\.pt: (not a whole|it holds more).*{reason}"):
            Checkpoint.read(path)
    with pytest.raises(ReidError, match=r"none\.pt: cannot be read: No such file"):
        Checkpoint.read(tmp_path / "none.pt")
    torch.save({"weights": {}}, path)
    with pytest.raises(ReidError, match=r"a\.pt: not a whole Checkpoint file: no 'type'"):
        Checkpoint.read(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    _with(_checkpoint(), architecture=MODEL.model_copy(update={"backbone": "resnet18_ibn_b"})).write(path)
    with pytest.raises(ReidError, match=r"a\.pt: its weights are not those of resnet18_ibn_b: .* missing"):
        Checkpoint.read(path).embedder()


def test_half_the_keys_are_refused(tmp_path: Path) -> None:
    checkpoint = _checkpoint()
    half = dict(list(checkpoint.weights.items())[::2])
    path = tmp_path / "a.pt"
    _with(checkpoint, weights=half).write(path)
    with pytest.raises(ReidError, match=r"a\.pt: its weights are not those of resnet18_ibn_a: "):
        Checkpoint.read(path).embedder()


def test_weights_that_are_no_numbers_are_refused() -> None:
    checkpoint = _checkpoint()
    for value in (torch.nan, torch.inf):
        spoilt = {**checkpoint.weights, "branches.whole.neck.weight": torch.full((512,), value)}
        with pytest.raises(ValueError, match=r"finite weights, which branches\.whole\.neck\.weight is not"):
            _with(checkpoint, weights=spoilt)


def test_a_classifier_of_other_persons_is_refused() -> None:
    with pytest.raises(ValueError, match="a class row for each identity, not 3"):
        _with(_checkpoint(), identities=("a/1", "a/2"))
    with pytest.raises(ValueError, match="unique identities"):
        _with(_checkpoint(), identities=("a/1", "a/1", "b/1"))


def _gated() -> ResNet:
    """A small network with every kind of published key."""
    return ResNet(Bottleneck, (1, 1, 1, 1), 1, ibn="a", se=True)


def _tensors(network: ResNet) -> dict[str, Tensor]:
    return dict(network.state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: {"state_dict": t},
        lambda t: {"model": t, "epoch": 3},
        lambda t: {"state_dict": {f"module.{name}": value for name, value in t.items()}},
        lambda t: {f"module.base.{name}": value for name, value in t.items()},
        lambda t: {f"backbone.{name}": value for name, value in t.items()},
        lambda t: {name: value for name, value in t.items() if "num_batches" not in name},
        lambda t: {**t, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)},
    ],
    ids=["bare", "state_dict", "model", "module", "module.base", "backbone", "no counters", "classifier"],
)
def test_published_wrappings_come_off(tmp_path: Path, wrap: Any) -> None:
    tensors = _tensors(_gated())
    torch.save(wrap(tensors), tmp_path / "w.pth")
    network = _gated()
    report = load_pretrained(network, tmp_path / "w.pth")
    assert report.coverage == 1
    assert report.missing == report.unexpected == report.mismatched == ()
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())


def test_the_gates_own_fc_is_loaded_though_the_classifiers_is_not(tmp_path: Path) -> None:
    tensors = _tensors(_gated())
    torch.save({**tensors, "fc.weight": torch.zeros(3, 2048)}, tmp_path / "w.pth")
    network = _gated()
    report = load_pretrained(network, tmp_path / "w.pth")
    assert "fc.weight" not in report.unexpected
    name = "layer1.0.se.fc.2.weight"
    assert torch.equal(network.state_dict()[name], tensors[name])


def test_a_file_of_safetensors_is_read_and_a_cut_one_refused(tmp_path: Path) -> None:
    path, network = tmp_path / "model.safetensors", RESNETS["resnet18"](1)
    tensors = _tensors(RESNETS["resnet18"](1))
    safetensors.torch.save_file({**tensors, "fc.weight": torch.zeros(3, 512)}, path)
    assert load_pretrained(network, path).coverage == 1
    assert torch.equal(network.conv1.weight, tensors["conv1.weight"])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ReidError, match=r"model\.safetensors: not a whole file of weights"):
        load_pretrained(network, path)


def test_attention_that_is_added_need_not_be_in_the_file_and_all_else_must(tmp_path: Path) -> None:
    plain, grown = (ResNet(Bottleneck, (1, 2, 3, 1), 1, **words) for words in ({}, {"num_non_local": (2, 3)}))
    tensors = _tensors(plain)
    torch.save(tensors, tmp_path / "w.pth")
    report = load_pretrained(grown, tmp_path / "w.pth")
    assert {name.partition(".")[0] for name in report.missing} == {"NL_2", "NL_3"}
    assert report.coverage < 0.75  # of all tensors: what a file of another network would have
    assert torch.equal(grown.layer4[0].conv1.weight, plain.layer4[0].conv1.weight)
    torch.save({name: value for name, value in tensors.items() if "layer3.1" not in name}, tmp_path / "w.pth")
    with pytest.raises(ReidError, match=r"only 8\d% of the backbone's tensors are in it"):
        load_pretrained(grown, tmp_path / "w.pth")


def test_a_checkpoint_of_ours_serves_as_pretrained(tmp_path: Path) -> None:
    checkpoint = _checkpoint()
    checkpoint.write(tmp_path / "a.pt")
    network = RESNETS["resnet18_ibn_a"](1)
    assert load_pretrained(network, tmp_path / "a.pt").coverage == 1
    assert torch.equal(network.conv1.weight, checkpoint.weights["backbone.conv1.weight"])


def test_the_report_names_what_does_not_fit(tmp_path: Path) -> None:
    tensors = _tensors(RESNETS["resnet50"](1))
    tensors["extra.weight"] = torch.zeros(1)
    del tensors["layer4.2.bn3.bias"]
    tensors["layer1.0.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    torch.save(tensors, tmp_path / "w.pth")
    network = RESNETS["resnet50"](1)
    drawn = network.layer1[0].conv1.weight.clone()
    report = load_pretrained(network, tmp_path / "w.pth")
    assert report.missing == ("layer4.2.bn3.bias",)
    assert report.unexpected == ("extra.weight",)
    assert report.mismatched == ("layer1.0.conv1.weight",)
    assert str(report) == (
        "263 of 265 tensors; 1 missing (layer4.2.bn3.bias); 1 unexpected (extra.weight); "
        "1 mismatched (layer1.0.conv1.weight)"
    )
    assert torch.equal(network.layer1[0].conv1.weight, drawn)


def test_the_authors_ibn_b_release_loads_without_its_third_instance_normalisation(tmp_path: Path) -> None:
    tensors = {
        name: t for name, t in _tensors(RESNETS["resnet101_ibn_b"](1)).items() if ".22.IN." not in name
    }
    torch.save(tensors, tmp_path / "w.pth")
    report = load_pretrained(RESNETS["resnet101_ibn_b"](1), tmp_path / "w.pth")
    assert report.missing == ("layer3.22.IN.weight", "layer3.22.IN.bias")


def test_less_than_95_percent_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    torch.save(_tensors(RESNETS["resnet18"](1)), tmp_path / "w.pth")
    network = RESNETS["resnet50"](1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ReidError, match=r"w\.pth: only \d+% of the backbone's tensors are in it: "):
        load_pretrained(network, tmp_path / "w.pth")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_pretrained_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tensors = _tensors(RESNETS["resnet18"](1))
    tensors["layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(ReidError, match=r"w\.pth: layer1\.0\.conv1\.weight is not finite"):
        load_pretrained(RESNETS["resnet18"](1), tmp_path / "w.pth")


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(ReidError, match=r"w\.pth: not weights: a table of tensors by name is needed"):
        load_pretrained(RESNETS["resnet18"](1), tmp_path / "w.pth")


def test_an_efficientnet_in_the_names_of_its_first_port_is_understood(tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"backbone": "timm/tf_efficientnet_lite0"})
    torch.manual_seed(8)
    tensors = build(model).backbone.state_dict()
    port = {"_conv_stem.weight": tensors["conv_stem.weight"]}
    port |= {f"_blocks.{number}": tensor for number, tensor in enumerate(list(tensors.values())[1:])}
    torch.save({**port, "_fc.weight": torch.zeros(1000, 1280)}, tmp_path / "w.pth")
    network = build(model).backbone
    assert load_pretrained(network, tmp_path / "w.pth").coverage == 1
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    with pytest.raises(ReidError, match="use weights of the same backbone"):
        load_pretrained(RESNETS["resnet18"](1), tmp_path / "w.pth")
