"""Submit: rankings of all domains → one JSON that passes its own check, and its record."""

import json
from pathlib import Path

import pytest

from naic_reid import files
from naic_reid.errors import ReidError
from naic_reid.stages import submit
from tests.stages.members import World, world

SIZES = {"green": (5, 30), "normal": (6, 210), "empty": (0, 4)}


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world(tmp_path, SIZES)
    for domain in SIZES:
        made.rerank_all(domain)
    return made


def run(made: World, domains: list[str], queries: list[str] | None = None) -> Path:
    submission = made.folder / "submission.json"
    submit.run(
        rankings=[made.fuse(domain) for domain in domains],
        queries=[made.images("query", domain) for domain in queries or domains],
        galleries=[made.images("gallery", domain) for domain in queries or domains],
        submission=submission,
        record=made.folder / "record.json",
    )
    return submission


def test_every_query_of_all_domains_is_answered_once_from_its_own_gallery(made: World) -> None:
    answers = json.loads(run(made, list(SIZES)).read_text())
    assert list(answers) == sorted(answers)
    assert len(answers) == 11
    for query, names in answers.items():
        domain = query.split("_")[0]
        assert len(names) == len(set(names)) == min(SIZES[domain][1], 200)
        assert all(name.startswith(f"{domain}_gallery") for name in names)


def test_the_record_leads_from_the_submission_to_the_features(made: World) -> None:
    submission = run(made, list(SIZES))
    record = json.loads((made.folder / "record.json").read_text())
    assert record["submission"] == files.digest(submission)
    inputs = dict(record["made_by"]["inputs"])
    ranking = made.folder / "ranking_green.npz"
    assert inputs[ranking.as_posix()] == files.digest(ranking)
    beneath = dict(record["rankings"][ranking.as_posix()]["inputs"])
    features = made.paths("query", "green")[0]
    assert beneath[features.as_posix()] == files.digest(features)


def test_a_domain_without_ranking_is_refused_and_nothing_is_written(made: World) -> None:
    with pytest.raises(ReidError, match=r"green_query_000\.png: no answer"):
        run(made, ["normal", "empty"], ["normal", "green"])
    assert not (made.folder / "submission.json").exists()
