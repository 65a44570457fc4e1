"""`naic-reid find`: who is found, what is remembered, and the page in a browser."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from naic_reid import Extractor, cli
from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError
from naic_reid.retrieval.ranking import rank
from naic_reid.retrieval.rerank import Reranking
from naic_reid.tools import gallery
from tests.tools import house

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("find")
    house.model(place / "model.pt")
    house.photos(place / "photos")
    return place


@pytest.fixture(scope="module")
def extractor(place: Path) -> Extractor:
    return Extractor.load(place / "model.pt", "cpu")


def find(place: Path, photos: Iterable[str], *options: str) -> int:
    given = [str(place / "photos" / name) for name in photos]
    where = ["--in", str(place / "photos"), "--cache", str(place / "cache"), "--device", "cpu"]
    return cli.main(["find", str(place / "model.pt"), *given, *where, *options])


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_the_most_similar_come_first(
    place: Path, extractor: Extractor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find(place, ["0/1.png", "2/0.png"], "--best", "5") == 0
    found = lines(capsys)
    everything = extractor.folder(place / "photos")
    for number, name in enumerate(["0/1.png", "2/0.png"]):
        cosines = everything.values @ everything.values[everything.names.index(name)]
        expected = sorted(zip(-cosines, everything.names, strict=True))[:5]
        rows = found[5 * number : 5 * number + 5]
        assert [row[3] for row in rows] == [image for _, image in expected]
        assert [row[1] for row in rows] == ["1", "2", "3", "4", "5"]
        np.testing.assert_allclose([float(row[2]) for row in rows], [-cos for cos, _ in expected], atol=1e-4)
        assert rows[0][3] == name


def test_photographs_of_one_person_are_asked_with_together(
    place: Path, extractor: Extractor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find(place, ["0/0.png", "0/1.png", "2/2.png"], "--one-person", "--best", "6") == 0
    found = lines(capsys)
    everything = extractor.folder(place / "photos")
    mean = everything.values[[0, 1, 8]].mean(0)
    order = np.argsort(-(everything.values @ mean))[:6]
    assert [row[3] for row in found] == [everything.names[at] for at in order]


def test_reranked_is_what_rank_returns(
    place: Path, extractor: Extractor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find(place, ["1/0.png"], "--rerank", "--best", "12", "--k1", "4", "--k2", "2") == 0
    everything = extractor.folder(place / "photos")
    query = everything.values[[everything.names.index("1/0.png")]]
    order, _ = rank(query, everything.values, 12, rerank=Reranking(4, 2, 0.3), device="cpu")
    assert [row[3] for row in lines(capsys)] == [everything.names[at] for at in order[0]]


def test_a_small_gallery_is_reranked_with_the_neighbours_it_has(place: Path) -> None:
    assert find(place, ["1/0.png"], "--rerank") == 0  # k1 = 20 of 12 images


class Counted:
    """An extractor that tells how many files were asked of it."""

    def __init__(self, extractor: Extractor) -> None:
        self.inner, self.taken = extractor, 0
        self.options, self.device = extractor.options, extractor.device

    def files(self, paths: list[Path], **how: Any) -> Any:
        self.taken = len(paths)
        return self.inner.files(paths, **how)


@pytest.fixture
def remembered(place: Path, extractor: Extractor, tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Asks for a gallery of its own; how many images were taken anew, and their names."""
    shutil.copytree(place / "photos", tmp_path / "photos")
    shutil.copy(place / "model.pt", tmp_path)

    def asked(**other: Any) -> tuple[int, list[str]]:
        counted = Counted(extractor)
        vars(counted).update(other)
        names, rows = gallery.features(
            counted, tmp_path / "model.pt", tmp_path / "photos", tmp_path / "cache"  # type: ignore[arg-type]
        )  # fmt: skip
        expected = extractor.files([tmp_path / "photos" / name for name in names])
        np.testing.assert_allclose(rows, expected.values, atol=1e-5)
        return counted.taken, names

    assert asked()[0] == 12
    assert asked()[0] == 0
    return asked


