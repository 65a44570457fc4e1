"""The short form of the fault harness: every case, a few kills, a few hundred flipped bits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from naic_reid import cli, files
from naic_reid.stages import holdout
from tests import reading
from tests.faults import artefacts, kills, system
from tests.faults.__main__ import CASES, TABLE, line_of, read, text
from tests.faults.case import Case, tried
from tests.faults.world import SUBMISSION, Command, World
from tests.walk import HOME

MOUNTS = system.possible()


class Watched(World):
    """A world whose steps remember digests as those of a workflow do, and that knows what each step read."""

    seen: ClassVar[list[tuple[Command, reading.Read]]] = []

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        files.forget_digests()  # as in a process of its own
        with reading.counted() as seen:
            done = super().run(command)
        self.seen.append((list(command), seen))
        return done


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A finished walk; tests leave it as it is."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    folder = tmp_path_factory.mktemp("faults") / "walk"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.MEMORY, str(folder / "scratch" / "digests"))
        made = Watched.made(folder)
    yield World(made.folder, made.commands)
    artefacts.Others.forget()
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.slow], ids=lambda case: f"{case.group}: {case.name}"
)
def test_a_fault_is_met_as_the_table_says(case: Case, world: World) -> None:
    if case.outside and not MOUNTS:
        pytest.skip("this machine lets nobody mount a file system of his own (unshare -rm)")
    outcome = tried(case, world)
    row = line_of(case.name, outcome)
    assert row in TABLE.read_text(encoding="utf-8"), "run python -m tests.faults --rows NAME"


def test_a_step_reads_each_of_its_inputs_once(world: World) -> None:
    """But for its record, and the kilobytes that Python reads ahead: see `tests/reading.py`."""
    large, stages = 0, set()
    for (stage, *_), seen in Watched.seen:
        for path, number in seen.files.items():
            if path.is_relative_to(world.folder.resolve()) and path.parent.name != "digests":
                size = path.stat().st_size if path.exists() else 0
                assert number <= size + reading.AHEAD, (stage, path, number, size)
                large += size > 1 << 20
        if stage in stages:  # what it imports was read the first time
            photographs = 1 << 20  # in this world fewer bytes than these
            assert seen.elsewhere < photographs, (stage, seen.elsewhere)
        stages.add(stage)
    assert large == 4  # checkpoints: two handed over by train, and each read by extract once


def test_no_two_faults_have_one_name() -> None:
    names = [(case.group, case.name) for case in CASES]
    assert len(set(names)) == len(names)


def test_flipped_bits_are_refused_or_without_meaning(world: World, tmp_path: Path) -> None:
    assert artefacts.flip_bits(world, tmp_path, 25, seed=1) >= 250


def test_stages_killed_at_random_moments_end_with_the_same_bytes(world: World, tmp_path: Path) -> None:
    tally = kills.kill_stages(world.commands, tmp_path / "killed", kills=6, seed=2)
    assert tally.kills == 6
    again = World(tmp_path / "killed", world.commands)
    assert again.path(SUBMISSION).read_bytes() == world.path(SUBMISSION).read_bytes()
    whole, resumed = world.state(), again.state()
    assert {name for name in whole if whole[name] != resumed.get(name)} == set()
    assert kills.leftovers(tmp_path) == []


def test_torch_out_of_memory_is_said_in_the_same_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    monkeypatch.setattr(holdout, "run", lambda *a, **k: torch.empty(1 << 50))
    monkeypatch.chdir(world.folder)
    assert cli.main(world.command("holdout")) == 1
    assert "error: out of memory: free some" in capsys.readouterr().err


def test_the_provenance_of_a_whole_walk_holds(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    verify = ["provenance", str(SUBMISSION), "--verify", "--data", "results/toy/MyDataSet"]
    assert cli.main(verify) == 0
    printed = capsys.readouterr().out
    for stage in ("survey", "collect", "dedupe", "holdout", "split", "train", "extract", "search", "rerank"):
        assert f"  {stage}, revision" in printed
    assert "wrong_labels.txt" in printed
    assert "no problems" in printed


def test_rows_can_be_put_in_the_place_of_others() -> None:
    document = TABLE.read_text(encoding="utf-8")
    assert text(*read(document)) == document


def test_the_project_has_the_table() -> None:
    assert TABLE.is_relative_to(HOME)
    assert "## Kills" in TABLE.read_text(encoding="utf-8")
