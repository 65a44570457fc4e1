"""`naic-reid export`: the same features from another program's file, or no file at all."""

import json
import logging
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from naic_reid import Extractor, cli
from naic_reid.architecture import Architecture
from naic_reid.artifacts import Floats
from naic_reid.data import augment
from naic_reid.tools import export, onnx_model, parity
from tests.tools import house


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, photographs, and what one export of each kind made of them."""
    place = tmp_path_factory.mktemp("export")
    house.model(place / "model.pt")
    house.photos(place / "photos", 4, 5)
    files = ["--onnx", str(place / "model.onnx"), "--torch-export", str(place / "model.pt2")]
    assert call(place, *files) == 0
    return place


def call(place: Path, *options: str) -> int:
    return cli.main(["export", str(place / "model.pt"), "--images", str(place / "photos"), *options])


@pytest.fixture(scope="module")
def pixels() -> onnx_model.Pixels:
    return np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), np.uint8)


@pytest.fixture
def written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph that was written before comes in the place of one more tracing, which takes seconds."""
    monkeypatch.setattr(onnx_model, "traced", lambda extractor, takes: None)
    monkeypatch.setattr(
        onnx_model, "write", lambda program, takes, path: shutil.copy(place / "model.onnx", path)
    )


def by_runtime(path: Path, **given: np.ndarray) -> Floats:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["features"], given)[0])


def test_other_programs_get_the_models_own_features_for_any_batch(place: Path, pixels: np.ndarray) -> None:
    expected = Extractor.load(place / "model.pt", "cpu").images(list(pixels))
    for count in (1, 5):
        found = by_runtime(place / "model.onnx", pixels=pixels[:count])
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)
    program = torch.export.load(place / "model.pt2").module()
    with torch.inference_mode():
        np.testing.assert_allclose(program(torch.from_numpy(pixels)).numpy(), expected, atol=1e-5)


def test_the_json_beside_says_what_goes_in_and_how_near_it_is(place: Path) -> None:
    told = json.loads((place / "model.onnx.json").read_text())
    assert told["input"]["shape"] == ["batch", 64, 32, 3]
    assert (told["input"]["mean"], told["input"]["std"]) == (list(augment.MEAN), list(augment.STD))
    assert told["output"] == {"name": "features", "dtype": "float32", "shape": ["batch", 512], "length": 1}
    assert told["sha256"] == export._sha256(place / "model.onnx")
    assert told["made_from"] == {"file": "model.pt", "sha256": export._sha256(place / "model.pt")}
    assert told["parity"]["images"] == 20
    assert told["parity"]["greatest_cosine_distance"] < 1e-5
    assert told["parity"]["equal_lists"] == 1.0


@pytest.mark.usefixtures("written")
def test_int8_is_near_and_multiplies_int8(place: Path, tmp_path: Path) -> None:
    assert call(place, "--onnx", str(tmp_path / "int8.onnx"), "--int8") == 0
    told = json.loads((tmp_path / "int8.onnx.json").read_text())
    assert told["precision"] == "int8"
    assert 1e-6 < told["parity"]["greatest_cosine_distance"] < export.MOST["int8"]
    assert (tmp_path / "int8.onnx").stat().st_size < 0.35 * (place / "model.onnx").stat().st_size


