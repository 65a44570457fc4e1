"""The toy stage: a folder whose bytes depend on the settings alone."""

import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from naic_reid import files
from naic_reid.config import Toy
from naic_reid.data import attributes
from naic_reid.data.toy import generator, person, worn
from naic_reid.data.toy_layout import layout
from naic_reid.stages import toy

SMALL = Toy(train_identities=8, test_identities=4, images=4, cameras=2, height=64, width=32)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("toy")
    tables = [place / "attributes.csv"]
    toy.run(3, SMALL, folder=place / "MyDataSet", truth=place / "truth.csv", attributes=tables)
    return place


def content(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*.*")}


def test_equal_settings_give_equal_bytes(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "MyDataSet").mkdir()
    tables = [tmp_path / "attributes.csv"]
    toy.run(3, SMALL, folder=tmp_path / "MyDataSet", truth=tmp_path / "truth.csv", attributes=tables)
    assert content(tmp_path) == content(drawn)


def test_another_seed_gives_other_pictures(drawn: Path, tmp_path: Path) -> None:
    tables = [tmp_path / "attributes.csv"]
    toy.run(4, SMALL, folder=tmp_path / "MyDataSet", truth=tmp_path / "truth.csv", attributes=tables)
    first, second = content(drawn), content(tmp_path)
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first if name.endswith(".png"))


def test_the_table_tells_what_each_labels_person_wears(drawn: Path) -> None:
    plan = layout(3, SMALL.train_identities, SMALL.test_identities, SMALL.images, SMALL.cameras)
    found = attributes.read(drawn / "attributes.csv")
    assert found.persons == tuple(plan.labels)
    for label, row in zip(found.persons, found.known.tolist(), strict=True):
        told = {name: ("", *words)[at] for (name, words), at in zip(found.values.items(), row, strict=True)}
        assert told == worn(person(generator(3, 0, plan.labels[label])))


def test_planted_copies_are_equal_in_bytes_or_only_in_pixels(drawn: Path) -> None:
    by_bytes, by_pixels = defaultdict(list), defaultdict(set)
    for path in sorted((drawn / "MyDataSet").glob("train_*/*/*.png")):
        digest = files.digest(path)
        by_bytes[digest].append(path)
        by_pixels[cv2.imread(str(path)).tobytes()].add(digest)
    assert sum(len(group) > 1 for group in by_bytes.values()) >= 4
    assert sum(len(group) > 1 for group in by_pixels.values()) >= 2


def test_images_fall_on_the_side_of_the_threshold_that_their_person_belongs_to(drawn: Path) -> None:
    domains = defaultdict(set)
    with (drawn / "truth.csv").open() as handle:
        for row in csv.DictReader(handle):
            image = cv2.imread(str(drawn / "MyDataSet/image_B_v1_1" / row["subset"] / row["name"]))
            assert image.shape == (64, 32, 3)
            domains[row["pid"]].add(bool((np.mean(image, (0, 1)) > 65).all()))
    assert sorted(map(len, domains.values())) == [1, 1, 1, 1]
    assert sum(next(iter(bright)) for bright in domains.values()) == 2
