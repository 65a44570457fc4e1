"""`naic-reid embed`: features of a folder or a list as files."""

from pathlib import Path

import numpy as np
import pytest

from naic_reid import Extractor, Features, cli


def embed(place: Path, images: str, *options: str) -> int:
    return cli.main(["embed", str(place / "model.pt"), str(place / images), "--device", "cpu", *options])


def test_a_folder_gives_what_the_extractor_gives(place: Path, tmp_path: Path) -> None:
    out = [f"--{name}={tmp_path / name}" for name in ("features", "npy", "names")]
    assert embed(place, "photos", *out) == 0
    expected = Extractor.load(place / "model.pt", "cpu").folder(place / "photos")
    read = Features.read(tmp_path / "features")
    assert read.names == expected.names == ("0/0.png", "0/1.png", "1/0.png", "1/1.png")
    np.testing.assert_array_equal(read.values, expected.values)
    np.testing.assert_array_equal(np.load(tmp_path / "npy"), expected.values)
    assert (tmp_path / "names").read_text().splitlines() == list(expected.names)


def test_a_list_names_paths_from_its_own_folder_in_its_own_order(place: Path, tmp_path: Path) -> None:
    (place / "list.txt").write_text("photos/1/0.png\n\nphotos/0/1.png\n")
    assert embed(place, "list.txt", "--npy", str(tmp_path / "rows.npy"), "--no-flip") == 0
    paths = [place / "photos/1/0.png", place / "photos/0/1.png"]
    expected = Extractor.load(place / "model.pt", "cpu", flip=False).files(paths).values
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), expected)


def test_features_of_several_scales_are_asked_for_in_one_word(place: Path, tmp_path: Path) -> None:
    assert embed(place, "photos", "--npy", str(tmp_path / "rows.npy"), "--scales", "1,1.1") == 0
    expected = Extractor.load(place / "model.pt", "cpu", scales=[1, 1.1]).folder(place / "photos").values
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), expected)


def test_an_unusable_image_is_an_error_or_left_out(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_text("no image")
    (place / "some.txt").write_text(f"photos/0/0.png\n{tmp_path}/broken.png\n")
    out = tmp_path / "rows.npy"
    assert embed(place, "some.txt", "--npy", str(out)) == 2
    assert "broken.png: is neither PNG nor JPEG" in capsys.readouterr().err
    assert not out.exists()
    assert embed(place, "some.txt", "--npy", str(out), "--skip") == 0
    assert "skipped" in capsys.readouterr().out
    assert len(np.load(out)) == 1


@pytest.mark.parametrize(
    ("images", "options", "sentence"),
    [
        ("photos", [], "nothing would be written"),
        ("photos", ["--npy", "{place}/model.pt"], "model.pt: is read by this command"),
        ("photos", ["--npy", "{place}/x", "--names", "{place}/x"], "x: is written twice"),
        ("empty.txt", ["--npy", "{place}/x"], "names no image"),
        ("nowhere", ["--npy", "{place}/x"], "nowhere: cannot be read"),
        (
            "photos",
            ["--npy", "{place}/x", "--precision", "fp8"],
            "extract.precision: Input should be 'fp32', 'tf32', 'bf16' or 'fp16', not 'fp8'",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    place: Path, images: str, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "empty.txt").write_text("\n")
    assert embed(place, images, *(option.format(place=place) for option in options)) == 2
    assert sentence in capsys.readouterr().err
    assert not (place / "x").exists()
