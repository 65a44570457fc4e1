"""An amount of memory as users write it."""

import pytest

from naic_reid.errors import ReidError
from naic_reid.retrieval import memory


def test_a_budget_is_read_as_written_and_nonsense_refused() -> None:
    amounts = {"800MB": 800 * 10**6, "6GB": 6 * 10**9, "1.5 G": 1.5e9, "2TiB": 2e12, "12345": 12345}
    assert {text: memory.budget(text) for text in amounts} == amounts
    assert memory.budget("", "cpu") > 0
    for text in ("much", "-1GB", "0", "1XB"):
        with pytest.raises(ReidError, match="is no amount"):
            memory.budget(text)
