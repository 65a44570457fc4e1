"""Tables of attributes: the published files by name, own tables, and what drawn persons wear."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from naic_reid.data import attributes, toy
from naic_reid.errors import ReidError


def published(path: Path, train: dict[str, Any], test: dict[str, Any]) -> Path:
    scipy.io.savemat(path, {"market_attribute": {"train": train, "test": test}})
    return path


def values(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array([numbers], np.uint8)


def names(*persons: str) -> np.ndarray[Any, Any]:
    return np.array(list(persons), object)


TRAIN = {
    "age": values(3, 1),
    "up": values(2, 1),
    "downpurple": values(1, 2),
    "image_index": names("0002", "0007"),
}
TEST = {"image_index": names("0001"), "up": values(1), "age": values(4)}


def test_a_published_file_is_read_by_name(tmp_path: Path) -> None:
    """Test persons' fields stand in another order, and one is not there: nothing is known of it."""
    found = attributes.read(published(tmp_path / "market_attribute.mat", TRAIN, TEST))
    assert found.persons == ("0002", "0007", "0001")
    assert found.values == {
        "age": ("young", "teenager", "adult", "old"), "up": ("long", "short"), "downpurple": ("no", "yes")
    }  # fmt: skip
    assert found.known.tolist() == [[3, 2, 1], [1, 1, 2], [4, 1, 0]]


def test_identities_are_found_with_and_without_their_source(tmp_path: Path) -> None:
    found = attributes.told([("7", {"hat": "yes"}), ("b/7", {"hat": "no"}), ("8", {})])
    assert found.values == {"hat": ("no", "yes")}
    assert found.of(["a/7", "b/7", "a/8", "a/9", "a/7#brg"]).tolist() == [[2], [1], [0], [0], [0]]


def test_an_own_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [(str(n), toy.worn(toy.person(toy.generator(3, 0, n)))) for n in range(6)]
    rows[2][1]["cut"] = ""
    found = attributes.told(rows)
    found.write(tmp_path / "worn.csv")
    again = attributes.read(tmp_path / "worn.csv")
    assert again.values == found.values and again.persons == found.persons
    assert np.array_equal(again.known, found.known) and found.known[2].tolist().count(0) == 1


def test_colours_are_called_by_the_nearest_of_their_palette() -> None:
    for number in range(40):
        who = toy.person(toy.generator(1, 0, number))
        worn = toy.worn(who)
        assert worn["sleeves"] == ("long" if who.long_sleeves else "short")
        assert (worn["cut"], worn["luggage"], worn["haircut"]) == (who.cut, who.luggage, who.haircut)
        far = [sum((a - b) ** 2 for a, b in zip(who.top, each, strict=True)) for each in toy._TOPS]
        assert worn["top"] == toy._TOP_NAMES[far.index(min(far))]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "who,hat\n1,no\n", "has a column person"),
        ("a.csv", "person,hat\n", "has a column person"),
        ("a.csv", "person,hat\n1,no,yes\n", "more or fewer values"),
        ("a.csv", "person,hat\n1,no\n1,yes\n", "names 1 twice"),
        ("a.mat", "no matrix", "no table of attributes"),
        ("a.csv", None, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ReidError, match=f"{name}.*{sentence}"):
        attributes.read(tmp_path / name)


@pytest.mark.parametrize("value", [3, -1])
def test_a_value_that_an_attribute_does_not_have_is_refused(tmp_path: Path, value: int) -> None:
    path = published(tmp_path / "x.mat", TRAIN | {"up": np.array([[value, 1]], np.int16)}, TEST)
    with pytest.raises(ReidError, match=r"up has values beyond 0 … 2"):
        attributes.read(path)
