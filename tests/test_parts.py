"""Parts: which rows a shard makes, and which parts are refused when they are put together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naic_reid import parts
from naic_reid.artifacts import Features, MadeBy, Neighbours
from naic_reid.errors import ReidError
from naic_reid.parts import Rows

RECORD = MadeBy("search", 1, "1", "{}", (("query.npz", "aa"), ("gallery.npz", "bb")))
NUM = 7


@given(num=st.integers(0, 200), shards=st.integers(1, 30), unit=st.integers(1, 40))
def test_shards_cover_every_row_once_and_meet_at_multiples_of_the_unit(
    num: int, shards: int, unit: int
) -> None:
    at = 0
    for number in range(1, shards + 1):
        rows = parts.rows_of(f"{number}/{shards}", num, unit)
        assert rows.start == at <= rows.stop
        assert rows.stop % unit == 0 or rows.stop == num
        assert rows.of == num
        at = rows.stop
    assert at == num


def test_no_shard_is_all_rows() -> None:
    assert parts.rows_of("", 9, 4) == Rows(0, 9, 9)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3", "-1/2", " 1/2"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(ReidError, match="write I/N, such as 1/4"):
        parts.rows_of(shard, 10)


def arrays(start: int, stop: int) -> dict[str, Any]:
    rows = (np.arange(start, stop)[:, None] + np.arange(3)).astype(np.int32) % NUM
    distances = np.tile(np.float32([0, 1, 2]), (stop - start, 1))
    return {
        "rows": rows,
        "distances": distances,
        "farthest": np.full(stop - start, 3, np.float32),
        "num_query": np.array(2),
    }


def part(
    path: Path,
    start: int,
    stop: int,
    num: int = NUM,
    made_by: MadeBy = RECORD,
    more: Mapping[str, Any] | None = None,
) -> Path:
    parts.write(path, "Neighbours", Rows(start, stop, num), arrays(start, stop) | dict(more or {}), made_by)
    return path


def test_parts_make_the_bytes_of_the_whole_in_whatever_order_they_are_named(tmp_path: Path) -> None:
    content = arrays(0, NUM)
    content["num_query"] = 2
    Neighbours(**content, made_by=RECORD).write(tmp_path / "whole.npz")
    made = [part(tmp_path / f"{at}-{stop}.npz", at, stop) for at, stop in ((4, 7), (0, 2), (2, 2), (2, 4))]
    assert parts.gather(made, tmp_path / "gathered.npz") == Rows(0, NUM, NUM)
    assert (tmp_path / "gathered.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def refused(tmp_path: Path, made: list[Path], words: str) -> None:
    with pytest.raises(ReidError, match=words):
        parts.gather(made, tmp_path / "whole.npz")
    assert not (tmp_path / "whole.npz").exists()


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([(0, 2), (4, 7)], r"b\.npz: begins at row 4, and the part with row 2 is missing"),
        ([(2, 7)], r"a\.npz: begins at row 2, and the part with row 0 is missing"),
        ([(0, 2), (2, 6)], r"b\.npz: ends before row 6 of 7, and the part with that row is missing"),
        ([(0, 4), (4, 7), (4, 7)], r"c\.npz: holds rows 4 to 7 of 7, and .*b\.npz holds some of them too"),
        ([(0, 4), (3, 7)], r"b\.npz: holds rows 3 to 7 of 7, and .*a\.npz holds some of them too"),
    ],
)
def test_missing_and_doubled_rows_are_refused_by_name(
    tmp_path: Path, spans: list[tuple[int, int]], words: str
) -> None:
    made = [part(tmp_path / f"{name}.npz", *span) for name, span in zip("abc", spans, strict=False)]
    refused(tmp_path, made, words)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (MadeBy("rerank", 1, "1", "{}", RECORD.inputs), "stage"),
        (MadeBy("search", 2, "1", "{}", RECORD.inputs), "revision"),
        (MadeBy("search", 1, "2", "{}", RECORD.inputs), "version"),
        (MadeBy("search", 1, "1", '{"keep":9}', RECORD.inputs), "settings"),
        (MadeBy("search", 1, "1", "{}", (("query.npz", "cc"), ("gallery.npz", "bb"))), "input query.npz"),
        (MadeBy("search", 1, "1", "{}", RECORD.inputs[:1]), "number of inputs"),
    ],
)
def test_a_part_of_another_whole_is_refused_by_name(tmp_path: Path, other: MadeBy, named: str) -> None:
    made = [part(tmp_path / "a.npz", 0, 4), part(tmp_path / "b.npz", 4, 7, made_by=other)]
    refused(tmp_path, made, rf"b\.npz: a part of something else than .*a\.npz is \({named} differ\)")


def test_a_part_of_another_length_is_refused_by_name(tmp_path: Path) -> None:
    made = [part(tmp_path / "a.npz", 0, 4), part(tmp_path / "b.npz", 4, 6, 6)]
    refused(tmp_path, made, r"b\.npz: a part of something else .*number of rows")


def test_a_part_that_does_not_hold_what_it_says_is_refused_by_name(tmp_path: Path) -> None:
    made = [part(tmp_path / "a.npz", 0, 7, more={"farthest": np.zeros(6, np.float32)})]
    refused(tmp_path, made, r"a\.npz: does not hold the rows 0 to 7 of 7 that it says")


def test_parts_whose_content_makes_no_whole_are_refused_by_name(tmp_path: Path) -> None:
    wrong = {"rows": np.zeros((3, 3), np.int32)}
    made = [part(tmp_path / "a.npz", 0, 4), part(tmp_path / "b.npz", 4, 7, more=wrong)]
    refused(tmp_path, made, r"whole\.npz: .*b\.npz do not fit together: it must have rows that begin with")
    made[1] = part(tmp_path / "b.npz", 4, 7, more={"rows": np.zeros((3, 4), np.int32)})
    refused(tmp_path, made, "do not fit together")


def test_a_whole_and_a_damaged_part_are_no_parts(tmp_path: Path) -> None:
    Features(("a",), np.ones((1, 1), np.float32)).write(tmp_path / "a.npz")
    refused(tmp_path, [tmp_path / "a.npz"], r"a\.npz: not a whole Part file: it holds another type")
    damaged = part(tmp_path / "b.npz", 0, 7)
    damaged.write_bytes(damaged.read_bytes()[:-200])
    refused(tmp_path, [damaged], r"b\.npz: not a whole Part file")


def test_nothing_to_gather_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, [], "no parts were named")
