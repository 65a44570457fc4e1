"""Green or normal: a rule of brightness with a strict threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naic_reid.data.domains import close_calls, green

means = st.lists(st.tuples(*[st.floats(0, 255)] * 3), min_size=1)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((65.0, 65.0, 65.0), False),
        ((np.nextafter(65, 66), 66.0, 255.0), True),
        ((255.0, 65.0, 255.0), False),
        ((0.0, 0.0, 0.0), False),
    ],
)
def test_all_three_means_must_be_strictly_above(row: tuple[float, ...], expected: bool) -> None:
    assert green(np.array([row]), 65.0).tolist() == [expected]


@given(means, st.floats(0, 255))
def test_the_rule_is_that_of_the_plain_comparison(
    rows: list[tuple[float, float, float]], threshold: float
) -> None:
    expected = [b > threshold and g > threshold and r > threshold for b, g, r in rows]
    assert green(np.array(rows), threshold).tolist() == expected


@given(means)
def test_the_order_of_channels_does_not_matter(rows: list[tuple[float, float, float]]) -> None:
    values = np.array(rows)
    np.testing.assert_array_equal(green(values, 65.0), green(values[:, ::-1], 65.0))


def test_close_calls_have_a_channel_within_one_of_the_threshold() -> None:
    rows = np.array([(64.1, 0, 0), (66.0, 90, 90), (90, 65.9, 90), (90, 90, 65), (10, 20, 30)])
    assert close_calls(rows, 65.0).tolist() == [True, False, True, True, False]


def test_no_images_are_no_rows() -> None:
    assert green(np.zeros((0, 3)), 65.0).shape == (0,)
    assert close_calls(np.zeros((0, 3)), 65.0).shape == (0,)
