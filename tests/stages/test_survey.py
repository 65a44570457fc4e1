"""Survey: what the data folder holds, written down only where it changed."""

import os
import shutil
from pathlib import Path

import pytest

from naic_reid import config
from naic_reid.artifacts import read_table
from naic_reid.config import Collect, Source, Split
from naic_reid.data.labelled import Labelled
from naic_reid.data.worlds import drawn
from naic_reid.errors import ReidError
from naic_reid.files import digest
from naic_reid.stages import survey
from tests.data.listed import draw, world


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def collect(data: Path) -> Collect:
    return world(data, {"fs": [("a.png", 1, 1)], "cs": [("b.png", 1, 2)]})


def _survey(collect: Collect, data: Path, split: Split | None = None) -> tuple[Path, Path]:
    train, test = data.parent / "train.tsv", data.parent / "test.tsv"
    survey.run(collect, split or Split(), {}, data=data, train=train, test=[test], sources=[], sets=[])
    return train, test


def test_lists_are_named_with_digest_and_test_images_with_size(collect: Collect, data: Path) -> None:
    train, test = _survey(collect, data)
    _, lists = read_table(train, "TrainSurvey", survey.TRAIN_HEADER)
    assert lists == [
        [name, str((data / name).stat().st_size), digest(data / name)]
        for name in ("fs/list.txt", "cs/list.txt")
    ]
    _, images = read_table(test, "TestSurvey", survey.TEST_HEADER)
    assert len(images) == 8
    assert [path for path, _ in images[:2]] == ["image_B_v1_1/query/00.png", "image_B_v1_1/query/01.png"]
    assert all(int(size) == (data / path).stat().st_size for path, size in images)


def test_nothing_is_written_again_when_nothing_changed(collect: Collect, data: Path) -> None:
    files = _survey(collect, data)
    for file in files:
        os.utime(file, ns=(1, 1))
    _survey(collect, data)
    assert [file.stat().st_mtime_ns for file in files] == [1, 1]


def test_only_the_table_of_what_changed_is_written_again(collect: Collect, data: Path) -> None:
    train, test = _survey(collect, data)
    for file in (train, test):
        os.utime(file, ns=(1, 1))
    (data / "cs" / "list.txt").write_text("b.png:2\n")
    _survey(collect, data)
    assert (train.stat().st_mtime_ns != 1, test.stat().st_mtime_ns) == (True, 1)
    draw(data / "image_B_v1_1" / "query" / "new.png", 5)
    os.utime(train, ns=(1, 1))
    _survey(collect, data)
    assert (train.stat().st_mtime_ns, test.stat().st_mtime_ns != 1) == (1, True)


def test_a_damaged_survey_is_written_anew(collect: Collect, data: Path) -> None:
    train, _ = _survey(collect, data)
    whole = train.read_bytes()
    train.write_bytes(whole[:-3])
    _survey(collect, data)
    assert train.read_bytes() == whole


def test_where_the_data_folder_stands_changes_nothing(collect: Collect, data: Path) -> None:
    before = [file.read_bytes() for file in _survey(collect, data)]
    data.rename(data.with_name("elsewhere"))
    assert [file.read_bytes() for file in _survey(collect, data.with_name("elsewhere"))] == before


def test_everything_that_is_missing_is_named_at_once(collect: Collect, data: Path) -> None:
    (data / "cs" / "list.txt").unlink()
    with pytest.raises(ReidError) as caught:
        _survey(collect, data, Split(query="none", gallery="fs"))
    message = str(caught.value)
    assert "cs/list.txt: no such label list" in message
    assert "none: no such folder of images" in message
    assert "fs: no images" in message


