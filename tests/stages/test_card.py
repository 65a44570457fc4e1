"""Card: domains side by side and pooled, by rules it states."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, t

from naic_reid.artifacts import ImageList, MadeBy, read_json, write_json
from naic_reid.config import Published
from naic_reid.errors import ReidError
from naic_reid.stages import card
from tests.stages.members import PERSONS, World, world

SIZES = {"green": (10, 60), "normal": (20, 90), "holdout": (8, 40)}


@pytest.fixture
def scores(tmp_path: Path) -> list[Path]:
    made: World = world(tmp_path, SIZES, labelled=True)
    for domain in SIZES:
        made.rerank_all(domain)
    return [
        made.evaluate("green"),
        made.evaluate("normal"),
        made.evaluate("holdout", truth=False, protocol="market"),
    ]


def lists(folder: Path) -> dict[str, Any]:
    """A training list, and two of test images of which one image is trained on."""
    for name, digests in {"train": "abcd", "query_green": "xc", "gallery_green": "yzw"}.items():
        paths = tuple(f"{name}/{digest}.png" for digest in sorted(digests))
        ImageList(paths, ("",) * len(paths), digests=tuple(sorted(digests))).write(
            folder / f"{name}.list.tsv"
        )
    tested = [folder / f"{name}.list.tsv" for name in ("query_green", "gallery_green")]
    return {"trained": folder / "train.list.tsv", "tested": tested}


def run(
    scores: list[Path], folder: Path, published: dict[str, Published] | None = None
) -> tuple[dict[str, list[dict[str, float]]], str]:
    card.run(
        published or {}, scores=scores, **lists(folder), card=folder / "card.json", table=folder / "card.txt"
    )
    return json.loads((folder / "card.json").read_text())["sections"], (folder / "card.txt").read_text()


def test_pooled_scores_count_positives_of_other_domains_as_never_found(
    scores: list[Path], tmp_path: Path
) -> None:
    sections, _ = run(scores, tmp_path)
    assert list(sections) == ["pooled", "green", "normal", "holdout"]
    precisions, elsewhere = [], []
    for path in scores[:2]:
        read = json.loads(path.read_text())
        hits = read["entries"][-1]["hits"]
        total = np.array(hits["positives"]) + np.array(read["elsewhere"])
        precisions += list(np.array(hits["precisions"]) / total)
        elsewhere += read["elsewhere"]
    fused = sections["pooled"][-1]
    assert fused["mAP"] == pytest.approx(np.mean(precisions))
    assert all(elsewhere)
    assert fused["mINP"] == 0
    assert fused["queries"] == 30
    assert sections["green"][-1]["mINP"] > 0


def test_what_others_state_stands_under_our_scores_of_that_domain(scores: list[Path], tmp_path: Path) -> None:
    _, plain = run(scores, tmp_path)
    _, text = run(scores, tmp_path, {"green": Published(source="the paper", R1=95.7, mAP=89.3, mINP=67.5)})
    (line,) = (line for line in text.splitlines() if line.strip().startswith("the paper"))
    assert line.split() == ["the", "paper", "95.7", "89.3", "67.5"]
    green, normal = text.index("green ("), text.index("normal (")
    assert green < text.index(line) < normal
    header = next(line for line in text[green:].splitlines() if "mINP" in line)
    assert [abs(header.index(name) + len(name) - line.index(value) - len(value)) <= 1
            for name, value in (("R1", "95.7"), ("mAP", "89.3"), ("mINP", "67.5"))] == [True] * 3  # fmt: skip
    assert "the paper" not in plain


def test_each_score_has_the_interval_of_its_persons(scores: list[Path], tmp_path: Path) -> None:
    sections, text = run(scores, tmp_path)
    for rows in sections.values():
        for row in rows:
            told: Any = row
            assert told["persons"] == min(told["queries"], PERSONS)
            for name in ("R1", "mAP", "mINP"):
                low, high = told["interval"][name]
                assert 0 <= low <= told[name] <= high <= 1
    first: Any = sections["green"][0]
    own = oracle_intervals(json.loads(scores[0].read_text()))
    assert first["interval"]["mAP"] == pytest.approx(own, abs=0.02)
    low, high = (100 * end for end in first["interval"]["mAP"])
    assert f"{low:.0f}–{high:.0f}" in text and "95 %" in text


def oracle_intervals(read: dict[str, Any]) -> list[float]:
    """Persons put into a bag and drawn by hand, with percentiles of t with one degree less than persons."""
    hits = read["entries"][0]["hits"]
    own = np.array(hits["precisions"]) / np.array(hits["positives"])
    assert len(set(read["persons"])) == len(own) == 10
    rng = np.random.default_rng(7)
    drawn = [np.mean([own[rng.integers(10)] for _ in range(10)]) for _ in range(4000)]
    tail = norm.cdf(np.sqrt(10 / 9) * t.ppf(0.025, 9))
    return [float(np.quantile(drawn, level)) for level in (tail, 1 - tail)]


def test_the_table_names_every_ranking_domain_and_rule(scores: list[Path], tmp_path: Path) -> None:
    sections, text = run(scores, tmp_path)
    for word in ["pooled (30 queries)", "holdout (8 queries)", "a/epoch_1", "b/epoch_2", "fusion",
                 "re-ranked", "plain", "mAP@200", "cameras:", "AP:", "denominator:"]:  # fmt: skip
        assert word in text
    assert f"{100 * sections['green'][0]['mAP']:.1f}" in text
    assert max(map(len, text.splitlines())) <= 110


def test_without_any_truth_the_card_says_so(tmp_path: Path) -> None:
    sections, text = run([], tmp_path)
    assert sections == {}
    assert text.startswith("No score card")


def test_scores_of_different_members_are_refused(scores: list[Path], tmp_path: Path) -> None:
    made_by, read = read_json(scores[0], "Scores")
    read["entries"][0]["member"] = "c/epoch_9"
    write_json(scores[0], "Scores", made_by, read)
    with pytest.raises(ReidError, match="different members"):
        run(scores, tmp_path)


@pytest.mark.parametrize("content", [{}, {"entries": []}, {"entries": [{"hits": {"first": "x"}}]}])
def test_files_that_are_no_scores_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "green.json"
    write_json(path, "Scores", MadeBy(), content)
    with pytest.raises(ReidError, match=r"green\.json: not a file of scores"):
        run([path], tmp_path)


def test_test_images_that_were_trained_on_are_counted(scores: list[Path], tmp_path: Path) -> None:
    _, text = run(scores, tmp_path)
    assert "TRAINED ON: 1 of 2 in query_green.list are copies of training images" in text
    counts = json.loads((tmp_path / "card.json").read_text())["trained_on"]
    assert counts == {"query_green.list": [1, 2], "gallery_green.list": [0, 3]}
