"""The Extractor: one feature for one picture, whoever asks, and what it says of what it cannot read."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from naic_reid.architecture import Architecture
from naic_reid.artifacts import Features, Floats, ImageList, MadeBy
from naic_reid.config import Extract
from naic_reid.data import augment, geometry, images
from naic_reid.data.augment import Pixels
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from naic_reid.losses import build_identity
from naic_reid.models import build
from naic_reid.models.weights import Checkpoint
from naic_reid.stages import extract
from tests.tools import house

MODEL = Architecture(backbone="osnet_ain_x0_25", height=64, width=32)
NAMES = ("a.png", "b/a.png", "b/c.jpg", "b/d.PNG", "e.png")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and a folder of photographs of all sizes with other things among them."""
    home = tmp_path_factory.mktemp("extractor")
    rng = np.random.default_rng(3)
    (home / "photos" / "b").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        picture = rng.integers(0, 256, (50 + 9 * number, 40 - 3 * number, 3), np.uint8)
        (home / "photos" / name).write_bytes(cv2.imencode(Path(name).suffix.lower(), picture)[1].tobytes())
    (home / "photos" / "notes.txt").write_text("none")
    (home / "photos" / ".hidden.png").write_text("none")
    torch.manual_seed(1)
    embedder = build(MODEL)
    embedder.train()(torch.randn(8, 3, 64, 32))
    classes = build_identity("linear", 2, 128)
    Checkpoint.of(embedder, classes, 7, ("a/1", "a/2"), MODEL, MadeBy()).write(home / "a.pt")
    return home


@pytest.fixture(scope="module")
def extractor(home: Path) -> Extractor:
    return Extractor.load(home / "a.pt", device="cpu")


@pytest.fixture(scope="module")
def gallery(home: Path, extractor: Extractor) -> Features:
    return extractor.folder(home / "photos")


