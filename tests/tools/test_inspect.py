"""What a data folder holds, told before anything is trained."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from naic_reid.artifacts import MadeBy
from naic_reid.config import Dedupe, Split, load
from naic_reid.data.records import Records
from naic_reid.data.worlds import drawn
from naic_reid.errors import ReidError
from naic_reid.pages import findings, tables
from naic_reid.stages import collect, dedupe
from naic_reid.tools import inspect as tool
from naic_reid.tools import inspected
from tests.data.listed import draw, picture, surveyed, world
from tests.labelled import small

LISTS = {
    "x": [("a.png", 1, 1), ("b.png", 1, 2), ("c.png", 2, 3), ("d.png", 2, 4), ("e.png", 3, 5)],
    "y": [("f.png", 1, 1), ("g.png", 1, 7)],
}

REAL = Path(__file__).parents[3] / "shared" / "naic_lists"
REAL_LISTS = ("naic20r2_train_list_clean.txt", "naic20r1_label.txt", "naic19_train_list_clean.txt")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def _config(folder: Path, **more: object) -> Path:
    sources = [{"name": n, "list": f"{n}/list.txt", "images": f"{n}/images"} for n in LISTS]
    raw = {
        "collect": {"sources": sources, **more},
        "holdout": {"share": 0.0},
        "models": {"m": {"backbone": "resnet18", "height": 64, "width": 32}},
        "rerank": {"green": {}, "normal": {}},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def _inspect(data: Path, *words: str, **more: object) -> int:
    return _run("--config", str(_config(data.parent, **more)), "--data", str(data), *words)


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    tool.arguments(parser)
    return tool.run(parser.parse_args(words))


def _row(text: str, title: str, first: str) -> list[str]:
    """The cells of the row of a section that begins with this word."""
    section = text.split(title)[1].split("\n\n")[0]
    return next(line.split() for line in section.splitlines() if line.split()[:1] == [first])


def test_a_sound_folder_is_counted_by_source_and_domain(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world(data, LISTS)
    assert _inspect(data) == 0
    text = capsys.readouterr().out
    assert _row(text, "Training sources", "x")[1:5] == ["5", "5", "3", "1"]
    assert _row(text, "Training sources", "(all)")[1:5] == ["7", "7", "4", "1"]
    assert _row(text, "Test folders", "query")[1:5] == ["4", "2", "2", "0"]
    assert _row(text, "Identities by number", "2") == ["2", "2", "1"]
    assert _row(text, "Image sizes", "16") == ["16", "×", "8", "15"]
    assert _row(text, "Repeated images", "x") == ["x", "y", "1", "0"]
    assert _row(text, "become one person", "x") == ["x", "+", "y", "1", "2"]
    assert "the largest person is x/1: x/1, y/1" in text
    assert "none: the walk can begin" in text


def test_everything_wrong_is_told_at_once_with_its_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world(data, LISTS)
    (data / "x" / "images" / "b.png").write_bytes(b"text")
    (data / Split().query / "cut.png").write_bytes((data / Split().query / "00.png").read_bytes()[:-1])
    with (data / "y" / "list.txt").open("a") as handle:
        handle.write("none.png:5\nbad line\n../x/images/a.png:1\n")
    assert _inspect(data) == 1
    text = capsys.readouterr().out
    for problem in (
        "x/list.txt:2: is neither PNG nor JPEG",
        "y/list.txt:3: no such image",
        "y/list.txt:4: the label 'line' is no whole number",
        "y/list.txt:5: the path leaves the source's folder",
        "cut.png: is a truncated PNG",
    ):
        assert problem in text
    assert _row(text, "Training sources", "x")[-1] == "1"


def test_the_report_finds_the_same_of_what_was_collected(data: Path) -> None:
    more = [("h.png", 5, 8), ("i.png", 6, 8), ("h.png", 5, 8), ("j.png", 5, 3), ("k.png", 7, 9)]
    sources = world(data, LISTS | {"y": LISTS["y"] + more}).model_copy(update={"unreadable": "drop"})
    (data / "x/images/b.png").write_bytes(b"text")
    (data.parent / "wrong.txt").write_text("k.png\n")
    wrong = {"wrong_labels": str(data.parent / "wrong.txt"), "wrong_label_sources": ["y"]}
    settings = load(_config(data.parent, unreadable="drop"))
    settings = settings.model_copy(update={"dedupe": Dedupe(**wrong)})
    surveyed(sources, Split(), data)
    files = {name: data.parent / f"{name}.tsv" for name in ("images", "kept", "dropped", "counts")}
    collect.run(sources, data=data, lists=data.parent / "train.tsv", sources=[], images=files["images"])
    dedupe.run(sources, settings.dedupe, wrong=[data.parent / "wrong.txt"], **files)
    found = tables.findings(data, files["images"], files["dropped"])
    looked = inspected.look(settings, data, 1, None)
    looked.tests, looked.looks = {}, {path: looked.looks[path] for path in looked.paths}
    told = {one.title: one for one in tool.report(settings, looked, None)}
    assert len(found) == 6
    for one in found:
        expected = told[one["title"]]
        assert one["note"] == expected.note
        assert _places(one["rows"]) == _places(expected.rows)
    unusable = next(one for one in found if one["title"].startswith("Unusable"))
    assert unusable["rows"][0][0] == "x/images/b.png" and len(unusable["rows"]) == 11
    conflicts = next(one for one in found if "two identities of one source" in one["title"])
    assert {row[1] for row in conflicts["rows"]} == {"y/images/h.png", "y/images/i.png"}


def test_of_images_collected_before_sizes_were_written_down_it_says_so(tmp_path: Path) -> None:
    rows = [("x/a.png", "x/1", 1, "aa", "01", "", "", ""), ("x/b.png", "x/1", 2, "bb", "", "is text", "", "")]
    listed = findings.Listed.of(tmp_path, Records.of(rows, MadeBy()), set())
    told = {section.title: section for section in findings.sections(listed)}
    (sizes,) = (told[title] for title in told if title.startswith("Image sizes"))
    (unusable,) = (told[title] for title in told if title.startswith("Unusable"))
    assert (sizes.rows, unusable.rows) == ([], [("x/b.png", "is text")])
    assert "not known" in sizes.note and "sizes are not known" in unusable.note


def _places(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """The rows, `list:line` told by source and line."""
    return [[re.sub(r"^(\w+)/list\.txt:", r"\1:", str(cell)) for cell in row] for row in rows]


def test_a_missing_list_and_folder_do_not_end_the_report(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world(data, LISTS)
    (data / "y" / "list.txt").unlink()
    for image in (data / Split().gallery).iterdir():
        image.unlink()
    assert _inspect(data) == 1
    text = capsys.readouterr().out
    assert "y/list.txt: cannot be read" in text
    assert "gallery: no images" in text
    assert _row(text, "Training sources", "x")[1] == "5"


def test_unusable_images_that_are_to_be_dropped_are_no_problem(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world(data, LISTS)
    (data / "x" / "images" / "b.png").write_bytes(b"text")
    assert _inspect(data, unreadable="drop") == 0
    found = _row(capsys.readouterr().out, "Unusable images", "x/images/b.png")
    assert found[1:5] == ["is", "neither", "PNG", "nor"]


def test_a_conflict_is_told_with_both_lines(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world(data, LISTS)
    with (data / "x" / "list.txt").open("a") as handle:
        handle.write("a.png:2\n")
    assert _inspect(data) == 0
    section = capsys.readouterr().out.split("under two identities of one source")[1].split("\n\n")[0]
    assert "x/list.txt:1  x/images/a.png  x/1       x/2" in section
    assert "x/list.txt:6  x/images/a.png  x/2       x/1" in section


def _inspect_lists(*files: Path) -> int:
    return _run("--lists", *map(str, files))


def test_lists_alone_are_counted_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("a.png 1\nb.png 1\nc.png 10\na.png 9\n")
    second.write_text("a.png:1\nbad\n")
    assert _inspect_lists(first) == 0
    text = capsys.readouterr().out
    assert _row(text, "Label lists", str(first))[1:] == ["4", "3", "3", "2", "1"]
    assert "a.png is 1 and 9" in text
    assert _inspect_lists(first, second, tmp_path / "none.txt") == 1
    text = capsys.readouterr().out
    assert "second.txt:2: no separator" in text
    assert "none.txt: cannot be read" in text


@pytest.mark.real
def test_the_real_lists_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: the real label lists stand beside the checkout")
    files = [REAL / name for name in REAL_LISTS]
    assert _inspect_lists(*files) == 0
    text = capsys.readouterr().out
    rows = [_row(text, "Label lists", str(file))[1:] for file in files]
    assert [(row[0], row[3]) for row in rows] == [
        ("201,770", "4,152"),
        ("72,824", "4,152"),
        ("44,563", "3,796"),
    ]
    assert "train/105180993.png is 2164 and 5721" in text


def test_neither_config_nor_lists_is_a_mistake() -> None:
    with pytest.raises(ReidError, match="name a config or a layout, and a data folder"):
        _run()


def test_near_duplicates_are_listed_when_asked_for(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world(data, LISTS)
    large = cv2.resize(picture(3), (48, 96), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(data / "x" / "images" / "c.png"), large)
    cv2.imwrite(str(data / "x" / "images" / "e.png"), np.clip(large.astype(int) + 1, 0, 255).astype(np.uint8))
    _inspect(data)
    assert "Near-duplicates" not in capsys.readouterr().out
    _inspect(data, "--near", "4")
    section = capsys.readouterr().out.split("Near-duplicates")[1].split("\n\n")[0]
    assert "x/images/c.png  x/images/e.png" in section
    assert "two identities" in section
    with pytest.raises(ReidError, match="from 0 to 8 bits"):
        _inspect(data, "--near", "9")


def test_the_page_holds_the_pictures(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world(data, LISTS)
    draw(data / "x" / "images" / "a b.png", 9)
    _inspect(data, "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") > 4
    assert "x/list.txt:1" in page
    assert "with pictures" in capsys.readouterr().out


def test_a_second_look_reads_no_image(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world(data, LISTS)
    cache = str(tmp_path / "looks.sqlite")
    _inspect(data, "--cache", cache)
    first = capsys.readouterr().out
    monkeypatch.setattr("naic_reid.data.looks.look", lambda *_, **__: pytest.fail("read"))
    _inspect(data, "--cache", cache)
    assert capsys.readouterr().out == first


def test_a_data_set_is_counted_beside_what_was_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn("market1501", tmp_path)
    assert _run("--layout", "market1501", "--data", str(tmp_path)) == 0
    text = capsys.readouterr().out
    assert "36 (12,936)" in text  # training images
    assert _row(text, "Data sets: found (published)", "market1501")[1:4] == ["train", "6", "(751)"]
    assert "3 files that are no images by name are passed over" in text


def test_a_config_of_labelled_sets_is_inspected_with_its_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market = {"name": "m", "layout": "market1501", "folder": "market1501"}
    tests = {"duke": {"layout": "dukemtmc", "folder": "dukemtmc"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(small([market], tests)))
    data = tmp_path / "data"
    for layout in ("market1501", "dukemtmc"):
        drawn(layout, data / layout)
    words = ("--config", str(tmp_path / "config.yaml"), "--data", str(data))
    assert _run(*words) == 0
    text = capsys.readouterr().out
    assert _row(text, "Test folders", "duke/query")[1] == "12"
    (data / "dukemtmc/DukeMTMC-reID/query/me.jpg").touch()
    photo = next(data.rglob("bounding_box_train/0002_c1s1*.jpg"))
    photo.write_bytes(photo.read_bytes()[:-9])
    assert _run(*words) == 1
    text = capsys.readouterr().out
    assert "query/me.jpg: its name does not fit the layout" in text
    assert "is a truncated JPEG" in text


def test_test_images_that_are_training_images_are_counted(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world(data, LISTS)
    trained = (data / "x" / "images" / "a.png").read_bytes()
    (data / Split().query / "00.png").write_bytes(trained)
    pixels = cv2.imdecode(np.frombuffer(trained, np.uint8), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(data / Split().gallery / "00.png"), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert _inspect(data) == 0
    text = capsys.readouterr().out
    assert _row(text, "Test images that are training images", "query")[-2:] == ["1", "0"]
    assert _row(text, "Test images that are training images", "gallery")[-2:] == ["0", "1"]
    assert "2 in all: a score is worth less for it" in text