@pytest.mark.usefixtures("written")
def test_a_file_that_is_too_far_from_the_model_is_not_kept(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graph of another network, written in the place of the model's own."""
    house.model(tmp_path / "model.pt", seed=2)
    (tmp_path / "out.onnx").write_text("earlier")
    given = [
        str(tmp_path / "model.pt"),
        "--onnx",
        str(tmp_path / "out.onnx"),
        "--images",
        str(place / "photos"),
    ]
    assert cli.main(["export", *given]) == 2
    assert "out.onnx: refused" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "earlier"


@pytest.mark.parametrize(
    ("architecture", "flip", "scales"),
    [
        (house.ARCHITECTURE, False, [1]),
        (
            Architecture(backbone="resnet18", height=64, width=32, stripes=2, pooling="average"),
            True,
            [1, 1.1],
        ),
        (Architecture(backbone="resnet18", height=48, width=32, standardise=True, last_stride=2), True, [1]),
    ],
)
@pytest.mark.parametrize("takes", onnx_model.INPUTS)
def test_the_graph_is_the_extractor(
    architecture: Architecture, flip: bool, scales: list[float], takes: str, tmp_path: Path
) -> None:
    path = house.model(tmp_path / "model.pt", architecture)
    extractor = Extractor.load(path, "cpu", flip=flip, scales=scales)
    shape = (3, architecture.height, architecture.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with torch.inference_mode():
        expected = extractor(torch.from_numpy(pixels))
        found = onnx_model.Graph(extractor, takes)(torch.from_numpy(onnx_model.given(pixels, takes)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_without_a_folder_persons_are_drawn_to_compare_on(place: Path) -> None:
    extractor = Extractor.load(place / "model.pt", "cpu")
    pixels, described = export._pixels(extractor, None, 256)
    assert pixels.shape == (64, 64, 32, 3) and described == "64 drawn ones"
    chosen, described = export._pixels(extractor, place / "photos", 7)
    assert chosen.shape == (7, 64, 32, 3) and described.startswith("7 of ")


def test_parity_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(size=(14, 6))
    own = (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32)
    other = (own + rng.normal(size=own.shape) * 0.1).astype(np.float32)
    found = parity.compare(own, other)
    equal, common, mean = [], [], []
    for i in range(14):
        mean += [float(own[i] @ own[j]) for j in range(14) if j != i]
        lists = []
        for values in (own, other):
            others = [j for j in range(14) if j != i]
            lists.append(sorted(others, key=lambda j, v=values, i=i: -float(v[i] @ v[j]))[:10])
        equal.append(lists[0] == lists[1])
        common.append(len(set(lists[0]) & set(lists[1])) / 10)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(own, other, strict=True)]
    assert found.greatest_difference == pytest.approx(float(np.abs(own - other).max()))
    assert found.greatest_cosine_distance == pytest.approx(1 - float(min(cosines)), abs=1e-6)
    assert 0 < found.equal_lists == pytest.approx(np.mean(equal)) or not any(equal)
    assert found.common_names == pytest.approx(np.mean(common))
    assert found.mean_cosine == pytest.approx(np.mean(mean), abs=1e-6)


@pytest.mark.usefixtures("written")
def test_a_model_that_tells_nothing_apart_is_told(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export, "COLLAPSED", -1.0)
    assert call(place, "--onnx", str(tmp_path / "out.onnx")) == 0
    assert "hardly parts these images" in caplog.text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "nothing would be written"),
        (["--int8"], "nothing would be written"),
        (["--torch-export", "x", "--int8"], "--int8 needs --onnx"),
        (["--onnx", "x", "--tensorrt", "y"], "trtexec is not on the path"),
        (["--tensorrt", "y"], "--tensorrt builds from --onnx"),
        (["--onnx", "x", "--compare", "1"], "--compare must be at least 2"),
        (["--onnx", "{place}/model.pt"], "is read by this command"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    place: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(place, *(option.format(place=place) for option in options)) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("written")
def test_an_engine_is_built_by_tensorrts_own_program(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for trtexec that writes down how it was called."""
    program = tmp_path / "bin" / "trtexec"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nfor word; do case $word in --saveEngine=*) out=${word#--saveEngine=};; esac; done\n"
        'echo "$@" >"$out"; [ ! -e "$FAIL" ] || { echo "no such GPU" >&2; exit 3; }\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    files = ["--onnx", str(tmp_path / "m.onnx"), "--tensorrt", str(tmp_path / "m.engine")]
    assert call(place, *files) == 0
    called = (tmp_path / "m.engine").read_text()
    assert "--fp16" in called and f"--onnx={tmp_path}/m.onnx" in called
    assert "--maxShapes=pixels:256x64x32x3" in called
    (tmp_path / "fail").touch()
    monkeypatch.setenv("FAIL", str(tmp_path / "fail"))
    assert call(place, *files) == 2
    assert "trtexec ended with status 3: no such GPU" in capsys.readouterr().err
    assert (tmp_path / "m.engine").read_text() == called


def test_exporting_says_nothing_of_its_own_workings(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    extractor = Extractor.load(place / "model.pt", "cpu", flip=False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        onnx_model.write(onnx_model.traced(extractor, "normalised"), "normalised", tmp_path / "n.onnx")
    told = capfd.readouterr()
    assert told.out + told.err == ""
    assert [record.message for record in caplog.records if record.levelno >= logging.INFO] == []
    assert [str(warning.message) for warning in warned] == []
    pixels = np.zeros((2, 64, 32, 3), np.uint8)
    found = by_runtime(tmp_path / "n.onnx", normalised=onnx_model.normalised(pixels))
    np.testing.assert_allclose(found, extractor.images(list(pixels)), atol=1e-5)


def test_a_model_whose_pictures_differ_in_size_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Extractor.load(place / "model.pt", "cpu", geometry="crop").save(tmp_path / "model")
    assert cli.main(["export", str(tmp_path / "model"), "--onnx", str(tmp_path / "a.onnx")]) == 2
    assert "geometry crop" in capsys.readouterr().err and not (tmp_path / "a.onnx").exists()
