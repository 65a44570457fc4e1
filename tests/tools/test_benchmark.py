"""`naic-reid benchmark`: the inference card counts what it says it counts."""

import json
from pathlib import Path

import pytest

from naic_reid import cli
from naic_reid.tools import benchmark


def call(place: Path, *options: str) -> int:
    return cli.main(["benchmark", str(place / "model.pt"), "--device", "cpu", *options])


def test_the_card_tells_structure_batches_and_machine(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card.json"
    sizes = ["--images", "20", "--batch", "8", "--warmup", "1"]
    assert call(place, *sizes, "--no-flip", "--json", str(out)) == 0
    card = json.loads(out.read_text())
    assert (card["speed"]["images"], card["speed"]["batches"], card["speed"]["last_batch"]) == (20, 3, 4)
    assert card["how"] == {"precision": "fp32", "tf32": False, "flip": False, "batch": 8,
                           "warmup_batches": 1, "images_are": "random pixels"}  # fmt: skip
    maps = {part["part"]: part["map"] for part in card["structure"]["backbone_maps"]}
    assert maps["conv1"] == [64, 32, 16] and maps["layer4"] == [512, 4, 2]
    assert card["structure"]["parameters"] == 11177536
    assert card["memory_mib"]["host_peak"] > 50 and card["memory_mib"]["device_allocated"] is None
    printed = capsys.readouterr().out
    assert "resnet18_ibn_a at 64 × 32, 11,177,536 parameters" in printed
    assert "20 (random pixels) in 3 batches of 8" in printed


def test_photographs_take_the_place_of_random_pixels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, "--folder", str(place / "photos"), "--batch", "3", "--warmup", "0") == 0
    assert f"4 (4 of {place}/photos) in 2 batches of 3" in capsys.readouterr().out


def test_the_cards_mean_counts_the_last_batch_as_one() -> None:
    """FastReID's: of 151 batches of Market's 19,281 images five are left out, and the sum is over 146."""
    timed = [(128, 0.01, 0.08)] * 145 + [(81, 0.01, 0.05)]
    told = benchmark.speed(timed, 20.0)
    seconds = told["seconds_per_batch"]
    assert seconds["card"] == pytest.approx((145 * 0.08 + 0.05) / 146)
    assert seconds["mean"] == seconds["median"] == pytest.approx(0.08)
    assert seconds["copy"] == pytest.approx(0.01)
    assert told["images_per_second"] == pytest.approx((145 * 128 + 81) / (145 * 0.08 + 0.05))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch", "0"], "must be at least 1"),
        (["--images", "0"], "must be at least 1"),
        (["--images", "5", "--folder", "photos"], "leave it out"),
        (["--folder", "nowhere"], "no"),
    ],
)
def test_what_cannot_be_is_refused(
    place: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(place, *options) == 2
    assert sentence in capsys.readouterr().err
