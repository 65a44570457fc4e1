"""Files written beside training."""

import threading
import time
from pathlib import Path

import pytest
import torch

from naic_reid.training.saving import Pace, Writer, copied


def test_a_copy_stays_as_it_was_when_the_original_moves_on() -> None:
    weight = torch.arange(3.0)
    tree = {"a": [weight, 5], "b": (weight[:2], {"c": "text"})}
    copy, arrived = copied(tree)
    arrived()
    weight.add_(1)
    assert copy["a"][0].tolist() == [0, 1, 2]
    assert copy["b"][0].tolist() == [0, 1]
    assert (copy["a"][1], copy["b"][1]) == (5, {"c": "text"})


def test_writing_goes_on_beside_in_the_order_in_which_it_was_asked_for() -> None:
    go, done = threading.Event(), []
    weight = torch.zeros(1)

    def slow(tree: torch.Tensor) -> None:
        assert go.wait(60)
        done.append(tree.item())

    with Writer().finishing() as writer:
        writer.write(weight, slow)
        weight.add_(1)
        writer.write(weight, lambda tree: done.append(tree.item()))
        weight.add_(1)
        assert not writer.idle
        assert done == []
        go.set()
        writer.wait()
        assert writer.idle
    assert done == [0, 1]


def test_a_file_that_cannot_be_written_is_an_error_of_the_run_and_nothing_follows_it(tmp_path: Path) -> None:
    def full(_: object) -> None:
        raise OSError("no space left")

    written: list[object] = []
    with pytest.raises(OSError, match="no space"), Writer().finishing() as writer:
        writer.write(1, full)
        writer.write(2, written.append)
        writer.wait()
    with pytest.raises(OSError, match="no space"), Writer().finishing() as writer:
        writer.write(1, full)
    assert written == []


def test_all_is_written_when_training_ends_with_an_error() -> None:
    written: list[object] = []
    with pytest.raises(KeyError), Writer().finishing() as writer:
        writer.write(1, written.append)
        raise KeyError
    assert written == [1]


def test_waiting_for_copies_takes_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace(1)
    with pace.saving():
        now += 2
    now += 39
    assert not pace.due
    now += 1
    assert pace.due


def test_saving_waits_for_its_seconds() -> None:
    assert Pace(0).due
    pace = Pace(3600)
    assert not pace.due
    with pace.saving():
        pass
    assert not pace.due
