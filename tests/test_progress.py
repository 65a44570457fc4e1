"""How far long work has come."""

import logging

import pytest

from naic_reid import progress


def test_every_item_passes_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.shown(range(1000), "work", 1000)) == list(range(1000))
    assert capsys.readouterr().out == ""


def test_a_log_reads_the_rate_and_the_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "_LOG_SECONDS", 0.0)
    list(progress.shown(range(100), "work", 100))
    assert [message.split(",")[0] for message in caplog.messages] == ["work: 64 of 100", "work: 100 of 100"]
    assert all("/s, " in message and message.endswith("s left") for message in caplog.messages)


def test_no_items_are_no_work(caplog: pytest.LogCaptureFixture) -> None:
    assert list(progress.shown([], "work", 0)) == []
    assert not caplog.messages


def test_followed_work_says_its_own_words_in_a_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "_LOG_SECONDS", 0.0)
    with progress.followed("work", 2) as show:
        show(1, "half of it")
    assert caplog.messages[0].startswith("work: half of it, ")
    with progress.followed("work", 2, on=False) as show:
        show(2, "all of it")
    assert len(caplog.messages) == 1
