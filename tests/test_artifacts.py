"""Every artefact survives its own file, and a file that differs in any way is refused by name."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from naic_reid.artifacts import (
    DISTRACTOR,
    JUNK,
    Features,
    ImageList,
    JaccardRows,
    MadeBy,
    Neighbours,
    Ranking,
    read_json,
    record,
    streamed_features,
    write_json,
)
from naic_reid.errors import ReidError
from tests import reading

MADE_BY = MadeBy("rerank", 3, "0.1", '{"k1":30}', (("results/a.npz", "00ff"),))


def features() -> Features:
    values = np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Features(tuple(f"{i}.png" for i in range(40)), values, MADE_BY)


def image_list() -> ImageList:
    return ImageList(("a/1.png", "a/2 ü.png", "b/1.png"), ("s/1", "", "s/2"), MADE_BY)


def neighbours() -> Neighbours:
    rows = np.array([[0, 1], [1, 0], [2, 1]], np.int32)
    distances = np.array([[0, 0.5], [0, 0.5], [0, 1]], np.float32)
    return Neighbours(rows, distances, np.array([1.5, 1, 1], np.float32), 1, MADE_BY)


def jaccard() -> JaccardRows:
    similarity = sp.csr_array(np.array([[0, 0.5, 1], [0, 0, 0]], np.float32))
    return JaccardRows(similarity, np.array([2, 3], np.float32), MADE_BY)


def ranking() -> Ranking:
    indices = np.array([[2, 0], [1, 2]], np.int32)
    distances = np.array([[0.1, 0.2], [0.1, 0.1]], np.float32)
    return Ranking(("q1", "q2"), ("g1", "g2", "g3"), indices, distances, MADE_BY)


ALL: list[Callable[[], Any]] = [features, image_list, neighbours, jaccard, ranking]
every = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


def arrays(value: Any) -> dict[str, Any]:
    found = {}
    for name, content in vars(value).items():
        found[name] = content.toarray().tolist() if sp.issparse(content) else np.asarray(content).tolist()
        if isinstance(content, MadeBy):
            found[name] = content
    return found


@every
def test_what_is_written_is_read_back_with_its_record(make: Callable[[], Any], tmp_path: Path) -> None:
    value = make()
    value.write(tmp_path / "x")
    assert arrays(type(value).read(tmp_path / "x")) == arrays(value)


@every
def test_equal_values_give_equal_bytes(make: Callable[[], Any], tmp_path: Path) -> None:
    make().write(tmp_path / "x")
    make().write(tmp_path / "y")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@every
def test_a_truncated_file_is_refused_by_name(make: Callable[[], Any], tmp_path: Path) -> None:
    path = tmp_path / "x"
    make().write(path)
    whole = path.read_bytes()
    for length in {0, 1, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(ReidError, match=f"{path}: .*run again"):
            type(make()).read(path)


@every
def test_a_flipped_bit_in_the_content_is_refused_or_harmless(make: Callable[[], Any], tmp_path: Path) -> None:
    path = tmp_path / "x"
    value = make()
    value.write(path)
    whole = path.read_bytes()
    for place in np.random.default_rng(1).integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        path.write_bytes(damaged)
        try:
            read = type(value).read(path)
        except ReidError as error:
            assert str(path) in str(error)  # noqa: PT017 (either way is right, but for a wrong value)
        else:
            assert arrays(read) == arrays(value)  # a zip's dates and attributes carry no meaning


@every
def test_a_file_of_another_type_is_refused(make: Callable[[], Any], tmp_path: Path) -> None:
    make().write(tmp_path / "x")
    for other in ALL:
        if other is not make:
            with pytest.raises(ReidError, match="not a whole"):
                type(other()).read(tmp_path / "x")


@every
def test_a_missing_file_is_named(make: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"nowhere: cannot be read"):
        type(make()).read(tmp_path / "nowhere")


def test_a_pickle_in_an_npz_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", type="Ranking", queries=np.array([print], dtype=object))
    with pytest.raises(ReidError, match="not a whole Ranking"):
        Ranking.read(tmp_path / "x.npz")


def test_features_are_mapped_from_the_file_and_not_held(tmp_path: Path) -> None:
    features().write(tmp_path / "x")
    assert isinstance(Features.read(tmp_path / "x").values, np.memmap)


def test_features_written_in_blocks_equal_those_written_at_once(tmp_path: Path) -> None:
    value = features()
    value.write(tmp_path / "x")
    with streamed_features(tmp_path / "y", value.names, 7, MADE_BY) as append:
        for start in range(0, 40, 9):
            append(value.values[start : start + 9])
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_features_of_no_image_are_a_file_too(tmp_path: Path) -> None:
    Features((), np.zeros((0, 7), np.float32)).write(tmp_path / "x")
    assert Features.read(tmp_path / "x").values.shape == (0, 7)


def test_features_made_by_other_means_are_checked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name, content in {
            "type": np.array("Features"),
            "made_by": np.array(MADE_BY.to_json()),
            "names": np.array(["a", "b"]),
            "values": np.array([[1, 0], [1, 1]], np.float32),
        }.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, content)
    with pytest.raises(ReidError, match="the row of b is not"):
        Features.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        (("b", "a"), "sorted"),
        (("a", "a"), "unique"),
        (("../a",), "plain relative"),
        (("/a",), "plain relative"),
        (("a\tb",), "plain relative"),
        (("a//b",), "plain relative"),
        (("",), "plain relative"),
    ],
)
def test_an_image_list_refuses_paths_that_could_lead_astray(paths: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ImageList(paths, ("",) * len(paths))


def test_values_that_break_a_promise_are_refused() -> None:
    good = neighbours()
    with pytest.raises(ValueError, match="begin with themselves"):
        Neighbours(good.rows[:, ::-1].copy(), good.distances, good.farthest, 1)
    with pytest.raises(ValueError, match="never decrease"):
        Neighbours(good.rows, good.distances[:, ::-1].copy(), good.farthest, 1)
    with pytest.raises(ValueError, match="no image twice"):
        Ranking(("q",), ("g", "h"), np.array([[1, 1]], np.int32), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        JaccardRows(sp.csr_array(np.array([[2]], np.float32)), np.ones(1, np.float32))
    with pytest.raises(ValueError, match=r"the row of 0\.png is not"):
        Features(("0.png",), np.array([[np.nan, 1]], np.float32))


def test_json_is_read_back_with_its_record_and_refused_when_a_value_differs(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, "Scores", MADE_BY, {"hits": [0.1, 1e-9, 3], "name": "ü"})
    assert read_json(path, "Scores") == (MADE_BY, {"hits": [0.1, 1e-9, 3], "name": "ü"})
    for damage in [("0.1", "0.2"), ("ü", "u"), ("rerank", "Rerank"), ("Scores", "Card"), ('"type"', '"t"')]:
        other = tmp_path / "other.json"
        other.write_text(path.read_text().replace(*damage))
        with pytest.raises(ReidError, match="not a whole Scores"):
            read_json(other, "Scores")


def test_the_record_of_any_artefact_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    for make, suffix in [(features, ".npz"), (image_list, ".tsv"), (ranking, ".npz")]:
        make().write(tmp_path / f"x{suffix}")
        assert record(tmp_path / f"x{suffix}") == MADE_BY
    (tmp_path / "list.txt").write_text("1.png:3\n")
    assert record(tmp_path / "list.txt") is None


def test_a_list_without_cameras_keeps_the_two_columns_it_always_had(tmp_path: Path) -> None:
    path = tmp_path / "images.tsv"
    ImageList(("a.png", "b.png"), ("s/1", "")).write(path)
    assert path.read_text().splitlines()[1:] == ["path\tidentity", "a.png\ts/1", "b.png\t"]
    read = ImageList.read(path)
    assert read.cameras == read.marks == read.groups == ("", "")


@pytest.mark.parametrize("columns", [("cameras",), ("marks",), ("groups",), ("cameras", "marks", "groups")])
def test_cameras_marks_and_groups_are_written_where_there_are_some(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    known = {"cameras": ("m/1", ""), "marks": (DISTRACTOR, JUNK), "groups": ("", "5")}
    images = ImageList(("a.png", "b.png"), ("m/0000", "m/-1"), **{name: known[name] for name in columns})
    images.write(tmp_path / "images.tsv")
    header = (tmp_path / "images.tsv").read_text().splitlines()[1]
    assert header.split("\t") == ["path", "identity", *(name.removesuffix("s") for name in columns)]
    assert ImageList.read(tmp_path / "images.tsv") == images


@pytest.mark.parametrize(
    "columns", [{"cameras": ("m/1",)}, {"marks": ("", "trash")}, {"groups": ("1\t", "2")}]
)
def test_columns_of_another_length_and_unknown_marks_are_refused(columns: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match="must have"):
        ImageList(("a.png", "b.png"), ("m/1", "m/2"), **columns)


@pytest.mark.parametrize("kind", [Features, ImageList])
def test_a_large_artefact_is_read_once_record_and_all(
    tmp_path: Path, kind: type[Features | ImageList]
) -> None:
    names = tuple(f"{number:06}.png" for number in range(20_000))
    path = tmp_path / ("a.npz" if kind is Features else "a.tsv")
    values = np.ones((20_000, 1), np.float32)
    (Features(names, values) if kind is Features else ImageList(names, names)).write(path)
    with reading.counted() as seen:
        record(path)
        kind.read(path)
    assert path.stat().st_size <= seen.files[path.resolve()] < path.stat().st_size + 2 * reading.AHEAD