def test_what_is_no_image_by_name_is_left_out_and_counted(
    collect: Collect, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    query = data / "image_B_v1_1" / "query"
    (query / "Thumbs.db").touch()
    (query / "folder.png").mkdir()
    draw(query / "upper.PNG.png", 6)
    (query / "upper.PNG.png").rename(query / "upper.PNG")
    _, test = _survey(collect, data)
    _, images = read_table(test, "TestSurvey", survey.TEST_HEADER)
    names = {path.rpartition("/")[2] for path, _ in images}
    assert "upper.PNG" in names
    assert not {"Thumbs.db", "folder.png"} & names
    assert "2 entries" in caplog.text


def test_names_that_no_table_holds_and_links_out_are_refused_together(collect: Collect, data: Path) -> None:
    query = data / "image_B_v1_1" / "query"
    (query / "a\nb.png").touch()
    (query / "a\tb.png").touch()
    Path(os.fsdecode(os.fsencode(query) + b"/\xff.png")).touch()
    (query / "out.png").symlink_to("/etc/hostname")
    with pytest.raises(ReidError) as caught:
        _survey(collect, data)
    message = str(caught.value)
    assert message.count("a control character") == 2
    assert "a name that is not UTF-8" in message
    assert "a symbolic link that leaves the folder" in message
    assert "a\\nb.png" in message


def test_names_with_spaces_and_unicode_are_fine(collect: Collect, data: Path) -> None:
    draw(data / "image_B_v1_1" / "gallery" / "ein Bild ü 图.png", 6)
    _, test = _survey(collect, data)
    _, images = read_table(test, "TestSurvey", survey.TEST_HEADER)
    assert "image_B_v1_1/gallery/ein Bild ü 图.png" in {path for path, _ in images}


def _labelled(folder: Path, *, multi_query: bool = False, **options: object) -> tuple[Path, Path]:
    """Survey the drawn Market-1501 as a source and as a test; where its rows stand."""
    source = Source(name="m", layout="market1501", folder="market")
    test = config.Test(layout="market1501", folder="market", multi_query=multi_query, **options)
    files = folder / "source.tsv", folder / "set.tsv"
    survey.run(
        Collect(sources=(source,)), None, {"duke": test},
        data=folder / "data", train=folder / "train.tsv", test=[], sources=[files[0]], sets=[files[1]],
    )  # fmt: skip
    return files


def test_labelled_sets_are_written_with_names_of_their_own_and_sizes(tmp_path: Path) -> None:
    drawn("market1501", tmp_path / "data" / "market")
    of_source, of_test = (Labelled.read(path) for path in _labelled(tmp_path))
    assert {row.role for row in of_source.rows} == {"train"}
    assert {row.role for row in of_test.rows} == {"query", "gallery"}
    row, size = of_source.rows[0], of_source.sizes[0]
    assert (tmp_path / "data" / row.path).stat().st_size == size
    assert (row.identity, row.camera) == ("m/0002", "m/1")
    assert {row.mark for row in of_test.rows} == {"", "junk", "distractor"}
    assert not (tmp_path / "test.tsv").exists()


def test_a_copy_with_other_counts_is_used_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn("market1501", tmp_path / "data" / "market")
    _labelled(tmp_path)
    assert (
        "survey: set: gallery: 5 / 30 / 3 identities / images / cameras; published: 751 / 15,913 / 6"
        in caplog.text
    )
    caplog.clear()
    _labelled(tmp_path)
    assert not caplog.text


def test_looking_again_writes_nothing_and_a_protocol_is_no_matter_of_the_folder(tmp_path: Path) -> None:
    drawn("market1501", tmp_path / "data" / "market")
    files = _labelled(tmp_path)
    before = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in _labelled(tmp_path, protocol="naic")] == before
    next((tmp_path / "data").rglob("query/*.jpg")).unlink()
    changed = [path.stat().st_mtime_ns for path in _labelled(tmp_path)]
    assert changed[0] == before[0]
    assert changed[1] != before[1]


def test_a_set_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    drawn("dukemtmc", tmp_path / "data" / "market")
    with pytest.raises(ReidError, match="not a folder of the layout market1501"):
        _labelled(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_multiple_queries_need_their_images(tmp_path: Path) -> None:
    drawn("market1501", tmp_path / "data" / "market")
    rows = Labelled.read(_labelled(tmp_path, multi_query=True)[1]).rows
    assert sum(row.role == "multi_query" for row in rows) == 36
    shutil.rmtree(tmp_path / "data/market/Market-1501-v15.09.15/gt_bbox")
    with pytest.raises(ReidError, match="no images for multi_query"):
        _labelled(tmp_path, multi_query=True)
