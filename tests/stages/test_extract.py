"""Extraction: what a feature is, in which order, whatever the batch, and what is refused."""

import json
import shutil
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from naic_reid.architecture import Architecture
from naic_reid.artifacts import Features, ImageList, MadeBy
from naic_reid.config import Extract
from naic_reid.data import augment, pictures
from naic_reid.data.geometry import Geometry
from naic_reid.data.images import read
from naic_reid.errors import ReidError
from naic_reid.files import digest
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.weights import Checkpoint
from naic_reid.stages import extract

MODEL = Architecture(backbone="resnet18_ibn_a", height=64, width=32)
PATHS = ("g/0.png", "g/1.png", "g/2.png", "g/3.png", "q/9.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder, a list and a checkpoint."""
    folder = tmp_path_factory.mktemp("extract")
    rng = np.random.default_rng(1)
    for number, path in enumerate(PATHS):
        (folder / path).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / path), rng.integers(0, 256, (60 + number, 40, 3), np.uint8))
    ImageList(PATHS, ("",) * len(PATHS)).write(folder / "list.tsv")
    torch.manual_seed(1)
    embedder = build(MODEL)
    embedder.train()(torch.randn(8, 3, 64, 32))
    classifier = build_identity("linear", 2, 512)
    Checkpoint.of(embedder, classifier, 1, ("a/1", "a/2"), MODEL, MadeBy()).write(folder / "a.pt")
    return folder


def _features(
    world: Path, out: Path, settings: Extract | None = None, images: Path | None = None, **knobs: object
) -> Features:
    places = {"data": world, "images": [images or world / "list.tsv"], "checkpoint": world / "a.pt"}
    extract.run(settings or Extract(), **places, features=[out], **knobs)  # type: ignore[arg-type]
    return Features.read(out)


def _plain(world: Path, *, flip: bool) -> Tensor:
    embedder = Checkpoint.read(world / "a.pt").embedder()
    rows = []
    for path in PATHS:
        images = augment.normalised(torch.from_numpy(Geometry(64, 32).fitted(read(world / path)))[None])
        with torch.inference_mode():
            row = embedder(images)["whole"].feature
            rows.append(row + embedder(images.flip(3))["whole"].feature if flip else row)
    stacked = torch.cat(rows)
    return stacked / stacked.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("flip", [True, False])
def test_a_feature_is_the_networks_of_image_and_mirror_image_at_length_one(
    world: Path, tmp_path: Path, flip: bool
) -> None:
    found = _features(world, tmp_path / "f.npz", Extract(flip=flip))
    assert found.names == ("0.png", "1.png", "2.png", "3.png", "9.png")
    assert found.values.dtype == np.float32
    torch.testing.assert_close(torch.tensor(found.values), _plain(world, flip=flip), atol=1e-5, rtol=1e-4)


def test_flipping_matters(world: Path) -> None:
    assert (_plain(world, flip=True) - _plain(world, flip=False)).abs().max() > 1e-3


def test_workers_change_no_bit_and_the_batch_only_rounding(world: Path, tmp_path: Path) -> None:
    first = _features(world, tmp_path / "1.npz")
    _features(world, tmp_path / "2.npz", workers=3)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    other = _features(world, tmp_path / "3.npz", batch=2)
    np.testing.assert_allclose(first.values, other.values, atol=1e-5)


def test_lists_taken_together_give_the_bytes_that_each_gives_alone(world: Path, tmp_path: Path) -> None:
    lists = [tmp_path / "few.tsv", world / "list.tsv", tmp_path / "none.tsv"]
    ImageList(PATHS[1:4], ("",) * 3).write(lists[0])
    ImageList((), ()).write(lists[2])
    places = {"data": world, "checkpoint": world / "a.pt", "batch": 2}
    together = [tmp_path / f"{number}.npz" for number in range(3)]
    extract.run(Extract(), images=lists, features=together, **places)  # type: ignore[arg-type]
    for path, found in zip(lists, together, strict=True):
        extract.run(Extract(), images=[path], features=[tmp_path / "alone.npz"], **places)  # type: ignore[arg-type]
        assert found.read_bytes() == (tmp_path / "alone.npz").read_bytes()


