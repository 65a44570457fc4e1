"""Layouts: what each reads of a drawn miniature data set, and what it refuses."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from naic_reid.artifacts import MadeBy
from naic_reid.data import layouts
from naic_reid.data.labelled import Labelled
from naic_reid.data.layouts import LAYOUTS, Options, Row
from naic_reid.data.worlds import WORLDS, Shot, World, drawn
from naic_reid.errors import ReidError
from tests.data import datasets_table

REAL = Path(__file__).parents[3] / "shared" / "market_real"

# Identities, images and cameras of each role, counted by hand from what worlds.py draws: 6 persons to train
# on, 4 to test, 3 cameras, 2 training, 1 query and 2 gallery images for each person and camera.
TRAIN, QUERY, GALLERY = (6, 36, 3), (4, 12, 3), (4, 24, 3)
COUNTS = {
    ("naic", ""): {"train": (6, 36, 0), "query": (0, 12, 0), "gallery": (0, 24, 0)},
    ("market1501", ""): {
        "train": TRAIN, "query": QUERY, "gallery": (4 + 1, 24 + 6, 3), "multi_query": (4, 36, 3),
    },
    ("market1501", "500k"): {
        "train": TRAIN, "query": QUERY, "gallery": (4 + 1, 24 + 6 + 5, 3), "multi_query": (4, 36, 3),
    },
    ("dukemtmc", ""): {"train": TRAIN, "query": QUERY, "gallery": (4 + 1, 24 + 6, 3)},
    ("occluded_duke", ""): {"train": TRAIN, "query": QUERY, "gallery": (4 + 1, 24 + 6, 3)},
    ("msmt17", ""): {"train": (6, 30, 3), "val": (6, 6, 1), "query": QUERY, "gallery": GALLERY},
    ("msmt17", "trainval"): {"train": TRAIN, "query": QUERY, "gallery": GALLERY},
    ("cuhk03_np", "labeled"): {"train": (6, 24, 2), "query": (4, 8, 2), "gallery": (4, 16, 2)},
    ("cuhk03_np", "detected"): {"train": (6, 24, 2), "query": (4, 8, 2), "gallery": (4, 16, 2)},
    ("veri776", ""): {"train": TRAIN, "query": QUERY, "gallery": GALLERY},
    ("vehicleid", "small"): {"train": (6, 36, 0), "query": (2, 18, 0), "gallery": (2, 18, 0)},
    ("vehicleid", "medium"): {"train": (6, 36, 0), "query": (3, 27, 0), "gallery": (3, 27, 0)},
    ("vehicleid", "large"): {"train": (6, 36, 0), "query": (4, 36, 0), "gallery": (4, 36, 0)},
    ("veriwild", "small"): {"train": TRAIN, "query": (2, 2, 1), "gallery": (2, 12, 3)},
    ("veriwild", "medium"): {"train": TRAIN, "query": (3, 3, 1), "gallery": (3, 18, 3)},
    ("veriwild", "large"): {"train": TRAIN, "query": (4, 4, 1), "gallery": GALLERY},
    ("partial_reid", ""): {"query": (4, 12, 1), "gallery": (4, 12, 1)},
    ("partial_ilids", ""): {"query": (4, 4, 1), "gallery": (4, 4, 1)},
    ("occluded_reid", ""): {"query": (4, 12, 1), "gallery": (4, 12, 1)},
    ("folders", ""): {"train": TRAIN, "query": QUERY, "gallery": (4 + 1, 24 + 6, 3)},
    ("folders", "trainval"): {"train": TRAIN, "query": QUERY, "gallery": (4 + 1, 24 + 6, 3)},
    ("table", ""): {"train": TRAIN, "query": QUERY, "gallery": (4 + 3, 24 + 6, 3)},
}  # fmt: skip


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The drawn world of a layout; drawn once, and left as it is."""
    home = tmp_path_factory.mktemp("worlds")

    def world(layout: str) -> Path:
        if not (home / layout).exists():
            drawn(layout, home / layout)
        return home / layout

    return world


