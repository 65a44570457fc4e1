"""Crops of test images: what rules keep, and that a draw depends on names alone."""

import csv
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
import pytest

from naic_reid.data.crops import SEED, STRESS, Crop, Rule

DATA = Path(__file__).parents[3] / "shared" / "naic_real"

DIGESTS = (
    "773fed6f ae0a0073 2b05fed2 a6330e8e 74b8c20f 7331053b aa2cf0ce c7ff0441 "
    "b9ced166 290fabaf 66402f3b ef87421c a0b388ed 4185eda7"
)
"""Of the list of each rule of `STRESS`, over the 223 photographs."""


def _crop(rule: Rule, image: str = "a.png", *, test: str = "half", seed: int = 1, height: int = 128) -> Crop:
    return rule.drawn(height, 48, seed=seed, test=test, image=image)


@pytest.mark.parametrize(
    ("share", "rows"),
    [
        (0.3, 38),
        (0.4, 51),
        (0.5, 64),
        (0.6, 77),
        (0.7, 90),
        (0.8, 102),
        (0.9, 115),
        (1.0, 128),
        (1.2, 128),
        (0.001, 1),
    ],
)
def test_legs_and_heads_are_cut_off_at_the_rounded_row(share: float, rows: int) -> None:
    assert _crop(Rule("legs", (share, share))) == (0, rows, 0, 48)
    assert _crop(Rule("head", (share, share))) == (128 - rows, 128, 0, 48)


def test_half_a_row_is_rounded_to_an_even_number() -> None:
    assert [_crop(Rule(), height=height).bottom for height in (5, 7, 9)] == [2, 4, 4]


@pytest.mark.parametrize(("side", "heads"), [("both", 0.5), ("mostly_legs", 0.2)])
def test_sides_and_shares_are_drawn(side: str, heads: float) -> None:
    drawn = [_crop(Rule(side, (0.45, 0.75)), str(number), height=1000) for number in range(3000)]
    rows = np.array([crop.bottom - crop.top for crop in drawn])
    assert 450 <= rows.min() < 453 and 747 < rows.max() <= 750 and abs(rows.mean() - 600) < 5
    assert np.mean([crop.top > 0 for crop in drawn]) == pytest.approx(heads, abs=0.03)


def test_a_draw_depends_on_seed_test_and_image_and_nothing_else() -> None:
    rule = Rule("both", (0.1, 0.9))
    draws = {_crop(rule, image, test=test, seed=seed) for image in "ab" for test in "cd" for seed in (1, 2)}
    assert len(draws) == 8
    assert _crop(rule, "a") == _crop(rule, "a")


def test_a_crop_is_written_and_read_and_takes_its_part() -> None:
    crop = Crop(2, 5, 1, 3)
    assert Crop.parsed(str(crop)) == crop
    picture = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    assert np.array_equal(crop.of(picture), picture[2:5, 1:3])
    for text in ("5 2 1 3", "1 2 3", "a b c d", "-1 2 0 3"):
        with pytest.raises(ValueError, match=r"no crop|unpack|invalid"):
            Crop.parsed(text)


def test_rules_of_the_tables_keep_what_their_names_say() -> None:
    """`legs_0.3` and `head_0.5` name what stays; `both_0_50` and so on, in percent, what is cut off."""
    for name, rule in STRESS.items():
        side, *shares = name.split("_")
        kept = (
            [float(shares[0])] * 2 if len(shares) == 1 else [1 - int(share) / 100 for share in shares[::-1]]
        )
        assert rule.keep == pytest.approx(kept), name
        assert rule.side == (side if len(shares) == 1 or side == "both" else "mostly_legs"), name
    assert len(STRESS) == 8 + 2 + 4


@pytest.mark.real
def test_the_lists_of_the_photographs_are_those_that_scores_were_taken_with() -> None:
    if not DATA.is_dir():
        pytest.skip("the photographs (../shared/naic_real) are not here")
    with (DATA / "test_truth.csv").open(newline="", encoding="utf-8-sig") as handle:
        rows = sorted((row["subset"], row["name"]) for row in csv.DictReader(handle))
    sizes = {
        row: cv2.imread(str(DATA / "MyDataSet/image_B_v1_1" / row[0] / row[1])).shape[:2] for row in rows
    }
    digests = {}
    for test, rule in STRESS.items():
        names = ["/".join(row) for row in rows]
        crops = [rule.drawn(*sizes[row], seed=SEED, test=test, image="/".join(row)) for row in rows]
        lines = [f"{name} {crop}\n" for name, crop in zip(names, crops, strict=True)]
        digests[test] = blake2b("".join(lines).encode(), digest_size=4).hexdigest()
    assert " ".join(digests.values()) == DIGESTS
