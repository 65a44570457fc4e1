"""Report: the page says what the card says, stands alone, is the same bytes again and keeps its budget."""

import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from naic_reid import files, heat, lineage
from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList, MadeBy, write_table
from naic_reid.config import Extract, Report
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from naic_reid.pages import charts, curves, lists, pictures, ranked, tables
from naic_reid.stages import report
from tests.stages import test_card
from tests.stages.browser import AXE, JUDGES_IT, USES_IT, in_the_browser
from tests.stages.members import World, world
from tests.tools import house

SIZES = {"green": (10, 40), "normal": (25, 60)}
ROLES = ("query", "gallery")
SHAPES = ((32, 16), (60, 18), (24, 40))
HEAT = 3
EXTRACT = Extract(geometry="pad", border="blank", precision="bf16")
VOID = {"meta", "link", "br", "img", "input", "hr", "use", "wbr"}


class Made:
    """What a run ended with, and the page of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world: World = world(folder, SIZES, labelled=True)
        for domain in SIZES:
            self.world.rerank_all(domain)
        self.scores = [self.world.evaluate(domain) for domain in SIZES]
        test_card.run(self.scores, folder)
        rng = np.random.default_rng(0)
        for domain in SIZES:
            for role in ROLES:
                for path in ImageList.read(self.world.images(role, domain)).paths:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    size = SHAPES[int(rng.integers(len(SHAPES)))]
                    cv2.imwrite(str(folder / path), rng.integers(0, 256, (*size, 3), np.uint8))
        house.model(folder / "a.pt", Architecture(backbone="resnet18", height=64, width=32))
        (folder / "train/a").mkdir(parents=True)
        lines = [{"epoch": epoch, "loss": 5 - epoch, "accuracy": epoch / 10} for epoch in (1, 1, 2, 3)]
        self.history = folder / "train/a/history.jsonl"
        self.history.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        counts = "\t".join(["all", "9", *["1"] * 7, "2", "1"])
        write_table(folder / "counts.tsv", "Counts", MadeBy(), tables.COUNTS, [counts])
        (folder / "train/d.png").write_bytes(b"changed since it was collected")
        for name in "cb":
            cv2.imwrite(str(folder / f"train/{name}.png"), np.full((120, 60, 3), (0, 0, 200), np.uint8))
        twice = files.digest(folder / "train/b.png")
        rows = [
            ("train/c.png", "set/2", 1, twice, "01", "", "", "128 64"),
            ("train/b.png", "set/2", 3, twice, "01", "", "", "128 64"),
            ("train/d.png", "set/3", 4, "bb", "02", "", "", "40 20"),
            ("train/d.png", "set/4", 5, "bb", "02", "", "", "40 20"),
            ("train/e.png", "set/4", 6, "cc", "03", "is no image", "", ""),
            ("train/w.png", "set/5", 8, "a9", "07", "", "", "128 64"),
            ("other/f.png", "other/9", 1, "dd", "04", "", "", "128 64"),
            ("other/g.png", "other/8", 2, "ee", "01", "", "", "128 64"),
            ("other/h.png", "other/8", 7, "ff", "05", "", "", "128 64"),
        ]
        Records.of(rows, MadeBy()).write(folder / "images.tsv")
        dropped = [
            "train/<b>.png\tset/1\t3\tsame bytes\ttrain/c.png\t",
            "train/w.png\tset/5\t8\twrong label\t\t",
        ]
        write_table(folder / "dropped.tsv", "Dropped", MadeBy(), tables.DROPPED, dropped)

    def page(
        self, *, name: str = "index", truth: bool = True, checkpoint: str = "a.pt", **settings: Any
    ) -> Path:
        page = self.folder / f"{name}.html"
        known = self.scores if truth else []
        report.run(
            Report(**{"heat": 0} | settings),
            EXTRACT,
            data=self.folder,
            checkpoint=[self.folder / checkpoint] if checkpoint else [],
            card=[self.folder / "card.json"] if truth else [],
            scores=known,
            heads=[path.with_name(f"{path.stem}_heads.npz") for path in known],
            rankings=[] if truth else [self.ranking(domain) for domain in SIZES],
            tested=[self.world.images(role, domain) for domain in SIZES for role in ROLES],
            trained=self.folder / "train.list.tsv",
            collected=self.folder / "images.tsv",
            histories=[self.history],
            counts=self.folder / "counts.tsv",
            dropped=self.folder / "dropped.tsv",
            page=page,
            record=lineage.sidecar(page),
        )
        return page

    def ranking(self, domain: str) -> Path:
        return shutil.copy(self.world.fuse(domain), self.folder / f"{domain}.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    return made.page(heat=HEAT).read_text(encoding="utf-8")


def embedded(text: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_numbers_are_those_of_the_card(made: Made, page: str) -> None:
    card = json.loads((made.folder / "card.json").read_text())
    assert embedded(page, "numbers")["sections"] == card["sections"]
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for row in (row for rows in card["sections"].values() for row in rows):
        low, high = row["interval"]["mAP"]
        cell = f"<td>{100 * row['mAP']:.1f}<small>{100 * low:.1f} – {100 * high:.1f}</small></td>"
        assert cell in body
    assert "1 of 2 images in query_green.list are copies of training images" in body


def test_every_lists_size_is_told(made: Made, page: str) -> None:
    body = page[page.index(">Sizes</h3>") : page.index(">Training sources")]
    rows = [re.findall(r"<td[^>]*>([^<]*)", row) for row in re.findall(r"<tr>(.*?)</tr>", body)[1:]]
    assert [row[0] for row in rows][1:] == [f"{role}_{domain}" for domain in SIZES for role in ROLES]
    assert [int(row[1]) for row in rows][1:] == [*SIZES["green"], *SIZES["normal"]]
    own = ImageList.read(made.world.images("query", "green"))
    assert int(rows[1][2]) == len({*own.identities}) > 1
    silent = replace(own, identities=("",) * len(own))  # as of the competition, whose answers lie apart
    known = {"a": ["1", "2", "1", ""]}
    told = tables.sizes({"a": silent, "b": silent}, known)["rows"]
    assert [row[:3] for row in told] == [["a", len(own), 2], ["b", len(own), "–"]]


def test_what_is_wrong_with_training_lists_is_told(page: str) -> None:
    found = page[page.index('<section id="found"') : page.index('<section id="chain"')].replace("<wbr>", "")
    tables = dict(re.findall(r"<h3 [^>]*>([^<]*)</h3>(.*?)(?=<h3|</section>)", found, re.DOTALL))
    cells = {
        title: [re.findall(r"<td[^>]*>([^<]*)", row) for row in re.findall(r"<tr>(.*?)</tr>", body)[1:]]
        for title, body in tables.items()
    }
    titles = {word: next(title for title in cells if word in title) for word in (
        "number of images", "sizes", "Unusable", "Repeated", "two identities", "one person")}  # fmt: skip
    assert cells[titles["number of images"]] == [["1", "2", "1"], ["2", "1", "1"]]
    assert cells[titles["sizes"]] == [["128 × 64", "6"], ["40 × 20", "1"]]
    assert cells[titles["Unusable"]] == [["train/e.png", "is no image"], ["train/d.png", "40 × 20 pixels"]]
    assert cells[titles["Repeated"]] == [["set", "other", "0", "1"], ["set", "set", "1", "0"]]
    assert cells[titles["two identities"]] == [
        ["set:4", "train/d.png", "set/3", "set/4"],
        ["set:5", "train/d.png", "set/4", "set/3"],
    ]
    assert cells[titles["one person"]] == [["other + set", "1", "2"]]
    assert "the largest person is set/2: other/8, set/2" in found
    assert "known to be wrong: 1" in found  # whose person is in none of the other tables


def test_what_is_wrong_is_shown_as_well(made: Made, page: str) -> None:
    found = page[page.index('<section id="found"') : page.index('<section id="chain"')]
    shown = re.findall(r'<img src="([^"]*)" alt="Image of ([^"]*)">', found)
    frames = re.findall(r'<div class="frame">(.*?)</div><figcaption>([^<]*)</figcaption>', found)
    kept, repeated, gone = "set/2 set:1", "set/2 set:3", "other/8 other:2"
    told = [caption for _, caption in frames]
    unusable, repeats, conflicts = told[:1], told[1:5], told[5:7]
    assert (unusable, repeats) == (["train/d.png"], [kept, repeated, kept, gone])
    assert conflicts == ["set/3 set:4", "set/4 set:5"]
    assert told[7:] == [kept, gone, "other/8 other:7", kept]  # what links the person, and its members
    assert [caption for _, caption in shown] == [kept, repeated, kept, kept, kept]
    assert all(drawn(source).shape == (104, 52, 3) for source, _ in shown)
    assert all(np.abs(drawn(source) - np.array([0.0, 0, 200])).max() < 12 for source, _ in shown)
    assert sum("no picture" in frame for frame, _ in frames) == len(frames) - len(shown)


def test_lists_come_worst_first_with_their_marks(made: Made, page: str) -> None:
    ranked = embedded(page, "ranked")["domains"]
    assert [domain["name"] for domain in ranked] == [*SIZES]
    for domain, path in zip(ranked, made.scores, strict=True):
        entry = json.loads(path.read_text())["entries"][-1]
        precisions = np.array(entry["hits"]["precisions"]) / np.array(entry["hits"]["positives"])
        assert domain["rankings"][-1] == ["fusion", "re-ranked"]
        own = [query["ap"][-1] for query in domain["queries"]]
        assert own == sorted(own) == pytest.approx(sorted(precisions), abs=1e-4)
        for query in domain["queries"]:
            for hits, first in zip(query["found"], query["first"], strict=True):
                marks = [mark for _, mark, _ in hits]
                assert marks.index(1) + 1 == first if 1 in marks else first > len(hits)
                assert all((domain["gallery"][str(g)][1] == query["person"]) == mark for g, mark, _ in hits)
                far = [distance for *_, distance in hits]
                assert far == sorted(far) and len(hits) == 10


class Checked(HTMLParser):
    """What a page is made of; fails where an element is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.asked: set[str] = set()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.ids += [told["id"] or ""] if "id" in told else []
        for name in ("aria-labelledby", "for"):
            self.asked |= set((told.get(name) or "").split())
        if tag == "a" and (told.get("href") or "").startswith("#"):
            self.asked.add((told["href"] or "")[1:])
        self.loaded += [value for name in ("src", "srcset", "data") if (value := told.get(name))]
        if tag == "link" or (tag == "use" and not (told.get("xlink:href") or "").startswith("#")):
            self.loaded.append(str(told))
        if tag == "img":
            assert told.get("alt")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, (tag, self.getpos())


