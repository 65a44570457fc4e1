"""The whole walk on a small generated world: what it gives, what runs again, what a kill costs."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from naic_reid.models.weights import Checkpoint
from tests.walk import COMMAND, HOME, Walk, small_world, tiny_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Walk:
    """A walk taken once to its end; tests leave its results as they are."""
    raw = small_world()
    raw["models"] = dict(reversed(raw["models"].items()))  # in no order of names
    next(iter(raw["models"].values()))["recipe"] = {"attributes": {"table": "attributes.csv"}}
    walk = Walk(tmp_path_factory.mktemp("walk"), raw, warm)
    walk.run()
    return walk


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Walk:
    """The shortest walk, undisturbed."""
    walk = Walk(tmp_path_factory.mktemp("tiny"), tiny_world() | {"report": {"heat": 2}}, warm)
    walk.run()
    return walk


@pytest.fixture
def changed(finished: Walk) -> Callable[..., dict[str, int]]:
    """What would run after a change to the config, which is taken back at the end of the test."""
    original = copy.deepcopy(finished.raw)

    def would_run(change: Callable[[dict[str, Any]], Any]) -> dict[str, int]:
        raw = copy.deepcopy(original)
        change(raw)
        finished.write(raw)
        try:
            return finished.would_run()
        finally:
            finished.write(original)

    return would_run


def test_the_submission_lists_every_query_once_with_images_of_its_own_domain(finished: Walk) -> None:
    submission = json.loads(finished.submission)
    data = finished.folder / "results" / "toy" / "MyDataSet" / "image_B_v1_1"
    assert sorted(submission) == sorted(os.listdir(data / "query"))
    domains = {}
    for domain in ("green", "normal"):
        lines = (finished.folder / f"results/split/gallery_{domain}.tsv").read_text().splitlines()[2:]
        domains[domain] = {line.split("\t")[0].rpartition("/")[2] for line in lines}
    assert set.union(*domains.values()) == set(os.listdir(data / "gallery"))
    for names in submission.values():
        assert len(set(names)) == len(names) <= 200
        assert any(set(names) == domain for domain in domains.values())


def test_the_score_card_states_its_rules(finished: Walk) -> None:
    folder = finished.folder / "results" / "card"
    card, content = (folder / "card.txt").read_text(), json.loads((folder / "card.json").read_text())
    told = " ".join(card.split())
    domains = content["protocols"]
    assert domains.keys() == {"green", "normal", "holdout"}
    for rules in (content["rules"], *domains.values()):
        for topic, meaning in rules.items():
            assert f"{topic}: {' '.join(meaning.split())}." in told
    for domain, rows in content["sections"].items():
        assert f"{domain} ({rows[0]['queries']} queries)" in card
        for row in rows:
            line = rf"{row['member']} .*{'re-ranked' if row['reranked'] else 'plain'} +{100 * row['R1']:.1f} "
            assert re.search(line, card), (line, card)


def test_a_finished_walk_has_nothing_to_do(finished: Walk) -> None:
    assert "Nothing to be done" in finished.run()


def test_a_drawn_world_tells_what_its_persons_wear_where_a_model_learns_it(finished: Walk) -> None:
    learns, other = finished.raw["models"]
    log = (finished.folder / f"logs/train/{learns}.log").read_text()
    assert f" [{learns}] train: wrote 1 checkpoints in " in log
    known = re.search(r"toy/attributes\.csv: (\d+) of (\d+) persons, sleeves, cut", log)
    assert known and known[1] == known[2]
    path, plain = (finished.folder / f"results/train/{name}/epoch_2.pt" for name in (learns, other))
    kept = Checkpoint.read(path).attributes
    assert kept is not None and kept.values["sleeves"] == ("long", "short")
    assert Checkpoint.read(plain).attributes is None


def test_no_temporary_file_is_left(finished: Walk) -> None:
    assert [path for path in finished.artefacts() if path.endswith(".part")] == []


def test_a_changed_k1_reruns_rerank_and_what_follows_of_that_domain(changed: Any) -> None:
    found = changed(lambda raw: raw["rerank"]["green"].update(k1=raw["rerank"]["green"]["k1"] - 1))
    assert found == {"rerank": 2, "fuse": 1, "submit": 1, "evaluate": 1, "card": 1, "report": 1}


def test_one_models_size_reruns_only_that_models_chain(changed: Any) -> None:
    found = changed(lambda raw: next(iter(raw["models"].values())).update(height=80))
    assert (found["train"], found["extract"], found["search"], found["rerank"]) == (1, 1, 3, 3)
    assert not {"collect", "dedupe", "holdout", "split", "toy"} & found.keys()


def test_comments_threads_and_order_in_the_config_rerun_nothing(finished: Walk) -> None:
    text = finished.config.read_text()
    finished.write({key: finished.raw[key] for key in reversed(finished.raw)})
    finished.config.write_text("# a remark\n" + finished.config.read_text())
    assert finished.would_run("--cores", "1", "--set-threads", "search=1") == {}
    finished.write({key: finished.raw[key] for key in reversed(finished.raw)})
    assert finished.config.read_text() == text


def test_a_folder_that_moved_reruns_nothing(finished: Walk, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "moved", dirs_exist_ok=True)
    assert Walk(tmp_path / "moved", finished.raw).would_run() == {}


def test_a_section_for_expansion_puts_the_step_into_the_walk(tiny: Walk) -> None:
    """`tests/test_second_round.py` walks it."""
    original = tiny.raw
    tiny.write(original | {"query_expansion": {"k": 3}})
    after = {"search": 1, "rerank": 1, "fuse": 1, "submit": 1, "evaluate": 1, "card": 1, "report": 1}
    assert tiny.would_run() == {"query_expansion": 1} | after
    tiny.write(original)


def test_a_deleted_submission_is_made_again_and_nothing_else(finished: Walk) -> None:
    before = finished.submission
    (finished.folder / "results/submission.json").unlink()
    assert finished.would_run() == {"submit": 1}
    finished.run()
    assert finished.submission == before


def test_a_raised_revision_reruns_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(tmp_path / "walk", tiny_world())
    walk.run("--until", "toy")
    home = tmp_path / "home"
    for name in ("naic_reid", "workflow", "configs", "data_lists"):
        shutil.copytree(HOME / name, home / name)
    shutil.copy(HOME / "Snakefile", home)
    monkeypatch.setenv("PYTHONPATH", str(home))
    raised = ("--snakefile", str(home / "Snakefile"))
    assert "toy" not in walk.would_run(*raised)
    stage = home / "naic_reid" / "stages" / "toy.py"
    stage.write_text(stage.read_text().replace("REVISION = 1", "REVISION = 2"))
    assert walk.would_run(*raised)["toy"] == 1


def test_killed_outright_again_and_again_it_ends_with_the_same_submission(tiny: Walk, tmp_path: Path) -> None:
    walk = Walk(tmp_path / "killed", tiny_world())
    logs = walk.folder / "logs"
    done: set[str] = set()
    killed_at = ""
    for stage in ("collect", "train", "extract", ""):
        process = walk.start()
        while stage and not (list(logs.glob(f"{stage}*")) or list(logs.glob(f"{stage}/*"))):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        if stage:
            time.sleep(1.5)
            os.kill(process.pid, signal.SIGKILL)  # Snakemake alone: its jobs have to notice by themselves
        printed, _ = process.communicate()
        for rule in ("toy", "collect", "train"):
            if rule != killed_at and any(path.startswith(f"{rule}/") for path in done):
                assert f"rule {rule}:" not in printed
        finished_late = any(path.startswith(f"{killed_at}/") for path in done)
        assert not killed_at or finished_late or f"rule {killed_at}:" in printed
        done, killed_at = set(walk.artefacts()), stage
    assert process.returncode == 0, printed
    assert walk.submission == tiny.submission
    assert [path for path in walk.artefacts() if path.endswith(".part")] == []


def test_without_a_word_about_the_config_a_folder_without_data_takes_the_toy(tmp_path: Path) -> None:
    def planned(folder: Path) -> str:
        command = [*COMMAND, "--directory", str(folder), "--dry-run"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    (tmp_path / "with" / "data" / "MyDataSet").mkdir(parents=True)
    (tmp_path / "without").mkdir()
    assert "rule toy:" in planned(tmp_path / "without")
    there = planned(tmp_path / "with")
    assert "rule toy:" not in there
    assert "models.r101_256.pretrained" in there  # of the competition, whose weights are not here


def test_another_run_from_scratch_in_shards_gives_the_same_bytes_and_leaves_no_parts(
    tiny: Walk, tmp_path: Path, warm: Path
) -> None:
    raw = tiny_world() | {"report": {"heat": 2}, "shards": {"extract": 2, "search": 2, "rerank": 3}}
    walk = Walk(tmp_path / "shards", raw, warm)
    printed = walk.run()
    assert printed.count("rule gather:") == 4
    first, second = tiny.artefacts(), walk.artefacts()
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []
    assert "report/index.html" in first
    assert walk.would_run() == {}


def test_a_log_whose_writer_ends_first_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its disk is full, or somebody kills it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tee").write_text("#!/bin/sh\nkill -KILL $$\n")
    (tmp_path / "bin/tee").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    printed = Walk(tmp_path / "walk", tiny_world()).run("--until", "toy", status=1)
    assert "toy: what writes logs/toy.log ended with status 137: run again" in printed
