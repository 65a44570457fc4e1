"""Two runs side by side: better, worse or not shown; seeds of a recipe together; what is refused."""

import base64
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from naic_reid import cli, compare
from naic_reid.artifacts import NOT_MET, RIGHT, WRONG, Heads, ImageList, MadeBy, write_json
from naic_reid.errors import ReidError
from tests.stages.test_report import Checked

PERSONS = 30
RULES = {"cameras": "none"}


def ranks(quality: float, seed: int = 0) -> np.ndarray[Any, Any]:
    """Where each query's one answer stands, the better the nearer to 1; two queries of each person."""
    rng = np.random.default_rng(3)
    hard = rng.random(2 * PERSONS) + np.random.default_rng(seed).normal(0, 0.02, 2 * PERSONS)
    return np.maximum(1, np.round(1 + 12 * (hard - quality))).astype(int)


def run(folder: Path, found: np.ndarray[Any, Any], protocol: str = "market", **settings: Any) -> Path:
    """A folder in which a run ended: a checkpoint's record, and the scores made with it."""
    train = folder / "results/train/wide/epoch_2.json"
    train.parent.mkdir(parents=True)
    seed, each = settings.pop("seed", 1), settings.pop("queries_each", 2)
    recipe = {"epochs": 2, "batch": 32} | settings
    write_json(
        train, "Any", MadeBy.of("train", 1, {"model": {"width": 64}, "train": recipe, "seed": seed}, []), {}
    )
    hits = {"positives": [1] * len(found), "first": found.tolist(), "last": found.tolist()}
    hits |= {name: (1 / found).tolist() for name in ("precisions", "precisions_cut", "trapezoids")}
    entries = [
        {"member": "fusion", "reranked": reranked, "scores": {"queries": len(found)}, "hits": hits}
        for reranked in (False, True)
    ]
    queries = [f"q/{number:03}.png" for number in range(len(found))]
    told = {"names": queries, "persons": [f"p{number // each}" for number in range(len(found))]}
    told |= {"protocol": protocol, "rules": RULES, "elsewhere": [0] * len(found), "entries": entries}
    scores = folder / "results/evaluate/market.json"
    scores.parent.mkdir(parents=True)
    write_json(
        scores, "Scores", MadeBy.of("evaluate", 3, {"fuse": {"best": 200}, "seed": seed}, [train]), told
    )
    return folder


def keep(folder: Path, num: int, marks: list[int]) -> tuple[str, ...]:
    """Beside its scores what the run found for each of `num` queries, the same for all; their paths."""
    queries = tuple(f"q/{number:03}.png" for number in range(num))
    gallery = tuple(f"g/{number}.png" for number in range(4))
    shape = (2, num, len(marks))
    best = np.broadcast_to(np.arange(len(marks), dtype=np.int32), shape)
    far = np.broadcast_to(np.array([0.1, 0.2, 0.3], np.float32)[: len(marks)], shape)
    persons = ("",) * num, ("",) * len(gallery)
    names = ("fusion", "fusion"), np.array([False, True])
    heads = Heads(
        queries, gallery, *persons, *names, best, far, np.broadcast_to(np.array(marks, np.int8), shape)
    )
    heads.write(folder / "results/evaluate/market.npz")
    return queries


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path()