def _by_definition(home: Path, name: str, *, flip: bool) -> Floats:
    """One picture alone, through the network as it was trained."""
    embedder = Checkpoint.read(home / "a.pt").embedder()
    picture = images.read(home / "photos" / name)
    shrinks = picture.shape[0] >= 64 and picture.shape[1] >= 32
    fitted = cv2.resize(picture, (32, 64), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    values = (fitted / 255 - np.array(augment.MEAN)) / np.array(augment.STD)
    image = torch.from_numpy(values.transpose(2, 0, 1)[None]).float()
    with torch.inference_mode():
        feature = embedder(image)["whole"].feature
        if flip:
            feature = feature + embedder(image.flip(3))["whole"].feature
    return F.normalize(feature)[0].numpy()


@pytest.mark.parametrize("flip", [True, False])
def test_a_feature_is_what_its_definition_says(home: Path, flip: bool) -> None:
    found = Extractor.load(home / "a.pt", device="cpu", flip=flip).folder(home / "photos")
    assert found.names == NAMES
    assert found.values.dtype == np.float32 and found.values.shape == (5, 128)
    for name, row in zip(found.names, found.values, strict=True):
        np.testing.assert_allclose(row, _by_definition(home, name, flip=flip), atol=1e-5)


def test_stage_and_program_give_the_same_bits(home: Path, gallery: Features, tmp_path: Path) -> None:
    ImageList(NAMES, ("",) * 5).write(tmp_path / "list.tsv")
    extract.run(
        Extract(), data=home / "photos", images=[tmp_path / "list.tsv"], checkpoint=home / "a.pt",
        features=[tmp_path / "f.npz"], device="cpu",
    )  # fmt: skip
    written = Features.read(tmp_path / "f.npz")
    assert written.names == gallery.names  # two are called a.png
    assert np.array_equal(written.values, gallery.values)


def test_files_pixels_and_boxes_of_a_picture_give_one_feature(
    home: Path, extractor: Extractor, gallery: Features
) -> None:
    paths = [home / "photos" / name for name in NAMES]
    by_path = extractor.files(paths)
    assert by_path.names == tuple(map(str, paths))
    read = [images.read(path) for path in paths]
    for values in (by_path.values, extractor.images(read)):
        assert np.array_equal(values, gallery.values)
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[20:70, 30:70] = read[0]
    for boxes in ([[30, 20, 70, 70]], torch.tensor([[30.0, 20.0, 70.0, 70.0]])):
        np.testing.assert_allclose(extractor.boxes(frame, boxes)[0], gallery.values[0], atol=1e-6)
    edge = extractor.boxes(frame, [[-10, 180, 40, 999], [30, 20, 70, 70]])
    assert edge.shape == (2, 128)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_batch_order_and_threads_change_less_than_is_said(home: Path, precision: str, bound: float) -> None:
    extractor = Extractor.load(home / "a.pt", device="cpu", precision=precision)
    paths = [home / "photos" / name for name in NAMES]
    whole = extractor.files(paths)
    for batch in (1, 2):
        np.testing.assert_allclose(extractor.files(paths, batch=batch).values, whole.values, atol=bound)
    turned = extractor.files(paths[::-1], workers=3)
    np.testing.assert_allclose(turned.values[::-1], whole.values, atol=bound)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_allclose(extractor.files(paths).values, whole.values, atol=bound)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_other_precisions_point_where_float32_does(home: Path, gallery: Features, precision: str) -> None:
    found = Extractor.load(home / "a.pt", device="cpu", precision=precision).folder(home / "photos")
    assert found.values.dtype == np.float32
    assert (found.values * gallery.values).sum(1).min() > 0.999


def test_nothing_gives_nothing_of_the_right_width(extractor: Extractor) -> None:
    assert extractor(torch.empty(0, 64, 32, 3, dtype=torch.uint8)).shape == (0, 128)
    assert extractor.images([]).shape == (0, 128)
    assert extractor.files([]).values.shape == (0, 128)
    assert extractor.boxes(np.zeros((9, 9, 3), np.uint8), np.empty((0, 4))).shape == (0, 128)


def test_files_that_cannot_be_read_are_named_or_left_out(
    home: Path, extractor: Extractor, gallery: Features, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [home / "photos/a.png", tmp_path / "bad.png", tmp_path / "none.jpg", home / "photos/e.png"]
    with pytest.raises(ReidError, match=r"bad\.png: is neither PNG nor JPEG"):
        extractor.files(paths)
    found = extractor.files(paths, on_error="skip", batch=1)
    assert found.names == (str(paths[0]), str(paths[3]))
    np.testing.assert_allclose(found.values, gallery.values[[0, 4]], atol=1e-5)
    assert [name for name, _ in found.skipped] == [str(tmp_path / "bad.png"), str(tmp_path / "none.jpg")]
    assert "No such file" in found.skipped[1][1]
    found.write(tmp_path / "f.npz")
    assert Features.read(tmp_path / "f.npz").names == found.names


def test_an_extractor_that_was_saved_gives_the_same_bits_and_keeps_its_options(
    home: Path, gallery: Features, tmp_path: Path
) -> None:
    half = Extractor.load(home / "a.pt", device="cpu", precision="bf16", flip=False)
    half.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "extractor.json",
        "model.safetensors",
    ]
    again = Extractor.load(tmp_path / "model", device="cpu")
    assert again.options == half.options == {"flip": False, "precision": "bf16"}
    photos = home / "photos"
    assert np.array_equal(again.folder(photos).values, half.folder(photos).values)
    whole = Extractor.load(tmp_path / "model", device="cpu", precision="fp32", flip=True)
    assert np.array_equal(whole.folder(photos).values, gallery.values)
    first = (tmp_path / "model/model.safetensors").read_bytes()
    again.save(tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").read_bytes() == first


def test_saving_harms_no_folder_of_something_else(home: Path, extractor: Extractor) -> None:
    before = sorted(home.rglob("*"))
    with pytest.raises(ReidError, match=r"photos: holds .*: name a new or empty folder"):
        extractor.save(home / "photos")
    with pytest.raises(ReidError, match=r"a\.pt: holds a file"):
        extractor.save(home / "a.pt")
    assert sorted(home.rglob("*")) == before


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A folder's JSON in other words."""

    def write(folder: Path) -> None:
        words = json.loads((folder / "extractor.json").read_text())
        change(words)
        (folder / "extractor.json").write_text(json.dumps(words))

    return write


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda f: (f / "extractor.json").unlink(), "no folder of an Extractor"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: cannot be read"),
        (lambda f: (f / "extractor.json").write_text("{"), "not a whole folder of an Extractor"),
        (lambda f: (f / "model.safetensors").write_bytes(b"1234567890"), "is not the one"),
        (_changed(lambda words: words.update(type="Zebra")), "it holds Zebra"),
        (_changed(lambda words: words.pop("model")), "no 'model'"),
        (_changed(lambda words: words["model"].update(backbone="resnet18")), "not those of resnet18"),
        (
            _changed(lambda words: words["model"].update(backbone="rosnet18")),
            "backbone: unknown .*; save it again",
        ),
        (_changed(lambda words: words["options"].update(rotate=True)), "names rotate, which"),
        (_changed(lambda words: words["options"].update(precision="fp8")), "extract.precision: .*not 'fp8'"),
        (_changed(lambda words: words["options"].update(flip="no")), "extract.flip: .*not 'no'"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(
    extractor: Extractor, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    extractor.save(tmp_path / "model")
    harm(tmp_path / "model")
    with pytest.raises(ReidError, match=says):
        Extractor.load(tmp_path / "model", device="cpu")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda e, p: e.folder(p / "none"), "none: no images"),
        (lambda e, p: e.files([p / "photos/a.png"] * 2), "a.png: named twice"),
        (lambda e, p: e.files([p / "photos/a.png"], on_error="ignore"), "on_error 'ignore'"),
        (lambda e, p: e.images([np.zeros((5, 5), np.uint8)]), r"picture 0: must be uint8 \[h, w, 3\]"),
        (lambda e, p: e.images([np.zeros((5, 5, 3), np.float32)]), "picture 0: .*not float32"),
        (lambda e, p: e.images(["a.png"]), "picture 0: must be"),
        (lambda e, p: e.boxes(np.zeros((3, 5, 5), np.uint8), []), "the frame: must be"),
        (lambda e, p: Extractor.load(p / "a.pt", device="abacus"), "device abacus: no such device"),
        (lambda e, p: Extractor.load(p / "a.pt", precision="fp8"), "extract.precision: .*not 'fp8'"),
        (lambda e, p: Extractor.load(p / "a.pt", geometri="crop"), "extract.geometri: .*mean geometry"),
        (lambda e, p: Extractor.load(p / "a.pt", widen=1.5), r"widen 1\.5: geometry resize stretches"),
        (lambda e, p: Extractor.load(p / "a.pt", size=(8, 16)), "extract.size.0: .*not 8"),
        (lambda e, p: Extractor.load(p / "a.pt", scales=[1.1, 1.1]), "scales .*: one stands twice"),
        (lambda e, p: Extractor.load(p / "a.pt", scales=[]), "extract.scales: "),
        (lambda e, p: Extractor.load(p / "a.pt", scales=[9]), "extract.scales.0: .*not 9"),
        (
            lambda e, p: Extractor.load(p / "a.pt", scales=[1, 1.1], geometry="pad", border="masked"),
            "border masked knows one size",
        ),
        (lambda e, p: Extractor.load(p / "a.pt", scales=[1, 1.1], scale=[1, 1.2]), "taps are spread"),
        (lambda e, p: Extractor.load(p / "a.pt", device="cpu", geometry="pad"), "pad: osnet.* use crop"),
        (lambda e, p: Extractor.load(p / "photos/a.png"), "a.png: not a whole file of weights"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(
    home: Path, extractor: Extractor, wrong: Callable[[Extractor, Path], object], says: str
) -> None:
    with pytest.raises(ReidError, match=says):
        wrong(extractor, home)


@pytest.mark.parametrize(
    ("architecture", "areas", "says"),
    [
        (
            {"backbone": "timm/test_vit", "height": 32, "width": 16},
            [1, 1.1],
            "timm/test_vit is built for .*32 × 16",
        ),
        (
            {"backbone": "resnet18", "height": 64, "width": 16},
            [0.5],
            "scales 0.5 of the input.*45, 11.*not|16",
        ),
    ],
)
def test_scales_that_a_network_cannot_take_are_refused(
    tmp_path: Path, architecture: dict[str, Any], areas: list[float], says: str
) -> None:
    path = house.model(tmp_path / "model.pt", Architecture(pooling="average", **architecture))
    with pytest.raises(ReidError, match=says):
        Extractor.load(path, "cpu", scales=areas)


def test_it_stays_in_evaluation_mode_and_keeps_no_graph(extractor: Extractor) -> None:
    extractor.train()
    assert not any(module.training for module in extractor.modules())
    assert not extractor(torch.zeros(1, 64, 32, 3, dtype=torch.uint8)).requires_grad


def test_a_compiled_network_gives_the_same_features(home: Path, gallery: Features) -> None:
    given: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., object]:
        given.append(graph)
        return graph.forward

    compiled = Extractor.load(home / "a.pt", device="cpu")
    compiled.compile(backend=backend)
    np.testing.assert_allclose(compiled.folder(home / "photos").values, gallery.values, atol=1e-6)
    assert any(node.op == "call_function" for graph in given for node in graph.graph.nodes)


PLAIN = Architecture(backbone="resnet18", height=64, width=32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes no image's own mean."""
    return house.model(tmp_path_factory.mktemp("plain") / "model.pt", PLAIN)


def _alone(path: Path, picture: Pixels, top: int, left: int, size: tuple[int, int], flip: bool) -> Floats:
    """The feature of a picture that is shown as it is, on a blank input of this size; from the definition."""
    embedder = Checkpoint.read(path).embedder()
    height, width = picture.shape[:2]
    image = torch.zeros(1, 3, *size)
    values = (picture / 255 - np.array(augment.MEAN)) / np.array(augment.STD)
    place = image[:, :, top : top + height, left : left + width]
    place[:] = torch.from_numpy(values.transpose(2, 0, 1)[None])
    with torch.inference_mode():
        feature = embedder(image)["whole"].feature
        if flip:
            place[:] = place.flip(3)
            feature = feature + embedder(image)["whole"].feature
    return F.normalize(feature)[0].numpy()


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("policy", ["crop", "pad"])
def test_pictures_that_are_not_stretched_give_what_the_definition_says(
    home: Path, plain: Path, policy: str, flip: bool
) -> None:
    words: dict[str, Any] = {"geometry": policy, "widen": 1.5, "flip": flip}
    extractor = Extractor.load(plain, "cpu", **words)
    found = extractor.folder(home / "photos")
    for name, row in zip(found.names, found.values, strict=True):
        picture = images.read(home / "photos" / name)
        top, left, height, width = extractor.geometry.frame(*picture.shape[:2])
        size = (height, width) if policy == "crop" else (64, 32)
        expected = _alone(plain, extractor.geometry.fitted(picture), top, left, size, flip)
        np.testing.assert_allclose(row, expected, atol=1e-5)
    backwards = extractor.files([home / "photos" / name for name in NAMES[::-1]], batch=2)
    np.testing.assert_allclose(backwards.values[::-1], found.values, atol=1e-5)


@pytest.mark.parametrize(
    "words",
    [{"geometry": policy, "size": [96, 32]} for policy in ("crop", "pad")]
    + [{"geometry": policy, "scales": [1, 1.1]} for policy in ("resize", "crop", "pad")],
)
def test_the_stage_shows_pictures_as_a_program_does_and_a_folder_keeps_how(
    home: Path, plain: Path, tmp_path: Path, words: dict[str, Any]
) -> None:
    extractor = Extractor.load(plain, "cpu", **words)
    expected = extractor.folder(home / "photos")
    ImageList(NAMES, ("",) * 5).write(tmp_path / "list.tsv")
    extract.run(
        Extract.model_validate(words), data=home / "photos", images=[tmp_path / "list.tsv"],
        checkpoint=plain, features=[tmp_path / "f.npz"], device="cpu",
    )  # fmt: skip
    assert np.array_equal(Features.read(tmp_path / "f.npz").values, expected.values)
    extractor.save(tmp_path / "model")
    again = Extractor.load(tmp_path / "model", "cpu")
    told = {"flip": True, "precision": "fp32", **words}
    assert again.options == {name: value for name, value in told.items() if value != "resize"}  # the default
    assert np.array_equal(again.folder(home / "photos").values, expected.values)
    usual = Extractor.load(plain, "cpu", geometry=words["geometry"])
    assert np.abs(usual.folder(home / "photos").values - expected.values).max() > 1e-3


def test_pictures_of_the_inputs_size_are_the_same_to_the_bit_however_they_come_to_it(plain: Path) -> None:
    pictures = list(np.random.default_rng(5).integers(0, 256, (5, 64, 32, 3), np.uint8))
    stretched, cropped, padded = (
        Extractor.load(plain, "cpu", geometry=policy).images(pictures) for policy in ("resize", "crop", "pad")
    )
    assert np.array_equal(stretched, cropped) and np.array_equal(stretched, padded)


def _bicubic(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """[C, H, W] by the cubic convolution of Keys 1981 with a = −0.75, edges repeated; a pixel at a time."""

    def near(number: int, length: int, of: int) -> list[tuple[int, float]]:
        """Which pixels of a row of `of` weigh how much in pixel `number` of `length`."""
        at = (number + 0.5) * of / length - 0.5
        found = []
        for place in range(math.floor(at) - 1, math.floor(at) + 3):
            d, a = abs(at - place), -0.75
            weight = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
            found.append((min(max(place, 0), of - 1), weight))
        return found

    made = np.zeros((values.shape[0], *size))
    for row, column in np.ndindex(size):
        for y, down in near(row, size[0], values.shape[1]):
            for x, across in near(column, size[1], values.shape[2]):
                made[:, row, column] += down * across * values[:, y, x]
    return made


@pytest.mark.parametrize("flip", [True, False])
def test_features_of_several_scales_are_the_sum_over_inputs_each_made_of_the_original(
    home: Path, flip: bool
) -> None:
    sizes = {1: (64, 32), 1.1: (67, 33), 0.5: (45, 22)}  # ⌊√a · 64⌋ × ⌊√a · 32⌋
    areas = [1.1, 1, 0.5]
    found = Extractor.load(home / "a.pt", "cpu", flip=flip, scales=areas).folder(home / "photos").values
    embedder = Checkpoint.read(home / "a.pt").embedder()
    for name, row in list(zip(NAMES, found, strict=True))[:2]:
        fitted = Extractor.load(home / "a.pt", "cpu").geometry.fitted(images.read(home / "photos" / name))
        values = ((fitted / 255 - np.array(augment.MEAN)) / np.array(augment.STD)).transpose(2, 0, 1)
        total = torch.zeros(1, 128)
        for area in areas:
            shown = torch.from_numpy(_bicubic(values, sizes[area])[None]).float()
            with torch.inference_mode():
                for view in (shown, shown.flip(3)) if flip else (shown,):
                    total += embedder(view)["whole"].feature
        np.testing.assert_allclose(row, F.normalize(total)[0].numpy(), atol=1e-5)
    other = Extractor.load(home / "a.pt", "cpu", flip=flip, scales=areas[::-1]).folder(home / "photos").values
    np.testing.assert_allclose(
        found, other, atol=1e-5
    )  # the original compounds them: their order matters there


def test_sizes_are_those_of_the_friendly_baseline() -> None:
    assert [geometry.scaled_size(256, 128, area) for area in (1, 1.1, 1.2)] == [
        (256, 128),
        (268, 134),
        (280, 140),
    ]
    inputs = torch.rand(1, 3, 8, 4)
    assert geometry.scaled(inputs, 1) is inputs


def test_one_scale_is_no_word_of_a_record_and_the_same_bits(home: Path, extractor: Extractor) -> None:
    one = Extractor.load(home / "a.pt", "cpu", scales=[1])
    assert (
        one.options == extractor.options == Extract().model_dump(mode="json") and "scales" not in one.options
    )
    pictures = list(np.random.default_rng(5).integers(0, 256, (5, 64, 32, 3), np.uint8))
    assert np.array_equal(one.images(pictures), extractor.images(pictures))


@pytest.mark.parametrize("by", ["every", "mean"])
def test_fewer_numbers_are_chosen_or_averaged_and_all_of_them_are_as_they_were(
    home: Path, extractor: Extractor, gallery: Features, by: str
) -> None:
    def taken(keep: int) -> Floats:
        short = Extractor.load(home / "a.pt", "cpu", channels={"keep": keep, "by": by})
        assert short.dimension == keep
        return short.folder(home / "photos").values

    assert np.array_equal(taken(128), gallery.values)
    blocks = gallery.values.reshape(5, 32, 4)
    expected = blocks[:, :, 0].copy() if by == "every" else blocks.mean(2)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(taken(32), expected, atol=1e-6)
    with pytest.raises(ReidError, match=r"channels\.keep: 100 does not divide the feature's 128"):
        taken(100)