def test_only_what_changed_is_taken_anew(remembered: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    pixels = cv2.imread(str(photos / "0/0.png"))
    cv2.imwrite(str(photos / "0/0.png"), pixels[::-1])
    assert remembered()[0] == 1
    shutil.copy(photos / "0/1.png", photos / "0/new.png")
    (photos / "3/2.png").unlink()
    taken, names = remembered()
    assert taken == 1
    assert "0/new.png" in names and "3/2.png" not in names
    (photos / "1/1.png").replace(photos / "1/0.png")  # a file of another time takes the name
    assert remembered() == (1, [name for name in names if name != "1/1.png"])


def test_a_changed_model_other_options_and_a_damaged_memory_take_all_anew(
    remembered: Any, tmp_path: Path
) -> None:
    assert remembered(options={"flip": False})[0] == 12
    assert remembered()[0] == 12
    os.utime(tmp_path / "model.pt")
    assert remembered()[0] == 12
    (memory,) = (tmp_path / "cache").iterdir()
    memory.write_bytes(memory.read_bytes()[:-200])
    assert remembered()[0] == 12
    assert remembered()[0] == 0


def test_what_is_no_image_is_told_and_left_out(
    remembered: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos" / "broken.png").write_text("no image")
    assert len(remembered()[1]) == 12
    assert "broken.png" in caplog.text


def test_a_folder_without_an_image_is_refused(place: Path, extractor: Extractor, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ReidError, match="no image"):
        gallery.features(extractor, place / "model.pt", tmp_path / "none", tmp_path)


def test_a_memory_that_cannot_be_kept_is_no_obstacle(
    place: Path, extractor: Extractor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    names, _ = gallery.features(extractor, place / "model.pt", place / "photos", tmp_path / "file" / "cache")
    assert len(names) == 12
    assert "not remembered" in caplog.text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--best", "0"], "--best must be at least 1"),
        (["--lambda", "2"], "--lambda must lie in"),
        (["--html", "{place}/photos/0/0.png"], "0.png: is read by this command"),
    ],
)
def test_what_cannot_be_is_refused(
    place: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find(place, ["0/0.png"], *(option.format(place=place) for option in options)) == 2
    assert sentence in capsys.readouterr().err


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))


@pytest.fixture
def page(place: Path, tmp_path: Path) -> Path:
    evil = place / "photos" / "<script>alert(1)</script>&.png"
    evil.parent.mkdir(exist_ok=True, parents=True)
    shutil.copy(place / "photos/0/2.png", evil)
    try:
        options = ["--best", "13", "--html", str(tmp_path / "found.html")]
        assert find(place, ["0/0.png", "2/1.png"], *options) == 0
    finally:
        shutil.rmtree(evil.parent)
    return tmp_path / "found.html"


def test_the_page_holds_every_picture_and_needs_nothing_else(page: Path) -> None:
    text = page.read_text()
    found = Page(text)
    assert len(found.pictures) == 2 * (13 + 1)
    assert all((picture["src"] or "").startswith("data:image/jpeg;base64,") for picture in found.pictures)
    assert sum((picture["alt"] or "").startswith("Rank 1: ") for picture in found.pictures) == 2
    assert all(picture["alt"] for picture in found.pictures)
    assert "script" not in found.tags
    assert not re.search(r"https?://|@import|url\(", text)
    assert text.count("(the same file)") == 2
    assert "prefers-color-scheme: dark" in text


LOOK = """<body>
<iframe id="f" src="found.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>
onload = () => {{
  const page = document.getElementById("f").contentDocument, root = page.documentElement;
  const shown = [...page.images].filter(i => i.complete && i.naturalWidth && i.clientHeight > 40).length;
  const paint = getComputedStyle(page.body).backgroundColor;
  const pictures = `${{shown}} of ${{page.images.length}}`;
  document.title = `wide ${{root.scrollWidth}} pictures ${{pictures}} paint ${{paint}}`;
}}</script></body>"""


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize(("scheme", "paint"), [("1", "rgb(245, 246, 248)"), ("0", "rgb(18, 22, 28)")])
def test_a_browser_shows_it_on_phone_and_desk_light_and_dark(
    page: Path, width: int, scheme: str, paint: str
) -> None:
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("CI has to have a browser: apt-get install chromium")
        pytest.skip("no browser to look with: apt-get install chromium")
    look = page.with_name("look.html")
    look.write_text(LOOK.format(width=width))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        "--hide-scrollbars", "--dump-dom", f"--user-data-dir={page.parent / 'profile'}",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--window-size={max(width, 600) + 40},1000", look.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert f"wide {width} pictures 28 of 28 paint {paint}" in done.stdout


def test_half_a_person_is_asked_for_on_a_blank_input_and_the_gallery_remembered_apart(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = house.model(place / "plain.pt", Architecture(backbone="resnet18", height=64, width=32))
    whole = cv2.imread(str(place / "photos/1/0.png"))
    cv2.imwrite(str(place / "half.png"), whole[: len(whole) // 2])
    for words in ({"geometry": "pad", "widen": 1.25}, {}):
        options = [text for name, value in words.items() for text in (f"--{name}", str(value))]
        where = ["--in", str(place / "photos"), "--cache", str(place / "cache"), "--device", "cpu"]
        assert cli.main(["find", str(model), str(place / "half.png"), *where, "--best", "3", *options]) == 0
        extractor = Extractor.load(model, "cpu", **words)
        gallery = extractor.folder(place / "photos")
        cosines = gallery.values @ extractor.files([place / "half.png"]).values[0]
        expected = [gallery.names[at] for at in np.argsort(-cosines, kind="stable")[:3]]
        assert [row[3] for row in lines(capsys)] == expected
