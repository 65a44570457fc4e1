"""Worst queries: which they are, what they were taken for, and where in them the model looks."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from naic_reid import cli, heat
from naic_reid.artifacts import NOT_MET, RIGHT, WRONG, Heads, ImageList, MadeBy, write_json
from naic_reid.data import images
from naic_reid.extractor import Extractor
from tests.stages.browser import in_the_browser
from tests.stages.test_report import Checked
from tests.tools import house

PRECISIONS = (1.0, 0.25, 0.5, 0.0)
POSITIVES = (1, 1, 1, 0)  # the last query does not count
MARKS = [[RIGHT, WRONG, RIGHT], [NOT_MET, WRONG, WRONG], [WRONG, WRONG, RIGHT], [NOT_MET] * 3]
FIRSTS = (1, 4, 3, 0)
LOOKS = """
<script>
addEventListener("load", () => {
  const page = document.documentElement;
  const order = [...document.querySelectorAll(".query h3")].map((one) => one.firstChild.textContent.trim());
  const whole = [...document.images].every((one) => one.naturalWidth > 0 && one.alt);
  tell({ order, whole, beside: page.scrollWidth - page.clientWidth, images: document.images.length });
});
</script>
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run with known answers ended, and its pictures in `data`."""
    folder = tmp_path_factory.mktemp("hard")
    house.photos(folder / "data", persons=3, images=3)
    results = folder / "run/results"
    for seed, name in enumerate(("other/epoch_2.pt", "wide/epoch_2.pt", "wide/epoch_10.pt")):
        (results / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        house.model(results / "train" / name, seed=seed)
    queries = tuple(f"{person}/0.png" for person in range(4))
    persons = tuple(f"p{person}" for person in range(4))
    gallery = tuple(f"{person}/{image}.png" for person in range(3) for image in (1, 2))
    entries = []
    for member, precisions in (("a", PRECISIONS[::-1]), ("fusion", PRECISIONS)):
        hits = {"positives": POSITIVES, "first": FIRSTS, "last": FIRSTS}
        hits |= dict.fromkeys(("precisions", "precisions_cut", "trapezoids"), precisions)
        entries.append({"member": member, "reranked": False, "scores": {"queries": 4}, "hits": hits})
    told = {"names": queries, "persons": persons, "protocol": "market", "rules": {"cameras": "no"}}
    told |= {"elsewhere": [0] * 4, "entries": entries}
    made_by = MadeBy.of("evaluate", 3, {"extract": {"flip": False, "geometry": "crop"}, "seed": 1}, [])
    (results / "evaluate").mkdir()
    write_json(results / "evaluate/d.json", "Scores", made_by, told)
    best, far = [[0, 2, 1], [3, 4, 5], [1, 2, 4], [0, 1, 2]], np.tile(np.float32([1, 2, 3]), (2, 4, 1))
    Heads(
        queries, gallery, persons, tuple(f"p{name[0]}" for name in gallery), ("a", "fusion"),
        np.array([False, False]), np.array([best] * 2, np.int32), far, np.array([MARKS] * 2, np.int8),
    ).write(results / "evaluate/d.npz")  # fmt: skip
    return folder


def called(finished: Path, *more: str) -> int:
    words = ["hard", str(finished / "run"), "--data", str(finished / "data"), "--device", "cpu"]
    return cli.main([*words, *more])


def peak(finished: Path, path: str, model: str = "train/other/epoch_2.pt", rows: int = 64) -> list[int]:
    """The place where the sum of squares over channels is largest, by loops."""
    extractor = Extractor.load(finished / "run/results" / model, "cpu", flip=False, geometry="crop")
    seen = {}
    extractor.network.backbone.register_forward_hook(lambda _m, _a, out: seen.update(out=out[0]))
    extractor.images([images.read(finished / "data" / path)[:rows]])
    last: torch.Tensor = seen["out"]
    sums = {(y, x): float((last[:, y, x].double() ** 2).sum()) for y in range(rows // 16) for x in range(2)}
    return list(max(sums, key=lambda place: (sums[place], -place[0], -place[1])))


def test_the_worst_come_first_with_what_they_were_taken_for(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(finished) == 0
    title, _, _, *rows = capsys.readouterr().out.splitlines()
    assert title == "The 3 worst queries"
    cells = [row.split() for row in rows]
    assert [row[:4] for row in cells] == [
        ["d", "0.png", "25.0", "4"], ["d", "0.png", "50.0", "3"], ["d", "0.png", "100.0", "1"]
    ]  # fmt: skip
    assert [row[4:-4] for row in cells] == [["1:", "1.png"], ["1:", "2.png"], ["-"]]
    for row, query in zip(cells, ("1/0.png", "2/0.png", "0/0.png"), strict=True):
        y, x = peak(finished, query)
        assert row[-4:] == [str(y), str(x), f"{16 * y}-{16 * y + 16}", f"{16 * x}-{16 * x + 16}"]


def test_another_model_and_fewer_queries(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(finished, "--queries", "1", "--model", "wide") == 0
    *_, row = capsys.readouterr().out.splitlines()
    assert row.split()[-4:-2] == [str(at) for at in peak(finished, "1/0.png", "train/wide/epoch_10.pt")]


def test_another_ranking_has_other_worst_queries(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(finished, "--ranking", "a, plain") == 0
    _, _, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[2] for row in rows] == ["0.0", "25.0", "50.0"]


def test_lists_of_other_queries_are_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = finished / "run/results/evaluate/d.npz"
    kept, heads = path.read_bytes(), Heads.read(path)
    replace(heads, queries=heads.queries[::-1]).write(path)
    try:
        assert called(finished) == 2
        assert "d: its lists are of other queries" in capsys.readouterr().err
    finally:
        path.write_bytes(kept)


def test_cut_bodies_are_shown_as_they_were_cut(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = Heads.read(finished / "run/results/evaluate/d.npz")
    cut, page = finished / "run/results/cut", tmp_path / "cut.html"
    cut.mkdir()
    for role, paths, crop in (("query", heads.queries, "0 32 0 32"), ("gallery", heads.gallery, "0 16 0 32")):
        ImageList(paths, ("a/1",) * len(paths), crops=(crop,) * len(paths)).write(cut / f"{role}_d.tsv")
    try:
        assert called(finished, "--html", str(page)) == 0
    finally:
        shutil.rmtree(cut)
    row = capsys.readouterr().out.splitlines()[-2]
    y, x = peak(finished, "0/0.png", rows=32)
    assert row.split()[-4:] == [str(y), str(x), f"{16 * y}-{16 * y + 16}", f"{16 * x}-{16 * x + 16}"]
    sizes = re.findall(r'width="(\d+)" height="256" alt="(\w+)', page.read_text())
    assert set(sizes) == {("256", "query"), ("512", "rank")}


def test_of_equal_places_the_first_in_reading_order_is_the_peak() -> None:
    strengths = np.array([[0, 1], [3, 3], [3, 0]], np.float32)
    assert heat.peak(strengths, 30, 10) == (1, 0, 10, 0, 20, 5)
    drawn = heat.framed(np.full((30, 10, 3), 90, np.uint8), heat.peak(strengths, 30, 10))
    assert (drawn[10, :5] == 255).all() and (drawn[0] == 90).all()


def test_the_page_in_a_browser(finished: Path, tmp_path: Path) -> None:
    assert called(finished, "--html", str(tmp_path / "hard.html")) == 0
    page = (tmp_path / "hard.html").read_text()
    checked = Checked()
    checked.feed(page)
    assert checked.open == [] and checked.asked <= set(checked.ids)
    assert "The first right image, rank 4, is not in the list." in page
    assert re.findall(r"rank (\d), (wrong|right)</strong>", page) == [
        ("1", "wrong"), ("1", "wrong"), ("3", "right"), ("1", "right")
    ]  # fmt: skip
    told = in_the_browser(page, LOOKS, tmp_path, "--window-size=390,900")
    assert told["order"] == ["0.png"] * 3 and told["whole"] and told["images"] == 2 * (3 + 4)
    assert told["beside"] <= 0  # nothing of the page is beside a narrow screen


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--queries", "0"], "--queries must be at least 1"),
        (["--domain", "e"], "--domain e: there are d"),
        (["--ranking", "x, plain"], "--ranking: d has no 'x, plain'; there are: a, plain; fusion, plain"),
        (["--model", "x"], "--model x: there are other, wide"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    finished: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(finished, *words) == 2
    assert sentence in capsys.readouterr().err