def test_a_checkpoint_is_read_once_whatever_the_number_of_lists(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    whole = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda path: read.append(path) or whole(path))
    out = [tmp_path / f"{number}.npz" for number in range(3)]
    extract.run(
        Extract(), data=world, images=[world / "list.tsv"] * 3, checkpoint=world / "a.pt", features=out
    )
    assert read == [world / "a.pt"]


def test_lists_without_files_to_write_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ReidError, match="1 lists and 0 files of features: give --images and --features once"):
        extract.run(
            Extract(), data=world, images=[world / "list.tsv"], checkpoint=world / "a.pt", features=[]
        )


def test_bf16_features_point_where_fp32_ones_do(world: Path, tmp_path: Path) -> None:
    whole = _features(world, tmp_path / "32.npz")
    half = _features(world, tmp_path / "16.npz", Extract(precision="bf16"))
    cosines = (whole.values * half.values).sum(1)
    assert half.values.dtype == np.float32
    assert cosines.min() > 0.999


def test_an_empty_list_gives_an_empty_file_of_the_right_width(world: Path, tmp_path: Path) -> None:
    ImageList((), ()).write(tmp_path / "none.tsv")
    found = _features(world, tmp_path / "f.npz", images=tmp_path / "none.tsv")
    assert found.values.shape == (0, 512)
    assert found.names == ()


def test_images_of_one_name_in_two_folders_are_called_by_their_paths(world: Path, tmp_path: Path) -> None:
    (world / "h").mkdir(exist_ok=True)
    (world / "h/0.png").write_bytes((world / "g/0.png").read_bytes())
    ImageList(("g/0.png", "h/0.png"), ("", "")).write(tmp_path / "list.tsv")
    found = _features(world, tmp_path / "f.npz", images=tmp_path / "list.tsv")
    assert found.names == ("g/0.png", "h/0.png")
    np.testing.assert_allclose(found.values[0], found.values[1], atol=1e-6)


def test_a_missing_image_is_named_and_leaves_no_file(world: Path, tmp_path: Path) -> None:
    ImageList(("g/0.png", "g/none.png"), ("", "")).write(tmp_path / "list.tsv")
    with pytest.raises(ReidError, match=r"g/none\.png"):
        _features(world, tmp_path / "f.npz", images=tmp_path / "list.tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["list.tsv"]


def test_a_device_that_is_none_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ReidError, match="device abacus: no such device"):
        _features(world, tmp_path / "f.npz", device="abacus")


def test_memory_does_not_grow_with_the_list(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def finished(*batch: object) -> pictures.Batch:
        nonlocal most
        found = whole(*batch)
        alive.add(found.pixels)
        most = max(most, len(alive))
        return found

    whole = pictures._finished
    monkeypatch.setattr(pictures, "_finished", finished)
    for number in range(30):
        (world / "many").mkdir(exist_ok=True)
        shutil.copyfile(world / "g/0.png", world / f"many/{number:02}.png")
    paths = tuple(f"many/{number:02}.png" for number in range(30))
    ImageList(paths, ("",) * 30).write(tmp_path / "list.tsv")
    assert len(_features(world, tmp_path / "f.npz", images=tmp_path / "list.tsv", batch=1).values) == 30
    assert most <= 2


def test_the_record_names_the_settings_and_the_inputs(world: Path, tmp_path: Path) -> None:
    made_by = _features(world, tmp_path / "f.npz").made_by
    assert made_by.stage == "extract"
    settings = json.loads(made_by.settings)
    assert settings == {"extract": {"flip": True, "precision": "fp32"}, "epoch": 1, "model": MODEL.options}
    assert [path for path, _ in made_by.inputs] == [str(world / "list.tsv"), str(world / "a.pt")]


def test_an_image_that_was_swapped_since_it_was_listed_is_refused_by_name(
    world: Path, tmp_path: Path
) -> None:
    digests = [digest(world / path) for path in PATHS]
    swapped = (digests[1], digests[0], *digests[2:])
    ImageList(PATHS, ("",) * len(PATHS), digests=swapped).write(tmp_path / "list.tsv")
    with pytest.raises(ReidError, match=r"g/0.png: has changed since it was listed"):
        _features(world, tmp_path / "a.npz", images=tmp_path / "list.tsv")
    assert not (tmp_path / "a.npz").exists()
