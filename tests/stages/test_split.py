"""Split: query and gallery images by domain, with their means."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from naic_reid.artifacts import ImageList, read_table
from naic_reid.config import Collect, Split
from naic_reid.errors import ReidError
from naic_reid.stages import split as stage
from tests.data.listed import draw, surveyed, world

GALLERY = Split().gallery


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def collect(data: Path) -> Collect:
    return world(data, {"fs": [("a.png", 1, 1)]})


def _split(
    collect: Collect, data: Path, split: Split | None = None, **speed: object
) -> tuple[dict[str, ImageList], list[list[str]]]:
    """The lists by `role_domain`, and the table of means."""
    split, folder = split or Split(), data.parent
    surveyed(collect, split, data)
    files = {role: [folder / f"{role}_{d}.tsv" for d in split.domains] for role in ("query", "gallery")}
    means = folder / "means.tsv"
    stage.run(split, data=data, test=folder / "test.tsv", means=means, **files, **speed)  # type: ignore[arg-type]
    _, rows = read_table(means, "Means", stage.MEANS_HEADER)
    return {path.stem: ImageList.read(path) for paths in files.values() for path in paths}, rows


def test_each_role_is_split_by_brightness(collect: Collect, data: Path) -> None:
    lists, _ = _split(collect, data)
    assert {name: found.names for name, found in lists.items()} == {
        "query_green": ("01.png", "03.png"), "query_normal": ("00.png", "02.png"),
        "gallery_green": ("11.png", "13.png"), "gallery_normal": ("10.png", "12.png"),
    }  # fmt: skip
    assert all(set(found.identities) == {""} for found in lists.values())


def test_means_are_those_of_the_plain_computation_and_tell_the_domain(collect: Collect, data: Path) -> None:
    lists, rows = _split(collect, data)
    assert len(rows) == 8
    for role, path, *means, domain in rows:
        expected = cv2.imread(str(data / path)).astype(np.float64).mean(axis=(0, 1))
        np.testing.assert_allclose([float(mean) for mean in means], expected, atol=5e-5)
        assert domain == ("green" if (expected > 65).all() else "normal")
        assert path in lists[f"{role}_{domain}"].paths


def test_an_image_at_the_threshold_is_normal_and_a_close_call(
    collect: Collect, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for level, name in ((65, "at.png"), (66, "above.png")):
        cv2.imwrite(str(data / GALLERY / name), np.full((16, 8, 3), level, np.uint8))
    lists, _ = _split(collect, data)
    assert "at.png" in lists["gallery_normal"].names
    assert "above.png" in lists["gallery_green"].names
    assert "1 of 10 images have a mean within 1 of the threshold" in caplog.text


def test_without_a_rule_there_is_one_domain(collect: Collect, data: Path) -> None:
    lists, rows = _split(collect, data, Split(rule="none"))
    assert {name: len(found) for name, found in lists.items()} == {"query_all": 4, "gallery_all": 4}
    assert {row[-1] for row in rows} == {"all"}


def test_workers_and_memory_never_change_the_result(collect: Collect, data: Path) -> None:
    names = ("query_green.tsv", "gallery_normal.tsv", "means.tsv")
    _split(collect, data)
    expected = [(data.parent / name).read_bytes() for name in names]
    for _ in range(2):
        _split(collect, data, workers=3, cache=data.parent / "looks.sqlite")
        assert [(data.parent / name).read_bytes() for name in names] == expected


def test_a_domain_without_images_is_refused(collect: Collect, data: Path) -> None:
    with pytest.raises(ReidError, match=r"no image is in the domain green: set split\.rule: none"):
        _split(collect, data, Split(threshold=254.0))


def test_all_unusable_test_images_are_named(collect: Collect, data: Path) -> None:
    (data / GALLERY / "text.png").write_bytes(b"text")
    (data / GALLERY / "cut.png").write_bytes((data / GALLERY / "10.png").read_bytes()[:-5])
    with pytest.raises(ReidError) as caught:
        _split(collect, data)
    assert "(2 in all)" in str(caught.value)
    assert "text.png: is neither PNG nor JPEG" in str(caught.value)
    assert "cut.png: is a truncated PNG" in str(caught.value)


def test_an_image_that_went_since_the_survey_is_named(collect: Collect, data: Path) -> None:
    draw(data / GALLERY / "gone.png", 9)
    folder = data.parent
    surveyed(collect, Split(), data)
    (data / GALLERY / "gone.png").unlink()
    files = {role: [folder / f"{role}_{d}.tsv" for d in "ab"] for role in ("query", "gallery")}
    with pytest.raises(ReidError, match=r"gone\.png: cannot be read"):
        stage.run(Split(), data=data, test=folder / "test.tsv", means=folder / "means.tsv", **files)


def test_an_image_that_changed_since_the_survey_is_named_and_a_link_within_the_folder_is_not(
    collect: Collect, data: Path
) -> None:
    (data / GALLERY / "link.png").symlink_to(data / GALLERY / "10.png")
    lists, _ = _split(collect, data)
    assert "link.png" in lists["gallery_normal"].names
    cv2.imwrite(str(data / GALLERY / "11.png"), np.full((16, 8, 3), 99, np.uint8))  # far fewer bytes
    folder = data.parent
    files = {role: [folder / f"{role}_{d}.tsv" for d in "ab"] for role in ("query", "gallery")}
    with pytest.raises(ReidError, match=r"11\.png: another size than surveyed"):
        stage.run(Split(), data=data, test=folder / "test.tsv", means=folder / "means.tsv", **files)
