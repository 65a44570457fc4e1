"""Labelled data sets from folder to score card: every layout in one walk, and one through Snakemake."""

import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from naic_reid import Extractor
from naic_reid.artifacts import DISTRACTOR, JUNK, Features, ImageList, Neighbours, read_json
from naic_reid.data import images
from naic_reid.data.crops import Crop
from naic_reid.data.layouts import LAYOUTS
from naic_reid.data.worlds import drawn
from naic_reid.models.weights import Checkpoint
from tests.faults.world import World
from tests.labelled import SOURCES, TESTS, draw_all, everything, small
from tests.walk import Walk


def _commands(walk: Walk) -> list[list[str]]:
    """Survey, and what Snakemake would run then on an empty folder, without the shell around it."""
    printed = walk.run("--dry-run", "--printshellcmds", "--config", "data=data")
    # A dry run surveys elsewhere.
    printed = re.sub(r"\S*/naic-reid-\w+/(?=results/survey/)", "", printed)
    survey = ["survey", "--config", "config.yaml", "--data", "data", "--train", "results/survey/train.tsv"]
    for name in SOURCES:
        survey += ["--sources", f"results/survey/sources/{name}.tsv"]
    for name in sorted(TESTS):
        survey += ["--sets", f"results/survey/tests/{name}.tsv"]
    return [survey, *(shlex.split(line) for line in re.findall(r"naic-reid (.*?) 2>&1", printed))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One network trained on ten layouts at once and scored on all, its stages run in this process."""
    folder = tmp_path_factory.mktemp("every")
    draw_all(folder / "data")
    world = World(folder, _commands(Walk(folder, everything())))
    for command in world.commands:
        status, printed = world.run(command)
        assert status == 0, printed
    return world


def test_every_layout_with_training_images_is_trained_on_under_its_own_name(finished: World) -> None:
    listed = ImageList.read(finished.path("results/holdout/train.tsv"))
    images = Counter(name.partition("/")[0] for name in listed.identities)
    assert images == {
        **dict.fromkeys(("naic", *SOURCES), 36), "msmt17": 30, "cuhk03_np": 24,
    }  # fmt: skip
    persons = Counter(name.partition("/")[0] for name in set(listed.identities))
    assert set(persons.values()) == {6}
    cameras = Counter(name.partition("/")[0] for name in set(listed.cameras) - {""})
    assert cameras == {**dict.fromkeys(set(SOURCES) - {"vehicleid"}, 3), "cuhk03_np": 2}


@pytest.mark.parametrize("test", TESTS)
def test_every_test_set_has_its_lists_and_its_scores(finished: World, test: str) -> None:
    lists = {
        role: ImageList.read(finished.path(f"results/tests/{role}_{test}.tsv"))
        for role in ("query", "gallery", "multi_query")
    }
    assert len(lists["multi_query"]) == (36 if test == "market1501" else 0)
    assert all(name.startswith(f"{test}/") for name in lists["gallery"].identities)
    assert set(lists["query"].marks) == {""}
    marked = Counter(lists["gallery"].marks)
    distractors = {"market1501": 6, "market1501_500k": 11, "folders": 6, "table": 6}
    assert (marked[JUNK], marked[DISTRACTOR]) == (0, distractors.get(test, 0))
    _, scores = read_json(finished.path(f"results/evaluate/{test}.json"), "Scores")
    assert scores["protocol"] == LAYOUTS[TESTS[test][0]].protocol
    assert any(entry.get("multiple") for entry in scores["entries"]) == (test == "market1501")


def test_a_list_that_is_query_and_gallery_is_searched_once(finished: World) -> None:
    near = Neighbours.read(finished.path("results/search/tiny/epoch_1/vehicleid.npz"))
    listed = ImageList.read(finished.path("results/tests/gallery_vehicleid.tsv"))
    assert len(near.rows) == near.num_query == len(listed) > 0


def test_the_queries_of_a_cut_test_are_halves_and_its_gallery_is_whole(finished: World) -> None:
    for role in ("query", "gallery"):
        whole = ImageList.read(finished.path(f"results/tests/{role}_market1501.tsv"))
        cut = ImageList.read(finished.path(f"results/cut/{role}_half.tsv"))
        assert (cut.paths, cut.identities, cut.cameras) == (whole.paths, whole.identities, whole.cameras)
        sizes = [images.read(finished.path("data") / path).shape[:2] for path in cut.paths]
        expected = [f"0 {round(height / 2)} 0 {width}" if role == "query" else "" for height, width in sizes]
        assert list(cut.crops) == expected
    features = [
        Features.read(finished.path(f"results/extract/tiny/epoch_1/{role}_{test}.npz")).values
        for test in ("market1501", "half") for role in ("query", "gallery")
    ]  # fmt: skip
    assert not np.array_equal(features[0], features[2]) and np.array_equal(features[1], features[3])
    asked = ImageList.read(finished.path("results/cut/query_half.tsv"))
    parts = [
        Crop.parsed(crop).of(images.read(finished.path("data") / path))
        for path, crop in zip(asked.paths, asked.crops, strict=True)
    ]
    extractor = Extractor.load(finished.path("results/train/tiny/epoch_1.pt"), "cpu")
    np.testing.assert_allclose(extractor.images(parts), features[2], atol=1e-5)
    _, scores = read_json(finished.path("results/evaluate/half.json"), "Scores")
    assert scores["protocol"] == "market"


def test_no_submission_is_made_where_there_is_no_competition(finished: World) -> None:
    assert not finished.path("results/submission.json").exists()
    assert not [command for command in finished.commands if command[0] in ("submit", "split")]
    card = finished.path("results/card/card.txt").read_text()
    assert all(test in card for test in TESTS)


def test_the_layouts_of_the_config_are_walked(finished: World) -> None:
    assert {layout for layout, _ in TESTS.values()} == LAYOUTS.keys() - {"naic"}


def test_a_data_set_walks_through_snakemake_and_only_what_changed_runs_again(
    tmp_path: Path, warm: Path
) -> None:
    for layout in ("market1501", "dukemtmc", "veri776"):
        drawn(layout, tmp_path / "data" / layout)
    market = {"name": "market", "layout": "market1501", "folder": "market1501"}
    test = {"duke": {"layout": "dukemtmc", "folder": "dukemtmc"}}
    raw = small([market], test)
    worn = next((tmp_path / "data").rglob("attributes.csv"))
    raw["train"] |= {
        "cameras": "known", "unlabelled": {"images": "more", "after": 0},
        "attributes": {"table": str(worn.relative_to(tmp_path / "data"))},
    }  # fmt: skip
    given = sorted((tmp_path / "data/veri776").rglob("*.jpg"))
    (tmp_path / "data/more").mkdir()
    shutil.copy(given[0], tmp_path / "data/more")
    walk = Walk(tmp_path, raw, warm)
    data = ("--config", "data=data")
    walk.run(*data)
    assert (tmp_path / "results/card/card.txt").exists()
    assert Checkpoint.read(tmp_path / "results/train/tiny/epoch_1.pt").attributes is not None
    assert walk.would_run(*data) == {}
    more = small([market], test | {"veri": {"layout": "veri776", "folder": "veri776"}})
    walk.write(more | {"train": raw["train"]})
    again = walk.would_run(*data)
    assert not {"collect", "dedupe", "holdout", "train"} & again.keys()
    assert again["tests"] == 1
    known = worn.read_text()
    worn.write_text(known.rpartition("\n")[0].rpartition("\n")[0])  # one person fewer
    assert walk.would_run(*data)["train"] == 1
    worn.write_text(known)
    shutil.copy(given[1], tmp_path / "data/more")
    assert walk.would_run(*data)["train"] == 1
    shutil.rmtree(tmp_path / "data/more")
    assert "train.unlabelled.images: there is no data/more: name a folder" in walk.run(*data, status=1)
