"""Submissions: merged from rankings, and every way to be wrong is said in a sentence."""

from pathlib import Path

import numpy as np
import pytest

from naic_reid.artifacts import Ranking, submission
from naic_reid.errors import ReidError

GALLERY = [f"g{i:03}.png" for i in range(250)]
OTHER = ["h0.png", "h1.png"]
DOMAINS = [(["q1.png", "q2.png"], GALLERY), (["r.png"], OTHER)]


def ranking(queries: tuple[str, ...], gallery: tuple[str, ...], rows: list[list[int]]) -> Ranking:
    indices = np.array(rows, np.int32)
    return Ranking(queries, gallery, indices, np.zeros(indices.shape, np.float32))


def valid() -> dict[str, object]:
    return {"q1.png": GALLERY[:200], "q2.png": GALLERY[50:], "r.png": OTHER[::-1]}


def test_rankings_of_all_domains_become_one_table_sorted_by_query() -> None:
    one = ranking(("z.png", "b.png"), ("x.png", "y.png"), [[1, 0], [0, 1]])
    two = ranking(("c.png",), ("folder/u.png",), [[0]])
    merged = submission.merge([one, two])
    assert list(merged) == ["b.png", "c.png", "z.png"]
    assert merged == {"b.png": ["x.png", "y.png"], "c.png": ["u.png"], "z.png": ["y.png", "x.png"]}


def test_a_query_in_two_rankings_is_refused() -> None:
    one = ranking(("a.png",), ("x.png",), [[0]])
    with pytest.raises(ReidError, match=r"a\.png stands in two rankings"):
        submission.merge([one, one])


def test_a_valid_submission_has_no_problems() -> None:
    assert submission.problems(valid()) == []
    assert submission.problems(valid(), DOMAINS) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"q1.png": GALLERY[:201]}, "201 names, and at most 200"),
        ({"q1.png": [GALLERY[0], *GALLERY[:199]]}, "g000.png is listed twice"),
        ({"q1.png": "g000.png"}, "must be a list of gallery names"),
        ({"q1.png": [1, 2]}, "must be a list of gallery names"),
        ({"q1.png": GALLERY[:199]}, "199 names, and 200 are possible"),
        ({"q1.png": ["h0.png", *GALLERY[:199]]}, "h0.png is not in the gallery it is searched in"),
        ({"new.png": GALLERY[:200]}, "there is no such query image"),
        ({"q1.png": None}, "must be a list of gallery names"),
    ],
)
def test_each_way_to_be_wrong_is_one_sentence(change: dict[str, object], sentence: str) -> None:
    (problem,) = submission.problems(valid() | change, DOMAINS)
    assert sentence in problem


def test_missing_answers_and_other_shapes_are_problems() -> None:
    answers = valid()
    del answers["r.png"]
    assert submission.problems(answers, DOMAINS) == ["query r.png: no answer"]
    assert submission.problems([1]) == ["it is a list, and must be a table of query name: [gallery names]"]
    assert submission.problems({}) == ["it answers no query at all"]
    assert submission.problems({}, [([], [])]) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"a": [], "a": []}', "query a is answered twice"),
        (b"{", "not a submission"),
        (b"\xff\xfe", "not a submission"),
    ],
)
def test_files_that_are_no_json_tables_are_refused(tmp_path: Path, text: bytes, sentence: str) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(text)
    with pytest.raises(ReidError, match=sentence):
        submission.read(path)


def test_an_absent_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ReidError, match=r"none\.json: cannot be read"):
        submission.read(tmp_path / "none.json")