def test_the_page_is_whole_and_asks_for_nothing_outside(page: str) -> None:
    checked = Checked()
    checked.feed(page)
    assert checked.open == []
    assert len(checked.ids) == len(set(checked.ids))
    assert checked.asked <= set(checked.ids)
    assert all(source.startswith("data:image/jpeg;base64,") for source in checked.loaded)
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/(?:1999/xlink|2000/svg))\w+\.\w", page)
    assert page.count("<svg ") == page.count('role="img"') == 2 + 3 * len(SIZES)
    assert "#0102" not in page and "train/<wbr>&lt;b&gt;.png" in page


def test_equal_runs_give_equal_bytes_and_the_chain_is_told(made: Made, page: str) -> None:
    again = made.page(name="again", heat=HEAT).read_text(encoding="utf-8")
    assert again == page
    record = lineage.record(made.folder / "index.html")
    assert record is not None and record.stage == "report"
    assert json.loads((made.folder / "index.record.json").read_text())["page"] == files.digest(
        made.folder / "index.html"
    )
    assert "a step&#39;s log" in page and "<wbr>history.jsonl" in page
    for stage in ("evaluate", "fuse", "card", "rerank", "search"):
        assert f"{stage}, revision" in page
    assert '"lambda":0.3'.replace('"', "&#34;") in page


