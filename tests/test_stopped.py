"""Why a run stopped: what failed steps said, from their logs."""

import os
from pathlib import Path

import pytest

from naic_reid import stopped


def log(folder: Path, name: str, text: str, seconds: int = 0) -> tuple[str, Path]:
    path = folder / f"{name}.log"
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    return name, path


def error(sentence: str) -> str:
    return f"began\nnaic-reid: error: {sentence}\nrepeat this step with: naic-reid x\n"


def test_the_first_to_fail_is_told_first_and_equal_words_once(tmp_path: Path) -> None:
    failed = [
        log(tmp_path, "fuse", error("no room"), 30),
        log(tmp_path, "train", error("a.png: is empty\n  mend it"), 10),
        log(tmp_path, "search", error("no room"), 20),
        ("rerank", tmp_path / "none.log"),
    ]
    assert stopped.told(failed).splitlines() == [
        "stopped before the end:",
        f"train ({tmp_path}/train.log): a.png: is empty",
        "  mend it",
        f"search ({tmp_path}/search.log): no room",
        f"Mend that, {stopped.RESUME}",
    ]


def test_of_many_the_first_are_told(tmp_path: Path) -> None:
    failed = [log(tmp_path, f"s{n}", error(f"fault {n}"), n) for n in range(9)]
    assert stopped.told(failed).splitlines()[5:] == [
        f"s4 ({tmp_path}/s4.log): fault 4",
        "… and 4 more, see logs/",
        f"Mend that, {stopped.RESUME}",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (error("one") + error("two"), "two"),
        (
            error("\n".join(f"line {n}" for n in range(40))),
            "\n".join([*(f"line {n}" for n in range(12)), "  …"]),
        ),
        (
            "Traceback (most recent call last):\n  File x\nValueError: y\n",
            "an error that nobody foresaw: ValueError: y",
        ),
        ("Traceback (most recent call last):\n  Fil", "its log breaks off, as on a full disk, after:   Fil"),
        ("08:00 epoch 3\n", "was ended from outside, killed or out of memory; its last line: 08:00 epoch 3"),
        ("", "was ended from outside, killed or out of memory; its last line: (none)"),
    ],
)
def test_the_last_words_of_a_step(tmp_path: Path, text: str, words: str) -> None:
    assert stopped.last_words(log(tmp_path, "x", text)[1]) == words


def test_a_reason_is_noted_for_who_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(stopped.NOTE, raising=False)
    assert not stopped.noted("why")
    monkeypatch.setenv(stopped.NOTE, str(tmp_path / "note"))
    assert stopped.noted("wäre")
    assert (tmp_path / "note").read_text(encoding="utf-8") == "wäre"
