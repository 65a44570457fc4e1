"""The folder of an unfinished run."""

import fcntl
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import torch

from naic_reid.errors import ReidError
from naic_reid.training import resume


def test_other_settings_are_another_folder(tmp_path: Path) -> None:
    with (
        resume.run_folder(tmp_path, "r", '{"seed":1}') as first,
        resume.run_folder(tmp_path, "r", '{"seed":2}') as second,
    ):
        assert first != second
    with resume.run_folder(tmp_path, "r", '{"seed":1}') as again:
        assert again == first


def test_a_folder_in_use_is_refused_and_its_holder_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "345")
    monkeypatch.setattr(resume, "PATIENCE", 0.1)
    holder = f"process {os.getpid()} on {socket.gethostname()} in Slurm job 345"
    refused = pytest.raises(ReidError, match=f": {holder} trains here already: wait for it, or stop it")
    with resume.run_folder(tmp_path, "r", "{}"), refused, resume.run_folder(tmp_path, "r", "{}"):
        pass
    with resume.run_folder(tmp_path, "r", "{}"):
        pass


def test_a_holder_that_saves_and_leaves_is_waited_for(tmp_path: Path) -> None:
    with resume.run_folder(tmp_path, "r", "{}") as folder:
        pass
    held = os.open(folder / "lock", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    leaves = threading.Timer(0.3, os.close, [held])
    leaves.start()
    with resume.run_folder(tmp_path, "r", "{}"):
        leaves.join(0)
        assert not leaves.is_alive()


def test_a_holder_outside_slurm_has_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with resume.run_folder(tmp_path, "r", "{}") as folder:
        held = (folder / "lock").read_text()
    assert held == f"process {os.getpid()} on {socket.gethostname()}"


def test_a_folder_with_other_settings_inside_is_refused_with_what_differs(tmp_path: Path) -> None:
    settings = '{"model":{"height":64},"seed":1}'
    with resume.run_folder(tmp_path, "r", settings) as folder:
        pass
    (folder / "settings.json").write_text('{"model":{"height":32},"seed":1}')
    with (
        pytest.raises(ReidError, match=r"other settings \(model\.height\).*delete"),
        resume.run_folder(tmp_path, "r", settings),
    ):
        pass


def test_a_state_comes_back_and_none_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert resume.load(path, '{"seed": 1}') is None
    resume.save(path, {"epoch": 3, "weights": {"a": torch.arange(3)}, "settings": '{"seed": 1}'})
    state = resume.load(path, '{"seed": 1}')
    assert state is not None
    assert state["epoch"] == 3
    assert torch.equal(state["weights"]["a"], torch.arange(3))


def test_a_state_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    resume.save(path, {"settings": '{"seed": 1, "train": {"batch": 8}, "images": "a"}'})
    with pytest.raises(ReidError, match=r"state\.pt.*other settings \(images, train\.batch\).*delete"):
        resume.load(path, '{"seed": 1, "train": {"batch": 4}, "images": "b"}')


def test_a_damaged_state_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK no zip")
    with pytest.raises(ReidError, match="delete"):
        resume.load(tmp_path / "state.pt", "{}")


def test_one_flipped_bit_of_a_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    resume.save(path, {"weights": torch.full((64,), 1.0), "settings": "{}"})
    content = path.read_bytes()
    place = content.index(torch.full((64,), 1.0).numpy().tobytes()) + 100
    path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    assert not torch.equal(torch.load(path)["weights"], torch.full((64,), 1.0)), "torch takes it"
    with pytest.raises(ReidError, match="not a whole state of training; delete"):
        resume.load(path, "{}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_the_first_signal_asks_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with resume.stop_signals() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop == [number]
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before