@pytest.mark.usefixtures("undrawn")
def test_the_page_keeps_its_budget_and_says_what_it_left_out(made: Made) -> None:
    page = made.page(name="large").read_text(encoding="utf-8")
    assert len(embedded(page, "pictures")) == 135
    assert "had no room" not in page
    bare = len(page.encode()) - len(json.dumps(embedded(page, "pictures")))
    small = made.page(name="small", megabytes=(bare + 60_000) / 1e6, queries=6)
    text = small.read_text(encoding="utf-8")
    assert small.stat().st_size <= bare + 60_000
    assert "The worst 6 of 35 queries; report.queries in the config asks for more" in text
    tiny = made.page(name="tiny", megabytes=0.0001).read_text(encoding="utf-8")
    assert "135 pictures had no room in 0.0001 MB" in tiny and embedded(tiny, "pictures") == {}


@pytest.mark.usefixtures("undrawn")
def test_without_answers_there_are_lists_and_curves_alone(made: Made) -> None:
    text = made.page(name="unknown", truth=False).read_text(encoding="utf-8")
    ranked = embedded(text, "ranked")["domains"]
    assert [len(domain["queries"]) for domain in ranked] == [10, 25]
    assert all(
        mark is None for domain in ranked for query in domain["queries"] for _, mark, _ in query["found"][0]
    )
    assert 'id="score"' not in text and 'id="training"' in text and 'id="ranks"' not in text
    checked = Checked()
    checked.feed(text)
    assert checked.open == [] and checked.asked <= set(checked.ids)


