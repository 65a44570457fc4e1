"""Learning rates by epoch."""

import pytest

from naic_reid.training import schedule
from tests.oracles.schedule import original


def test_the_originals_sixty_epochs() -> None:
    for epoch in range(60):
        factor = schedule.warmup(epoch, 10, 0.01) * schedule.multistep(epoch, (25, 40), 0.1)
        assert factor == pytest.approx(original(epoch), rel=1e-12)


def test_without_warmup_the_first_epoch_has_the_whole_rate() -> None:
    assert schedule.warmup(0, 0, 0.01) == 1


def test_cosine_falls_from_one_to_nothing() -> None:
    path = [schedule.cosine(epoch, 4, 20) for epoch in range(22)]
    assert path[:5] == [1] * 5
    assert path[12] == pytest.approx(0.5)
    assert path[20] == path[21] == pytest.approx(0)
    assert path == sorted(path, reverse=True)
