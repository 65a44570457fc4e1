"""A folder of images without labels, looked through."""

import os
from pathlib import Path

import pytest

from naic_reid.data import sampler, unlabelled
from naic_reid.errors import ReidError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("more/b/2.jpg", "more/a.PNG", "more/notes.txt", "more/.hidden.png", "others/c.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"x" * len(name))
    return tmp_path / "data"


def test_images_are_listed_from_the_data_folder_on_with_their_sizes(data: Path) -> None:
    assert unlabelled.found(data, "more") == [("more/a.PNG", 10), ("more/b/2.jpg", 12)]
    assert [name for name, _ in unlabelled.found(data, ".")] == ["more/a.PNG", "more/b/2.jpg", "others/c.png"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda more: os.renames(more, more.parent / "elsewhere"), "there is no .*more: name a folder"),
        (lambda more: [(more / name).unlink() for name in ("b/2.jpg", "a.PNG")], "no image .* in .*more"),
        (lambda more: (more / "x\ty.png").write_bytes(b"x"), "cannot be listed"),
        (lambda more: (more / "l.png").symlink_to(more.parent / "others/c.png"), "l.png: a symbolic link"),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_one_clear_error(data: Path, spoil: object, says: str) -> None:
    spoil(data / "more")  # type: ignore[operator]
    with pytest.raises(ReidError, match=says):
        unlabelled.found(data, "more")


def test_a_survey_is_written_where_something_changed_and_read_back(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.tsv"
    unlabelled.survey(data, "more", table)
    assert unlabelled.read(table) == unlabelled.found(data, "more")
    os.utime(table, ns=(1, 1))
    unlabelled.survey(data, "more", table)
    assert table.stat().st_mtime_ns == 1
    (data / "more/a.PNG").write_bytes(b"longer than before")
    unlabelled.survey(data, "more", table)
    assert unlabelled.read(table) == unlabelled.found(data, "more") and table.stat().st_mtime_ns > 1
    table.write_bytes(table.read_bytes()[:-4])
    with pytest.raises(ReidError, match="more"):
        unlabelled.read(table)
    unlabelled.survey(data, "more", table)
    assert unlabelled.read(table) == unlabelled.found(data, "more")


def test_an_epoch_is_shuffled_passes_in_which_each_image_stands_twice_side_by_side() -> None:
    laid = sampler.shuffled_pairs(5, 3, 4, 7, 1)
    assert laid.shape == (4, 6) and (laid[:, ::2] == laid[:, 1::2]).all()
    shown = laid[:, ::2].ravel()
    assert sorted(shown[:5]) == sorted(shown[5:10]) == list(range(5)) and list(shown[:5]) != list(shown[5:10])
    assert (laid == sampler.shuffled_pairs(5, 3, 4, 7, 1)).all()
    assert (laid != sampler.shuffled_pairs(5, 3, 4, 7, 2)).any()