def test_without_answers_nothing_is_offered_that_needs_them(made: Made, page: str, tmp_path: Path) -> None:
    unknown = made.page(name="unknown", truth=False).read_text(encoding="utf-8")
    for word in ("worst first", "only where the first is wrong", "✓ right", "of the worst"):
        assert word in page and word not in unknown.partition("<script")[0], word
    shown = in_the_browser(
        unknown,
        '<script>onload = () => tell(document.getElementById("count").textContent);</script>',
        tmp_path,
    )
    assert shown == "20 of 35 queries shown"


def test_lists_of_other_queries_are_refused(made: Made) -> None:
    one, other = (made.folder / f"{domain}_heads.npz" for domain in SIZES)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    with pytest.raises(ReidError, match=r"green_heads\.npz: is of other queries than the scores"):
        made.page(name="refused")
    one.write_bytes(kept)
    assert not (made.folder / "refused.html").exists()


def test_curves_are_drawn_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        charts, "lines", lambda *given, **limits: drawn.update(lines=given, limits=limits) or ""
    )
    monkeypatch.setattr(charts, "histograms", lambda *given: drawn.update(histograms=given) or "")
    curves.cmc("one", "green", {"fusion, plain": np.array([1, 2, 0, 5])})
    low, high = drawn["limits"]["ylim"]
    assert low == 24 and 100 < high < 103  # the axis names no share above 100 %
    places, values = drawn["lines"][3]["fusion, plain"]
    assert places == list(range(1, curves.RANKS + 1))
    assert values == [25, 50, 50, 50] + [75] * (curves.RANKS - 4)  # one of four is never found
    told = {"top": 4, "same": [0, 3, 1, 0], "different": [0, 0, 1, 1]}
    curves.distances("two", "green", "plain", told, {"0.01": 2.5})
    edges, heights, marks = drawn["histograms"][3:]
    assert edges == [1, 2, 3, 4]  # the first bin holds no pair
    assert heights == {"one person": [75, 25, 0], "two persons": [0, 50, 50]}
    assert marks == {"FPR 1 %": 2.5}


