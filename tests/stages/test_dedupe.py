"""Dedupe: every listed line ends in the training list or in a table with its reason."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from naic_reid.artifacts import ImageList, MadeBy, read_table
from naic_reid.config import Collect, Dedupe, Holdout, Source, Split
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.stages import collect as collect_stage
from naic_reid.stages import dedupe as stage
from naic_reid.stages import holdout, split, survey
from tests.data.listed import settings
from tests.oracles import lists as oracle

HOME = Path(__file__).parents[2]
SHARED = HOME.parent / "shared"
COLLECT = settings("x", "y", "z")

Row = tuple[str, int, str, str]  # source/name, label, digest, pixels


class Outcome:
    """What a run of the stage wrote."""

    def __init__(self, folder: Path) -> None:
        kept = ImageList.read(folder / "kept.tsv")
        self.kept = dict(zip(kept.paths, kept.identities, strict=True))
        _, rows = read_table(folder / "dropped.tsv", "Dropped", stage.DROPPED_HEADER)
        self.dropped = rows
        self.reasons = {(path, identity): reason for path, identity, _, reason, *_ in rows}
        _, counts = read_table(folder / "counts.tsv", "Counts", stage.COUNTS_HEADER)
        self.counts = {
            row[0]: dict(zip(stage.COUNTS_HEADER[1:], map(int, row[1:]), strict=True)) for row in counts
        }


def _run(
    folder: Path,
    rows: list[Row],
    dedupe: Dedupe | None = None,
    wrong: str = "",
    faults: dict[int, str] | None = None,
) -> Outcome:
    listed = sorted(rows, key=lambda row: "xyz".index(row[0][0]))
    lines: Counter[str] = Counter()
    full = []
    for at, (path, label, digest, pixels) in enumerate(listed):
        source, _, name = path.partition("/")
        lines[source] += 1
        place = f"{source}/images/{name}"
        fault = (faults or {}).get(at, "")
        full.append((place, f"{source}/{label}", lines[source], digest, pixels, fault, "", ""))
    Records.of(full, MadeBy()).write(folder / "images.tsv")
    (folder / "wrong.txt").write_text(wrong)
    stage.run(
        COLLECT,
        dedupe or Dedupe(),
        images=folder / "images.tsv",
        wrong=[folder / "wrong.txt"] if wrong else [],
        kept=folder / "kept.tsv",
        dropped=folder / "dropped.tsv",
        counts=folder / "counts.tsv",
    )
    return Outcome(folder)


def _plain(name: str, label: int, picture: str) -> Row:
    """A row whose file is the plain encoding of a picture."""
    return name, label, f"d{picture}", f"p{picture}"


BASE = [
    _plain("x/a.png", 1, "1"),
    _plain("x/b.png", 1, "2"),
    _plain("x/c.png", 2, "3"),
    _plain("x/d.png", 2, "4"),
]


def test_images_seen_once_all_stay(tmp_path: Path) -> None:
    found = _run(tmp_path, BASE)
    assert found.kept == {
        "x/images/a.png": "x/1", "x/images/b.png": "x/1", "x/images/c.png": "x/2", "x/images/d.png": "x/2",
    }  # fmt: skip
    assert not found.dropped


def test_of_equal_bytes_the_most_trusted_copy_stays_and_is_named(tmp_path: Path) -> None:
    found = _run(tmp_path, [*BASE, _plain("y/e.png", 7, "1"), _plain("z/f.png", 8, "1")])
    assert [row[3:5] for row in found.dropped] == [["same bytes", "x/images/a.png"]] * 2


def test_of_equal_pixels_in_other_bytes_one_stays_unless_switched_off(tmp_path: Path) -> None:
    rows = [*BASE, ("y/e.png", 7, "other", "p1"), _plain("y/f.png", 7, "6"), _plain("y/g.png", 7, "7")]
    assert _run(tmp_path, rows).reasons == {("y/images/e.png", "y/7"): "same pixels"}
    assert not _run(tmp_path, rows, Dedupe(by_pixels=False)).reasons


def test_identities_that_share_an_image_become_one(tmp_path: Path) -> None:
    rows = [*BASE, _plain("y/e.png", 7, "1"), _plain("y/f.png", 7, "6")]
    assert _run(tmp_path, rows).kept["y/images/f.png"] == "x/1"


def test_without_uniting_the_record_is_dropped_and_the_labels_stay_apart(tmp_path: Path) -> None:
    rows = [*BASE, _plain("y/e.png", 7, "1"), _plain("y/f.png", 7, "6"), _plain("y/g.png", 7, "7")]
    found = _run(tmp_path, rows, Dedupe(unite=False))
    assert found.kept["y/images/f.png"] == "y/7"
    assert found.reasons == {("y/images/e.png", "y/7"): "same bytes"}


def test_two_labels_of_one_source_are_united_through_another(tmp_path: Path) -> None:
    rows = [
        *BASE, _plain("y/e.png", 7, "1"), _plain("y/f.png", 7, "5"), _plain("y/g.png", 8, "2"),
        _plain("y/h.png", 8, "6"),
    ]  # fmt: skip
    found = _run(tmp_path, rows)
    assert found.kept["y/images/f.png"] == found.kept["y/images/h.png"] == "x/1"


def test_an_image_under_two_identities_of_one_source_is_dropped_under_both(tmp_path: Path) -> None:
    rows = [*BASE, _plain("x/e.png", 1, "9"), _plain("x/e.png", 2, "9")]
    found = _run(tmp_path, rows)
    assert [row[1:] for row in found.dropped] == [
        ["x/1", "5", "two identities", "", "also x/2"], ["x/2", "6", "two identities", "", "also x/1"],
    ]  # fmt: skip
    assert found.kept["x/images/a.png"] != found.kept["x/images/c.png"]


def test_a_wrong_label_goes_before_it_can_conflict_or_unite(tmp_path: Path) -> None:
    rows = [*BASE, _plain("y/e.png", 7, "1"), _plain("y/f.png", 7, "6"), _plain("y/g.png", 7, "7")]
    dedupe = Dedupe(wrong_label_sources=("y",))
    found = _run(tmp_path, rows, dedupe, wrong="# known\n\n e.png  # shows somebody else\nnone.png\r\n")
    assert found.reasons == {("y/images/e.png", "y/7"): "wrong label"}
    assert found.kept["y/images/f.png"] == "y/7"


def test_wrong_labels_apply_only_to_the_sources_they_occur_in(tmp_path: Path) -> None:
    found = _run(tmp_path, BASE, Dedupe(wrong_label_sources=("y",)), wrong="a.png\n")
    assert not found.dropped


def test_a_repeated_line_is_dropped_once(tmp_path: Path) -> None:
    found = _run(tmp_path, [*BASE, BASE[0]])
    assert [row[3:] for row in found.dropped] == [["repeated line", "x/images/a.png", "line 1"]]
    assert found.kept["x/images/a.png"] == "x/1"


def test_one_folder_listed_by_two_sources_is_one_image_each(tmp_path: Path) -> None:
    collect = Collect(sources=tuple(Source(name=n, list=f"{n}.txt", images="images") for n in "xy"))
    rows = [
        ("images/a.png", "x/1", 1, "d1", "p1", "", "", ""),
        ("images/b.png", "x/1", 2, "d2", "p2", "", "", ""),
        ("images/a.png", "y/5", 1, "d1", "p1", "", "", ""),
        ("images/c.png", "y/5", 2, "d3", "p3", "", "", ""),
    ]
    Records.of(rows, MadeBy()).write(tmp_path / "images.tsv")
    files = {name: tmp_path / f"{name}.tsv" for name in ("kept", "dropped", "counts")}
    stage.run(collect, Dedupe(), images=tmp_path / "images.tsv", wrong=[], **files)
    assert Outcome(tmp_path).kept == dict.fromkeys(("images/a.png", "images/b.png", "images/c.png"), "x/1")


def test_persons_seen_once_go_last(tmp_path: Path) -> None:
    rows = [*BASE, _plain("y/e.png", 7, "1"), _plain("y/f.png", 7, "6"), _plain("y/g.png", 9, "7")]
    found = _run(tmp_path, rows)  # y/7 has one image of its own, but is x/1
    assert found.reasons == {
        ("y/images/e.png", "y/7"): "same bytes",
        ("y/images/g.png", "y/9"): "too few images",
    }
    assert "y/images/f.png" in found.kept


def test_min_images_is_the_smallest_number_that_stays(tmp_path: Path) -> None:
    rows = [*BASE, _plain("x/e.png", 1, "9")]
    assert set(_run(tmp_path, rows, Dedupe(min_images=3)).kept.values()) == {"x/1"}
    assert len(_run(tmp_path, rows, Dedupe(min_images=1)).kept) == 5


def test_unreadable_images_are_dropped_with_what_is_wrong(tmp_path: Path) -> None:
    rows = [*BASE, ("x/e.png", 1, "d9", "")]
    found = _run(tmp_path, rows, faults={4: "is a truncated PNG"})
    assert [row[3:] for row in found.dropped] == [["unreadable", "", "is a truncated PNG"]]


def test_counts_add_up_per_source_and_in_all(tmp_path: Path) -> None:
    rows = [
        *BASE, BASE[0], _plain("y/e.png", 7, "1"), _plain("y/f.png", 7, "6"), _plain("z/g.png", 9, "7"),
        ("z/h.png", 3, "new", "p2"), _plain("z/i.png", 3, "8"), _plain("z/w.png", 3, "9"),
    ]  # fmt: skip
    found = _run(tmp_path, rows, Dedupe(wrong_label_sources=("z",)), wrong="w.png")
    for name, counts in found.counts.items():
        dropped = sum(counts[reason.replace(" ", "_")] for reason in stage.REASONS)
        assert counts["listed"] == dropped + counts["images"], name
    assert found.counts["(all)"]["listed"] == len(rows)
    assert found.counts["(all)"]["images"] == len(found.kept)
    assert found.counts["(all)"]["identities"] == len(set(found.kept.values())) == 2
    assert found.counts["y"] == {
        "listed": 2, "unreadable": 0, "wrong_label": 0, "repeated_line": 0, "two_identities": 0,
        "same_bytes": 1, "same_pixels": 0, "too_few_images": 0, "images": 1, "identities": 1,
    }  # fmt: skip


def test_too_many_identities_in_one_person_are_refused_with_the_chain_of_links(tmp_path: Path) -> None:
    rows = [*BASE]
    for label, source in ((7, "y"), (8, "z")):
        rows += [_plain(f"{source}/e.png", label, "1"), _plain(f"{source}/f.png", label, f"9{label}")]
    assert len(set(_run(tmp_path, rows, Dedupe(max_component=3)).kept.values())) == 2
    with pytest.raises(ReidError) as caught:
        _run(tmp_path, rows, Dedupe(max_component=2))
    message = str(caught.value)
    assert "3 identities would become one person" in message
    assert "x/1 = y/7: x/images/a.png and y/images/e.png" in message
    assert "x/1 = z/8: x/images/a.png and z/images/e.png" in message


def test_the_union_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    _run(tmp_path, [*BASE, _plain("y/e.png", 7, "1"), _plain("z/f.png", 8, "3")])
    assert "4 identities are 2 persons (1 in x + y, 1 in x + z); the largest is x/1: x/1, y/7" in caplog.text


def test_pixels_that_were_not_decoded_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"collect\.decode"):
        _run(tmp_path, [("x/a.png", 1, "d1", ""), ("x/b.png", 1, "d2", "")])


def test_a_list_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match="no image is left"):
        _run(tmp_path, [_plain("x/a.png", 1, "1")])


def test_wrong_labels_that_are_no_text_are_refused(tmp_path: Path) -> None:
    Records.of([], MadeBy()).write(tmp_path / "images.tsv")
    (tmp_path / "wrong.txt").write_bytes(b"\xff\xfe\0")
    files = {name: tmp_path / f"{name}.tsv" for name in ("kept", "dropped", "counts")}
    with pytest.raises(ReidError, match=r"wrong\.txt: cannot be read"):
        stage.run(COLLECT, Dedupe(), images=tmp_path / "images.tsv", wrong=[tmp_path / "wrong.txt"], **files)


def test_the_known_wrong_labels_are_the_published_three() -> None:
    text = (HOME / "data_lists" / "wrong_labels.txt").read_text()
    names = [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]
    assert names == ["train/105180993.png", "train/829283568.png", "train/943445997.png"]


pictures = st.lists(
    st.tuples(st.sampled_from("xyz"), st.integers(0, 3), st.integers(0, 6), st.booleans()), max_size=14
)


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=pictures, wrong=st.sets(st.integers(0, 6), max_size=1), min_images=st.integers(1, 2))
@example(
    drawn=[
        ("x", 0, 0, False),
        ("x", 1, 2, False),
        ("y", 0, 1, False),
        ("y", 0, 2, False),
        ("x", 0, 1, False),
    ],
    wrong=set(),
    min_images=1,
)
def test_what_is_kept_is_what_the_obvious_walk_keeps(
    drawn: list[tuple[str, int, int, bool]], wrong: set[int], min_images: int, tmp_path: Path
) -> None:
    # One file name for each picture and encoding within a source, so that lines repeat and conflict.
    rows: list[Row] = [
        (f"{source}/{picture}{'r' if again else ''}.png", label, f"d{picture}{again}", f"p{picture}")
        for source, label, picture, again in drawn
    ]
    listed = sorted(rows, key=lambda row: "xyz".index(row[0][0]))
    wrong_paths = {f"{source}/images/{picture}.png" for source in "xyz" for picture in wrong}
    expected = oracle.kept(
        [(p.replace("/", "/images/"), f"{p[0]}/{label}", pixels) for p, label, _, pixels in listed],
        wrong_paths,
        min_images,
    )
    dedupe = Dedupe(wrong_label_sources=("x", "y", "z"), min_images=min_images)
    text = "".join(f"{picture}.png\n" for picture in wrong)
    if not expected:
        with pytest.raises(ReidError, match="no image is left"):
            _run(tmp_path, rows, dedupe, wrong=text)
        return
    found = _run(tmp_path, rows, dedupe, wrong=text)
    assert found.kept == expected
    assert len(found.kept) + len(found.dropped) == len(rows)


@pytest.mark.real
def test_the_real_set_walks_to_its_lists_and_every_trap_is_handled(tmp_path: Path) -> None:
    data = SHARED / "naic_real" / "MyDataSet"
    if not data.is_dir():
        pytest.skip(f"{data} is not here: the real photographs stand beside the checkout")
    sources = tuple(
        Source(
            name=name,
            list=f"train_{name}/train_list.txt",
            images=f"train_{name}/images" if name.startswith("2020") else f"train_{name}",
        )
        for name in ("2020_fs", "2020_cs", "2019_fs", "2019_cs")
    )
    collect = Collect(sources=sources)
    out = tmp_path
    lists, images = out / "train.tsv", out / "images.tsv"
    test = [out / "test.tsv"]
    survey.run(collect, Split(), {}, data=data, train=lists, test=test, sources=[], sets=[])
    collect_stage.run(collect, data=data, lists=lists, sources=[], images=images, workers=2)
    dedupe = Dedupe(wrong_label_sources=("2019_fs", "2019_cs"))
    stage.run(
        collect, dedupe, images=out / "images.tsv", wrong=[HOME / "data_lists" / "wrong_labels.txt"],
        kept=out / "kept.tsv", dropped=out / "dropped.tsv", counts=out / "counts.tsv",
    )  # fmt: skip
    found = Outcome(out)

    reasons = Counter(reason for _, _, _, reason, *_ in found.dropped)
    assert reasons == {
        "same bytes": 42, "same pixels": 18, "wrong label": 3, "repeated line": 1, "too few images": 1,
    }  # fmt: skip
    by_source = {
        name: (counts["listed"], counts["images"], counts["identities"])
        for name, counts in found.counts.items()
    }
    assert by_source == {
        "2020_fs": (360, 360, 24), "2020_cs": (202, 152, 14), "2019_fs": (131, 128, 8),
        "2019_cs": (140, 128, 8), "(all)": (833, 768, 48),
    }  # fmt: skip
    wrong = {
        path.rpartition("/")[2] for (path, _), reason in found.reasons.items() if reason == "wrong label"
    }
    assert wrong == {"105180993.png", "829283568.png", "943445997.png"}
    assert found.reasons["train_2020_cs/images/56038516.png", "2020_cs/9999"] == "too few images"
    assert found.reasons["train_2020_cs/images/85259224.png", "2020_cs/0"] == "repeated line"
    # Every copy points at an image that stayed, of the more trusted source.
    copies = [row for row in found.dropped if row[3].startswith("same ")]
    assert all(
        row[4] in found.kept and row[4].startswith(("train_2020_fs", "train_2019_fs")) for row in copies
    )
    # Persons of two labels are one: no label of the less trusted source is left of them.
    left = set(found.kept.values())
    assert not left & {f"2020_cs/{label}" for label in range(5000, 5006)}
    assert not left & {"2019_cs/700", "2019_cs/701"}
    # Carriage returns and a missing last newline made nobody another person.
    assert not any("\r" in identity for identity in left)

    lists = {name: out / f"{name}.tsv" for name in ("train_list", "query", "gallery")}
    holdout.run(
        1, Holdout(share=0.1), images=out / "kept.tsv",
        train=lists["train_list"], query=lists["query"], gallery=lists["gallery"],
    )  # fmt: skip
    parts = [ImageList.read(path) for path in lists.values()]
    assert sorted(path for part in parts for path in part.paths) == sorted(found.kept)
    assert len(parts[1]) == 5
    domains = {
        role: [out / f"{role}_{domain}.tsv" for domain in ("green", "normal")]
        for role in ("query", "gallery")
    }
    split.run(Split(), data=data, test=out / "test.tsv", means=out / "means.tsv", **domains)
    sizes = {path.stem: len(ImageList.read(path)) for paths in domains.values() for path in paths}
    assert sizes == {"query_green": 13, "query_normal": 15, "gallery_green": 94, "gallery_normal": 101}


MARKET = Source(name="m", layout="market1501", folder="m")


def _with_benchmark(folder: Path, dedupe: Dedupe, *more: tuple[str, str]) -> ImageList:
    """A label list x whose first image the benchmark m repeats, which itself holds one image twice."""
    rows = [
        ("x/a.png", "x/1", 1, "d1", "p1", "", "", ""),
        ("x/b.png", "x/1", 2, "d2", "p2", "", "", ""),
        ("x/c.png", "x/1", 3, "d2", "p2", "", "", ""),
        ("m/a.png", "m/1", 1, "d1", "p1", "", "m/1", ""),
        ("m/b.png", "m/1", 2, "d3", "p3", "", "m/2", ""),
        ("m/c.png", "m/1", 3, "d3", "p3", "", "m/1", ""),
        ("m/d.png", "m/2", 4, "d4", "p4", "", "m/1", ""),
        *((path, identity, 9, "d9", "p9", "", "", "") for path, identity in more),
    ]
    Records.of(rows, MadeBy()).write(folder / "images.tsv")
    collect = Collect(sources=(settings("x").sources[0], MARKET, MARKET.model_copy(update={"name": "n"})))
    files = {name: folder / f"{name}.tsv" for name in ("kept", "dropped", "counts")}
    stage.run(collect, dedupe, images=folder / "images.tsv", wrong=[], **files)
    return ImageList.read(files["kept"])


def test_a_benchmark_keeps_its_repeats_and_persons_seen_once_and_its_cameras(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        kept = _with_benchmark(tmp_path, Dedupe())
    assert kept.paths == ("m/a.png", "m/b.png", "m/c.png", "m/d.png", "x/a.png", "x/b.png")
    assert kept.cameras == ("m/1", "m/2", "m/1", "m/1", "", "")
    assert set(kept.identities) == {"m/1", "m/2", "x/1"}
    assert "dedupe: off for m, n: published protocols have their repeats" in caplog.text


def test_a_benchmark_is_deduplicated_when_asked_for(tmp_path: Path) -> None:
    kept = _with_benchmark(tmp_path, Dedupe(benchmarks=True))
    assert kept.paths == ("m/b.png", "x/a.png", "x/b.png")
    assert set(kept.identities) == {"x/1"}  # who shares an image is one person


def test_two_benchmarks_that_share_an_image_are_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"two sources name the same images.*\n +m/a\.png"):
        _with_benchmark(tmp_path, Dedupe(), ("m/a.png", "n/1"))