def _files(folder: Path, *paths: str) -> Path:
    """Empty files."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_every_layout_has_a_drawn_world_and_is_counted_here() -> None:
    assert LAYOUTS.keys() == WORLDS.keys()
    assert COUNTS.keys() == {(name, variant) for name, one in LAYOUTS.items() for variant in one.variants}


@pytest.mark.parametrize(("name", "variant"), COUNTS)
def test_a_layout_finds_what_was_drawn(name: str, variant: str, worlds: Callable[[str], Path]) -> None:
    found = layouts.read(worlds(name), name, (), Options(variant=variant))
    assert layouts.counted(found.rows) == COUNTS[name, variant]
    assert all((worlds(name) / row.path).is_file() for row in found.rows)
    assert found.rows == tuple(sorted(found.rows, key=lambda row: (layouts.ROLES.index(row.role), row.path)))


def test_the_second_release_of_msmt17_is_read_alike(tmp_path: Path) -> None:
    drawn("msmt17", tmp_path, variant="v2")
    assert layouts.counted(layouts.look(tmp_path, "msmt17").rows) == COUNTS["msmt17", ""]
    assert layouts.look(tmp_path, "msmt17").rows[0].path.startswith("MSMT17_V2/mask_train_v2/0000/")


def test_a_data_set_without_its_outer_folder_is_read_alike(worlds: Callable[[str], Path]) -> None:
    inner = worlds("market1501") / "Market-1501-v15.09.15"
    assert layouts.counted(layouts.look(inner, "market1501").rows) == COUNTS["market1501", ""]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("market1501", Row("Market-1501-v15.09.15/query/0001_c2s1_001076_00.jpg", "query", "0001", "2")),
        ("dukemtmc", Row("DukeMTMC-reID/query/0001_c2_f0046219.jpg", "query", "0001", "2")),
        ("msmt17", Row("MSMT17_V1/test/0000/0000_020_02_0303morning_0020_0.jpg", "query", "0", "2")),
        ("cuhk03_np", Row("cuhk03-np/labeled/query/0001_c2_37.png", "query", "0001", "2")),
        ("veri776", Row("VeRi/image_query/0001_c012_00016487_0.jpg", "query", "0001", "12")),
        ("vehicleid", Row("VehicleID/image/0000174.jpg", "query", "1")),
        ("veriwild", Row("VERI-Wild/images/00001/000037.jpg", "query", "00001", "21")),
        ("partial_reid", Row("Partial_REID/whole_body_images/001_2.jpg", "gallery", "001", "1", "2")),
        ("partial_ilids", Row("Partial_iLIDS/Probe/001.jpg", "query", "001", "0")),
        (
            "occluded_reid",
            Row("Occluded_REID/occluded_body_images/001/001_02.tif", "query", "001", "0", "2"),
        ),
        ("folders", Row("query/0001/0001_c2_0000.png", "query", "0001", "2")),
        ("table", Row("images/0037.webp", "query", "1", "hall 2")),
        ("naic", Row("train_2020_fs/images/00000010.png", "train", "train_2020_fs/2")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_or_line_tells_person_camera_and_group(
    name: str, row: Row, worlds: Callable[[str], Path]
) -> None:
    assert row in layouts.look(worlds(name), name).rows


@pytest.mark.parametrize("name", ["market1501", "folders", "table"])
def test_junk_and_distractors_are_marked_in_the_gallery(name: str, worlds: Callable[[str], Path]) -> None:
    marks = [row.mark for row in layouts.look(worlds(name), name).of("gallery")]
    assert (marks.count("junk"), marks.count("distractor"), marks.count("")) == (8, 6, 24)


def test_marks_can_be_switched_off(worlds: Callable[[str], Path]) -> None:
    rows = layouts.look(worlds("folders"), "folders", Options(special=False)).rows
    assert {row.mark for row in rows} == {""}
    assert {"-1", "0000"} < {row.identity for row in rows}


def test_the_500k_distractors_are_nobody_whatever_their_names(worlds: Callable[[str], Path]) -> None:
    rows = layouts.look(worlds("market1501"), "market1501", Options("500k")).rows
    more = [row for row in rows if "/images/" in row.path]
    assert [(row.role, row.identity, row.camera, row.mark) for row in more] == [
        ("gallery", "0000", "", "distractor")
    ] * 5


NAMED = [name for name in LAYOUTS if name not in ("folders", "table", "naic")]


@pytest.mark.parametrize(("name", "other"), [pair for pair in product(NAMED, LAYOUTS) if len(set(pair)) == 2])
def test_a_layout_refuses_every_other_world(name: str, other: str, worlds: Callable[[str], Path]) -> None:
    with pytest.raises(ReidError) as caught:
        layouts.look(worlds(other), name)
    there = sorted(path.name for path in worlds(other).iterdir())
    assert f"not a folder of the layout {name}: " in str(caught.value)
    assert f"expected {LAYOUTS[name].expects}; found {there[0]}" in str(caught.value)


def test_a_duke_folder_is_no_market_folder_though_its_folders_are_called_alike(
    worlds: Callable[[str], Path],
) -> None:
    with pytest.raises(ReidError, match=r"nothing in it fits, first of 78 problems: .*its name does not fit"):
        layouts.look(worlds("dukemtmc") / "DukeMTMC-reID", "market1501")


def test_a_missing_folder_an_unknown_variant_and_a_missing_role_are_named(
    worlds: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ReidError, match=r"nowhere: no such folder; the layout market1501 expects"):
        layouts.look(tmp_path / "nowhere", "market1501")
    with pytest.raises(ReidError, match=r"vehicleid has no variant 'huge'; it has: small, medium, large"):
        layouts.look(worlds("vehicleid"), "vehicleid", Options("huge"))
    with pytest.raises(ReidError, match=r"no images for train; expected the folders Probe and Gallery"):
        layouts.read(worlds("partial_ilids"), "partial_ilids", ("train", "query"))


GOOD = {
    "market1501": ("query/0001_c1s1_000001_00.jpg", "bounding_box_test/0001_c2s1_000001_00.jpg"),
    "msmt17": ("train/0000/0000_000_01_0303morning_0001_0.jpg",),
    "vehicleid": ("image/0000001.jpg", "image/0000002.jpg"),
    "veriwild": ("images/00001/000001.jpg",),
    "table": ("a.png", "b.png"),
}


@pytest.mark.parametrize(
    ("name", "files", "place", "reason"),
    [
        ("market1501", {"query/0001.jpg": ""}, "query/0001.jpg", "name does not fit the layout, as 0002_"),
        (
            "market1501",
            {"query/0001_cXs1_000001_00.jpg": ""},
            "query/0001_cXs1_000001_00.jpg",
            "its name does not fit the layout",
        ),
        (
            "msmt17",
            {
                "list_train.txt": "0000/0000_000_01_0303morning_0001_0.jpg 0\n"
                "0000/0000_000_xx_0303morning_0001_0.jpg 0\n"
            },
            "list_train.txt:2",
            "the camera 'xx' is no number",
        ),
        (
            "msmt17",
            {"list_train.txt": "0000/0000_000_01_0303morning_0001_0.jpg 0\n\nnonsense\n"},
            "list_train.txt:3",
            "is no line of MSMT17, as 0000/0000_045_12",
        ),
        (
            "vehicleid",
            {"train_test_split/train_list.txt": "0000001 7\n0000003 7\n"},
            "train_test_split/train_list.txt:2",
            "no such image: image/0000003",
        ),
        (
            "vehicleid",
            {"train_test_split/train_list.txt": "0000001 7\n0000002 7\n", "image/0000002.png": ""},
            "train_test_split/train_list.txt:2",
            "names 2 files, image/0000002.jpg and image/0000002.png",
        ),
        (
            "vehicleid",
            {"train_test_split/train_list.txt": "0000001 7\n../../secret 7\n"},
            "train_test_split/train_list.txt:2",
            "leaves the",
        ),
        (
            "veriwild",
            {
                "train_test_split/train_list.txt": "00001/000001\n",
                "train_test_split/vehicle_info.txt": "id/image;Camera ID\n00001/000001;x\n",
            },
            "train_test_split/vehicle_info.txt:2",
            "the camera is no number",
        ),
        (
            "veriwild",
            {
                "train_test_split/train_list.txt": "00001/000001\n",
                "train_test_split/vehicle_info.txt": "id/image;Camera ID\n",
            },
            "train_test_split/train_list.txt:1",
            "vehicle_info.txt has no camera for 00001/000001",
        ),
        (
            "table",
            {"t.csv": "path,identity,role\na.png,1,query\nb.png,1,\n"},
            "t.csv:3",
            "its role is missing or unknown ('')",
        ),
        ("table", {"t.csv": "path,identity,role\na.png,,query\n"}, "t.csv:2", "identity is missing"),
        ("table", {"t.csv": "path,identity,role\na.png,1,query\nb.png,1\n"}, "t.csv:3", "the 3 columns"),
        ("table", {"t.csv": "path,person\na.png,1\n"}, "t.csv:1", "has no column identity, role"),
        ("table", {"t.csv": "path,identity,role\n" + "x" * 200_000}, "t.csv:2", "is no CSV table"),
        (
            "table",
            {"t.csv": "path,identity,role\na.png,1,query\na.png,2,query\n"},
            "a.png",
            "is listed twice as query",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_with_file_and_line(
    name: str, files: dict[str, str], place: str, reason: str, tmp_path: Path
) -> None:
    folder = _files(tmp_path / "data", *GOOD[name])
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    with pytest.raises(ReidError) as caught:
        layouts.read(folder, name, ())
    mine = [line for line in str(caught.value).splitlines() if f"{folder / place}: " in line]
    assert len(mine) == 1, str(caught.value)
    assert reason in mine[0]


def test_no_link_is_followed_out_of_the_folder(tmp_path: Path) -> None:
    outside = _files(tmp_path / "outside", "0003_c1s1_000001_00.jpg", "more/0004_c1s1_000001_00.jpg")
    inside = _files(tmp_path / "data", *GOOD["market1501"])
    (inside / "query/0003_c1s1_000001_00.jpg").symlink_to(outside / "0003_c1s1_000001_00.jpg")
    (inside / "bounding_box_train").symlink_to(outside / "more")
    (inside / "query/0009_c1s1_000001_00.jpg").symlink_to(inside / "query/0001_c1s1_000001_00.jpg")
    found = layouts.look(inside, "market1501")
    assert [row.path for row in found.of("query")] == [GOOD["market1501"][0], "query/0009_c1s1_000001_00.jpg"]
    assert not found.of("train")
    assert sorted(problem.removeprefix(f"{inside}/") for problem in found.problems) == [
        "bounding_box_train: a symbolic link that leaves the folder: put there what it leads to",
        "query/0003_c1s1_000001_00.jpg: a symbolic link that leaves the folder",
    ]


def test_a_list_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = _files(tmp_path / "data", *GOOD["vehicleid"], "train_test_split/x")
    (tmp_path / "list.txt").write_text("0000001 7\n")
    (folder / "train_test_split/train_list.txt").symlink_to(tmp_path / "list.txt")
    with pytest.raises(ReidError, match=r"train_list.txt: a symbolic link that leaves the folder"):
        layouts.read(folder, "vehicleid", ())


def test_junk_stands_in_no_list_of_images() -> None:
    rows = Row("a.png", "gallery", "m/7"), Row("b.png", "gallery", "m/-1", mark="junk")
    found = Labelled(rows, (1, 1)).image_list("gallery", MadeBy(), {"a.png": "", "b.png": ""})
    assert found.paths == ("a.png",)


def test_a_camera_of_a_table_is_one_with_zeros_and_without(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "t.csv").write_text(
        "path,identity,role,camera,group\na.png,7,query,01,02\nb.png,7,gallery,1,2\n"
    )
    found = layouts.look(tmp_path, "table").rows
    assert [(row.camera, row.group) for row in found] == [("1", "2")] * 2


def test_folders_of_identities_alone_are_for_training_and_may_be_nested(tmp_path: Path) -> None:
    folder = _files(tmp_path, "anna/c3/a.JPG", "anna/x_c12_1.png", "bert/b.bmp", "empty/note.txt")
    found = layouts.look(folder, "folders")
    assert [(row.path, row.role, row.identity, row.camera) for row in found.rows] == [
        ("anna/c3/a.JPG", "train", "anna", ""),
        ("anna/x_c12_1.png", "train", "anna", "12"),
        ("bert/b.bmp", "train", "bert", ""),
    ]
    assert len(found.remarks) == 3  # an empty identity, names with and without a camera, a file passed over


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "partial_reid",
            {
                "x2019_1/Partial_REID/partial_body_images/007_3.jpg": ("query", "007", "0", "3"),
                "x2019_1/Partial_REID/whole_body_images/007_5.jpg": ("gallery", "007", "1", "5"),
            },
        ),
        ("partial_reid", {"query/012_1.jpg": ("query", "012", "0", "1"),
                          "gallery/012_2.jpg": ("gallery", "012", "1", "2")}),
        ("partial_ilids", {"PartialiLIDS/query/119_1.jpg": ("query", "119", "0", ""),
                           "PartialiLIDS/gallery/119_2.jpg": ("gallery", "119", "1", "")}),
        ("partial_ilids", {"partial_body_images/001.jpg": ("query", "001", "0", ""),
                           "whole_body_images/001.jpg": ("gallery", "001", "1", "")}),
        ("occluded_reid", {"OccludedREID/query/200_05.jpg": ("query", "200", "0", "5"),
                           "OccludedREID/gallery/200_01.jpg": ("gallery", "200", "1", "1")}),
    ],
)  # fmt: skip
def test_all_published_forms_of_the_partial_sets_are_read_by_base_names(
    name: str, files: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """A folder's own name is no person's, and what was published beside the queries is none of them."""
    below = tmp_path / "x2019_1" if any(path.startswith("x2019_1") for path in files) else tmp_path
    _files(tmp_path, *files)
    if name == "partial_reid":
        _files(below, "Partial_REID/occluded_body_images/007_1.jpg")
    found = layouts.look(below, name)
    assert not found.problems
    told = {path.removeprefix("x2019_1/"): row for path, row in files.items()}
    assert {row.path: (row.role, row.identity, row.camera, row.group) for row in found.rows} == told


def test_a_pattern_reads_names_that_no_layout_knows(tmp_path: Path) -> None:
    folder = _files(tmp_path, "train/cam5-anna-1.png", "train/cam6-bert-1.png", "query/cam5-carl-1.png")
    pattern = r"cam(?P<camera>\d+)-(?P<person>[a-z]+)-"
    found = layouts.look(folder, "folders", Options(pattern=pattern))
    assert [(row.role, row.identity, row.camera) for row in found.rows] == [
        ("train", "anna", "5"), ("train", "bert", "6"), ("query", "carl", "5"),
    ]  # fmt: skip
    _files(tmp_path, "query/somebody.png")
    with pytest.raises(ReidError, match=r"query/somebody.png: the pattern .* does not fit its name"):
        layouts.read(folder, "folders", (), Options(pattern=pattern))


def test_cuhk03_is_read_from_the_protocols_own_file_too(tmp_path: Path) -> None:
    names = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "5_003_2_07.png"]
    world = World(tmp_path, 7, 32, 16)
    for name in names:
        world.put(f"cuhk03/images_detected/{name}", Shot("train", 1, 1, 0))
    content = {
        "filelist": np.array(names, object).reshape(-1, 1),
        "labels": np.array([[1], [1], [2], [3]]),
        "train_idx": np.array([[1], [2]]),
        "query_idx": np.array([[3]]),
        "gallery_idx": np.array([[4]]),
    }
    savemat(tmp_path / "cuhk03/cuhk03_new_protocol_config_detected.mat", content)
    found = layouts.read(tmp_path, "cuhk03_np", (), Options("detected"))
    assert [(row.path.rpartition("/")[2], row.role, row.identity, row.camera) for row in found.rows] == [
        (names[0], "train", "1", "1"), (names[1], "train", "1", "2"), (names[2], "query", "2", "1"),
        (names[3], "gallery", "3", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_drawing_a_world_again_gives_the_same_bytes(
    name: str, worlds: Callable[[str], Path], tmp_path: Path
) -> None:
    drawn(name, tmp_path)
    for path in worlds(name).rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(worlds(name))).read_bytes() == path.read_bytes()


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not here")
def test_real_photographs_in_markets_layout() -> None:
    found = layouts.read(REAL, "market1501", ("train", "query", "gallery", "multi_query"))
    counts = layouts.counted(found.rows)
    assert {role: one.images for role, one in counts.items()} == {
        "train": 768, "query": 28, "gallery": 299 - 56, "multi_query": 223,
    }  # fmt: skip
    marks = [row.mark for row in found.of("gallery")]
    assert (marks.count("junk"), marks.count("distractor")) == (56, 48)
    assert {one.cameras for one in counts.values()} == {2}


def test_the_page_about_data_sets_says_what_the_layouts_say() -> None:
    assert datasets_table.page() == datasets_table.PAGE.read_text("utf-8"), (
        "python -m tests.data.datasets_table rewrites it"
    )


_LISTS = {
    "msmt17": ("list_train.txt",),
    "vehicleid": ("train_test_split/train_list.txt", "train_test_split/test_list_800.txt"),
    "veriwild": ("train_test_split/train_list.txt", "train_test_split/vehicle_info.txt"),
    "table": ("t.csv",),
    "cuhk03_np": ("cuhk03_new_protocol_config_labeled.mat",),
}
_LINE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"path,identity,role", b"a.png,1,query", b'"', b"0000001 7", b"../x 7", b"00001/000001", b"id;c", b"",
        b"00001/000001;3", b"0000/0000_000_01_0303morning_0001_0.jpg 0", b"\0", b"MATLAB 5.0", b"a,,",
    ]),
)  # fmt: skip


@pytest.mark.parametrize("name", _LISTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_list_holds_is_rows_or_problems_and_no_crash(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    folder = _files(tmp_path / "data", *GOOD.get(name, ()))
    for path in _LISTS[name]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"\n".join(data.draw(st.lists(_LINE, max_size=8))))
    try:
        found = layouts.look(folder, name)
    except ReidError:
        return
    assert all((folder / row.path).resolve().is_relative_to(folder) for row in found.rows)