def drawn(source: str) -> Any:
    """The picture of a data: address."""
    content = base64.b64decode(source.partition(",")[2])
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def test_a_page_shows_the_parts_that_were_searched(tmp_path: Path) -> None:
    """A test of partial bodies beside the whole one, of the same files; one was swapped since."""
    pixels = np.zeros((60, 30, 3), np.uint8)
    pixels[40:] = 255
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), pixels)
    digest = files.digest(tmp_path / "a.png")
    whole = ImageList(("a.png", "b.png", "c.png"), ("", "", ""), digests=(digest, digest, "0" * 32))
    part = replace(whole, crops=("0 20 0 30", "30 60 0 30", ""))
    order = np.array([[[1, 0, 2]]], np.int32)
    domains = [
        ranked.Domain(name, [("fusion", "plain")], listed.rows([0], MadeBy()), [""], listed, ("",) * 3,
                      order, order.astype(np.float32))
        for name, listed in (("whole", whole), ("half", part))
    ]  # fmt: skip
    shown = lists.shown(domains, tmp_path, 10, 3)
    album = pictures.album(shown.parts, 10**6)
    assert (len(shown.parts), len(album.pictures), album.missing) == (5, 4, 1)
    seen = {
        told["name"]: [drawn(album.pictures[told["keys"][image]]) for image in (0, 1)]
        for told in shown.domains
    }
    assert [one.shape[:2] for one in seen["whole"]] == [(60, 30)] * 2
    assert [one.shape[:2] for one in seen["half"]] == [(20, 30), (30, 30)]
    assert seen["half"][0].max() < 5 and seen["half"][1][15:].min() > 250
    asked = {told["name"]: told["queries"][0]["key"] for told in shown.domains}
    assert asked == {told["name"]: told["keys"][0] for told in shown.domains}