def test_a_better_recipe_is_called_better_and_what_made_it_is_told(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(inside / "before", ranks(0.3))
    run(inside / "after", ranks(0.6), batch=64)
    assert cli.main(["compare", "before", "after"]) == 0
    printed = capsys.readouterr().out
    assert "better" in printed and "not shown" not in printed and "worse" not in printed
    assert "train of wide.batch: 32 → 64" in printed and "market: 30 persons, 60 queries" in printed
    assert "was trained once" in printed
    (found,) = compare(["before", "after"])
    line = found.lines[0]
    assert line.score == "R1" and line.first == pytest.approx((ranks(0.3) == 1).mean())
    assert line.difference.value == pytest.approx((ranks(0.6) == 1).mean() - line.first)
    assert found.lines[1].other == pytest.approx((1 / ranks(0.6)).mean())
    assert compare(["after", "before"])[0].lines[0].difference.verdict() == "worse"


def test_a_recipe_that_differs_by_luck_is_not_shown(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(inside / "before", ranks(0.4))
    run(inside / "after", ranks(0.4, seed=9), batch=64)
    assert cli.main(["compare", "before", "after"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("not shown") == 6 and "better" not in printed


def test_queries_and_persons_that_changed_most_come_first(inside: Path) -> None:
    one = ranks(0.5)
    other = one.copy()
    one[[7, 20]], other[[7, 20]] = [1, 1], [10, 2]
    run(inside / "a", one)
    run(inside / "b", other, batch=64)
    (found,) = compare(["a", "b"])
    queries = found.queries("market", "fusion, plain")
    assert [change.name for change in queries[:2]] == ["q/007.png", "q/020.png"]
    assert queries[0][1:] == ("p3", 1.0, pytest.approx(0.1)) and queries[2].first == queries[2].other
    person = found.persons("market", "fusion, plain")[0]
    assert person.name == "p3" and person.other - person.first == pytest.approx(-0.45)


def test_seeds_of_one_recipe_are_one_group(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2, 3):
        run(inside / f"a{seed}", ranks(0.3, seed), seed=seed)
        run(inside / f"b{seed}", ranks(0.6, seed), seed=seed, epochs=4)
    assert cli.main(["compare", *(f"{name}{seed}" for seed in (1, 2, 3) for name in "ab")]) == 0
    printed = capsys.readouterr().out
    assert "A: a1 + a2 + a3  (3 runs, seeds 1, 2, 3)" in printed and "was trained once" not in printed
    (found,) = compare([f"{name}{seed}" for name in "ab" for seed in (1, 2, 3)])
    line = found.lines[0]
    assert line.first == pytest.approx(np.mean([(ranks(0.3, seed) == 1).mean() for seed in (1, 2, 3)]))
    assert line.difference.verdict() == "better"


def test_the_page_shows_both_lists_of_what_changed_most(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = ranks(0.5), ranks(0.5)
    one[7], other[7] = 1, 10
    for name, found, batch in (("a", one, 1), ("b", other, 2)):
        run(inside / name, found, batch=batch)
        keep(inside / name, len(found), [WRONG, NOT_MET, RIGHT])
    for path in ("q/007.png", "g/0.png", "g/1.png"):
        (inside / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(inside / "data" / path), np.zeros((32, 16, 3), np.uint8))
    assert cli.main(["compare", "a", "b", "--html", "page.html", "--data", "data"]) == 0
    assert "page.html: the page" in capsys.readouterr().out
    page = (inside / "page.html").read_text()
    assert "Person p3 <span" in page and "AP 100.0 → 10.0" in page and page.count("data:image/jpeg") == 6
    assert page.count('frame wrong"><img') == 2 == page.count('frame aside"><img')
    assert page.count('frame right"><span class="missing"') == 2  # its image is not there
    line = compare(["a", "b"])[0].lines[0]
    assert f"{100 * line.difference.value:+.1f}" in page and "train of wide.batch: 1 → 2" in page
    checked = Checked()
    checked.feed(page)
    assert checked.open == [] and checked.asked <= set(checked.ids)


def test_the_page_shows_cut_bodies_as_each_run_cut_them(inside: Path) -> None:
    one, other = ranks(0.5), ranks(0.5)
    one[7], other[7] = 1, 10
    for name, found, rows in (("a", one, 16), ("b", other, 24)):
        run(inside / name, found, batch=rows)
        queries = keep(inside / name, len(found), [WRONG])
        (inside / name / "results/cut").mkdir()
        crops = (f"0 {rows} 0 16",) * len(queries)
        cut = ImageList(queries, ("",) * len(queries), crops=crops)
        cut.write(inside / name / "results/cut/query_market.tsv")
    for path in ("q/007.png", "g/0.png"):
        (inside / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(inside / "data" / path), np.zeros((32, 16, 3), np.uint8))
    assert cli.main(["compare", "a", "b", "--html", "page.html", "--data", "data"]) == 0
    shown = re.findall(r"data:image/jpeg;base64,([^\"]*)", (inside / "page.html").read_text())
    pixels = [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), 1) for each in shown]
    assert [picture.shape[0] for picture in pixels] == [16, 32, 24, 32]  # query and hit of A, then of B


def test_paired_leaves_nothing_out(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, found in (("a", ranks(0.3)), ("b", ranks(0.6)), ("fewer", ranks(0.6)[:20])):
        run(inside / name, found, batch=ord(name[0]))
        results = inside / name / "results/evaluate"
        if name != "fewer":  # another domain, of the same queries everywhere
            shutil.copy(results / "market.json", results / "duke.json")
        else:
            shutil.copy(inside / "a/results/evaluate/market.json", results / "duke.json")
    assert cli.main(["compare", "a", "fewer"]) == 0
    printed = capsys.readouterr().out
    assert "market is left out: other queries" in printed and "duke: 30 persons" in printed
    assert cli.main(["compare", "a", "fewer", "--paired"]) == 2
    assert "a and fewer: market: other queries, or other persons on them" in capsys.readouterr().err
    assert compare(["a", "b"], paired=True)[0].lines == compare(["a", "b"])[0].lines
    shutil.copy(inside / "b/results/evaluate/market.json", inside / "b/results/evaluate/more.json")
    assert "more is left out: not in all of them" in told(["a", "b"], capsys)
    with pytest.raises(ReidError, match="a and b: more: not in all of them"):
        compare(["a", "b"], paired=True)
    (inside / "b/results/evaluate/more.json").unlink()
    rankings = ["fusion, plain", "a/epoch_1, plain"]
    with pytest.raises(ReidError, match="duke: not all of them rank by a/epoch_1, plain"):
        compare(["a", "b"], rankings=rankings, paired=True)


def told(folders: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["compare", *folders]) == 0
    return capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(inside / "a", ranks(0.3))
    run(inside / "same", ranks(0.3), seed=5)
    run(inside / "fewer", ranks(0.3)[:20], batch=1)
    run(inside / "other", ranks(0.3), protocol="vehicleid", batch=1)
    run(inside / "renamed", ranks(0.3), batch=1, queries_each=3)
    (inside / "empty").mkdir()
    for folders, sentence in [
        (["a", "same"], "differ in nothing but the seed"),
        (["a", "fewer"], "market: other queries, or other persons"),
        (["a", "renamed"], "market: other queries, or other persons"),
        (["a", "other"], "scored by market and by vehicleid"),
        (["a", "empty"], "empty: holds no results/evaluate"),
    ]:
        assert cli.main(["compare", *folders]) == 2
        assert sentence in capsys.readouterr().err, folders
    with pytest.raises(ReidError, match="the first ranks by fusion, plain; fusion, re-ranked"):
        compare(["a", "fewer"], rankings=["nobody, plain"])