def test_heat_is_of_the_worst_queries_and_of_their_pictures(made: Made, page: str) -> None:
    """What `naic-reid heatmap` shows, in the picture's own shape, so that it lies over it at any width."""
    told = {domain["name"]: domain for domain in embedded(page, "ranked")["domains"]}
    heats, shown = embedded(page, "heats"), embedded(page, "pictures")
    hot = {"green": told["green"]["queries"][:2], "normal": told["normal"]["queries"][:1]}
    expected = [
        key
        for name, queries in hot.items()
        for query in queries
        for key in (query["key"], *(told[name]["keys"][str(hit[0])] for hit in query["found"][-1]))
    ]
    assert list(heats) == list(dict.fromkeys(expected))
    extractor = Extractor.load(made.folder / "a.pt", "cpu", geometry="pad", border="blank")
    for query in hot["green"]:
        (path,) = made.folder.glob(f"test/query/{query['name']}")
        picture = cv2.imread(str(path))[..., ::-1]
        size = (96, round(96 * picture.shape[1] / picture.shape[0]))
        seen = drawn(heats[query["key"]])
        assert seen.shape == (*size, 3) and drawn(shown[query["key"]]).shape == picture.shape
        ours = heat.coloured(heat.heat(extractor, picture), size)[..., ::-1].astype(int)
        assert np.abs(seen.astype(int) - ours).mean() < 6
    assert 'id="heat"' in page
    assert re.search(r"how strongly the model [\w-]+, epoch 7, saw each part", page)
    record = lineage.record(made.folder / "index.html")
    assert record is not None and "a.pt" in [Path(name).name for name, _ in record.inputs]
    assert json.loads(record.settings)["extract"]["geometry"] == "pad"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are not drawn, which takes longest."""
    monkeypatch.setattr(charts, "_finished", lambda *given: "<svg></svg>")


@pytest.mark.usefixtures("undrawn")
def test_heat_that_cannot_be_is_left_out_and_said_so(made: Made) -> None:
    def text(**given: Any) -> str:
        return made.page(name="cold", **given).read_text(encoding="utf-8")

    gone = text(heat=2, checkpoint="gone.pt")
    assert "Where the network looked is not shown" in gone and "gone.pt is not there." in gone
    assert "no checkpoint was given" in text(heat=2, checkpoint="")
    unasked = text()
    for page in (gone, unasked):
        assert embedded(page, "heats") == {} and 'id="heat"' not in page
    record = lineage.record(made.folder / "cold.html")
    assert record is not None and "extract" not in json.loads(record.settings)
    assert "a.pt" not in [Path(name).name for name, _ in record.inputs]
    assert "is not shown" not in unasked
    size = (len(unasked) - len(json.dumps(embedded(unasked, "pictures"))) + 60_000) / 1e6
    small = text(heat=2, megabytes=size)
    left = re.search(r"([0-9]+) heat maps had no room", small)
    assert left and 0 < len(embedded(small, "heats")) < 22 and int(left[1])
    assert len(small.encode()) <= 1e6 * size


@pytest.mark.usefixtures("undrawn")
def test_an_image_that_is_gone_has_no_heat(made: Made) -> None:
    whole = made.page(name="whole", heat=1, queries=1).read_text(encoding="utf-8")
    query = embedded(whole, "ranked")["domains"][0]["queries"][0]
    (path,) = made.folder.glob(f"test/query/{query['name']}")
    kept = path.read_bytes()
    path.unlink()
    text = made.page(name="hole", heat=1, queries=1).read_text(encoding="utf-8")
    path.write_bytes(kept)
    assert "1 images cannot be read any more" in text
    assert len(embedded(text, "heats")) == 10 and query["key"] not in embedded(text, "heats")


def test_queries_are_shared_out_evenly() -> None:
    assert lists._evenly([100, 3, 100], 23) == [10, 3, 10]
    assert lists._evenly([0, 5], 500) == [0, 5]
    assert sum(lists._evenly([7, 9, 11], 10)) == 10


def precision(title: str) -> float:
    found = re.search(r"AP ([0-9.]+)", title)
    assert found
    return float(found[1])


def test_the_filter_changes_what_is_shown(page: str, tmp_path: Path) -> None:
    told = in_the_browser(page, USES_IT, tmp_path, "--window-size=390,900")
    numbers = re.search(r'id="numbers">(.*?)</script>', page, re.DOTALL)
    assert numbers
    pooled = json.loads(numbers[1])["sections"]["pooled"][-1]
    assert told["numbers"] == [f"{100 * pooled[name]:.1f}" for name in ("R1", "mAP", "mINP")]
    assert told["beside"] <= 0  # nothing of the page is beside a narrow screen
    assert told["stops"] > 30 and told["jumps"] == told["ranked_by_hand"] == 0  # Tab goes down the page
    assert told["count"] == "20 of 35 queries shown" and len(told["at_first"]) == 20 and told["more"] == 35
    assert all(one["drawn"] and len(one["alts"]) == 11 and all(one["alts"]) for one in told["at_first"])
    own = [precision(one["title"]) for one in told["at_first"]]
    assert own == sorted(own)
    assert len(told["green"]) == SIZES["green"][0] and all(" green " in one["title"] for one in told["green"])
    assert [one["marks"] for one in told["plain"]] != [one["marks"] for one in told["green"]]
    assert {mark for one in told["plain"] for mark in one["marks"]} == {"frame right", "frame wrong"}
    wrong_first = sum(one["marks"][0] == "frame wrong" for one in told["plain"])
    assert told["failed"] == wrong_first
    best = [precision(one["title"]) for one in told["best"]]
    assert best == sorted(best, reverse=True)
    assert (told["focus"], told["back"]) == (1, 0)
    assert (told["cold"], told["cooled"]) == (0, 0) and told["hot"] >= 11 * HEAT and told["looked"]
    assert told["apart"] < 1.5  # pixels between the edges of a picture and of its heat


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_library_finds_nothing_wrong(page: str, scheme: str, tmp_path: Path) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm install axe-core")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    assert in_the_browser(page, JUDGES_IT % AXE.read_text(encoding="utf-8"), tmp_path, *dark) == []
