"""Two processes that train together take the steps of one with the whole batch."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from naic_reid.errors import ReidError
from naic_reid.training.team import Team, joined

SCRIPT = """
    import sys, json
    import torch
    from torch import nn
    from naic_reid.losses import build_identity, build_metric
    from naic_reid.training import loop, optimizers, step
    from naic_reid.models.branches import Seen
    from naic_reid.models.heads import Group
    from naic_reid.training.learner import Learner, Term
    from naic_reid.training.state import State
    from naic_reid.training.team import joined

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh())
            self.norm = nn.BatchNorm1d(16)
        def forward(self, images):
            embeddings = self.body(images)
            return {"whole": Seen(embeddings, self.norm(embeddings))}

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Net()
    whole = Group(("whole",))
    metrics = [
        Term(name, whole, build_metric(name, 6, 16))
        for name in ("weighted_triplet", "pairwise_cosface", "center")
    ]
    identity = [Term("arcface", whole, build_identity("arcface", 6, 16))]
    learner = Learner(net, identity, metrics).train()
    net.norm.eval()  # its statistics would be those of each half
    weights = {"arcface": 1.0, "weighted_triplet": 1.0, "pairwise_cosface": 0.1, "center": 0.01}
    optimizer = torch.optim.SGD([{"params": learner.parameters(), "lr": 0.05, optimizers.BASE_RATE: 0.05}])
    labels = torch.arange(6).repeat_interleave(2)

    with joined("cpu") as team:
        own = slice(team.rank * 12 // team.size, (team.rank + 1) * 12 // team.size)
        def batches(epoch, first):
            for number in range(first, 8):
                noise = torch.randn(12, 3, 2, 2, generator=torch.Generator().manual_seed(number))
                images = noise + labels.view(-1, 1, 1, 1) / 3
                yield step.Batch(images[own], labels[own], [""] * len(labels[own]))
        micro_batch = int(sys.argv[2]) if len(sys.argv) > 2 else None
        state = State(learner, optimizer, called=team.wrapped(learner))
        def plan(epoch, number):
            last = torch.tensor([float(team.rank == team.size - 1)])
            return step.Plan(weights, 8, mean=team.mean, flags=last)
        curve = [
            [record.total, record.accuracy, record.gradient, *record.losses.values()]
            for record in loop.run(state, batches, plan, epochs=1, micro_batches=[micro_batch])
            if record.flags == (1 / team.size,)
        ]
        assert team.all_of([torch.tensor(team.rank)]) == [[torch.tensor(rank)] for rank in range(team.size)]
        assert team.first_says(team.leads)
        if team.leads:
            torch.save({"curve": curve, "learner": learner.state_dict()}, sys.argv[1])
"""


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _trained(out: Path, size: int, *arguments: str) -> dict[str, object]:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_port()), "WORLD_SIZE": str(size)}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(out), *arguments]
    team = [
        subprocess.Popen(command, env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(size)
    ]
    assert [process.wait(timeout=300) for process in team] == [0] * size
    trained: dict[str, object] = torch.load(out, weights_only=True)
    return trained


def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    alone, together = (_trained(tmp_path / str(size), size) for size in (1, 2))
    curves = torch.tensor(alone["curve"]), torch.tensor(together["curve"])
    assert torch.allclose(*curves, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(curves[0][-1], curves[0][0], rtol=0.01)
    weights = alone["learner"], together["learner"]
    assert isinstance(weights[0], dict)
    assert isinstance(weights[1], dict)
    for name, weight in weights[0].items():
        assert torch.allclose(weight, weights[1][name], rtol=1e-4, atol=1e-5), name


def test_their_batches_may_be_cut_into_parts(tmp_path: Path) -> None:
    # The parts of two processes are other images than those of one: what is asked is that both agree.
    together = _trained(tmp_path / "2", 2, "2")
    assert torch.tensor(together["curve"]).isfinite().all()


def test_a_process_alone_is_a_team_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as team:
        assert team.leads
        assert team.first_says(True)
        mine = [torch.ones(1)]
        assert team.all_of(mine) == [mine]
        values = torch.ones(3)
        assert team.mean(values) is values
        learner = torch.nn.Linear(1, 1)
        assert team.wrapped(learner) is learner


def test_joint_normalisation_without_gpus_is_refused_with_the_remedy() -> None:
    team = Team(rank=0, size=2, device=torch.device("cpu"))
    with pytest.raises(ReidError, match=r"sync_norm needs GPUs: switch it off"):
        team.wrapped(torch.nn.BatchNorm1d(2), sync_norm=True)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ReidError, match="give auto, cpu or cuda"), joined("cuda:77"):
        pass
    for device in ("abacus", "meta"):
        with pytest.raises(ReidError, match="give auto, cpu or cuda"), joined(device):
            pass


FULL = """
    import sys
    import torch
    from naic_reid.errors import ReidError
    from naic_reid.training.team import joined

    try:
        with joined("cpu") as team:
            for step in range(3):
                if (team.rank, step) == (1, 2):
                    raise ReidError(f"no memory, as {team.called}")
                team.mean(torch.ones(2))
    except ReidError as error:
        sys.exit(str(error))
"""


def test_when_one_process_ends_with_an_error_the_other_says_so_and_none_waits_for_ever(
    tmp_path: Path,
) -> None:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_port()), "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", textwrap.dedent(FULL)]
    team = [
        subprocess.Popen(
            command, env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[1] for process in team]
    # gloo may abort while a process that has said its last words ends: no status is that of success.
    assert all(process.returncode for process in team)
    assert "no memory, as process 2 of 2 (cpu)" in said[1]
    assert "process 1 of 2 (cpu): the processes that train together lost one" in said[0]


WAITING = """
    import os, time
    import torch.distributed as dist
    from naic_reid.training.team import joined
    dist.init_process_group = lambda _backend: None  # the others are not needed
    with joined("cpu"):
        print(os.getpid(), flush=True)
        time.sleep(60)
        print("goes on", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which tells of a parent's end")
def test_a_process_of_a_team_ends_with_who_started_it_even_by_sigkill() -> None:
    launcher = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen(
        [sys.executable, "-c", launcher, textwrap.dedent(WAITING)],
        env=os.environ | {"WORLD_SIZE": "2", "RANK": "0"}, stdout=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        assert started.stdout is not None
        assert int(started.stdout.readline()) != started.pid
        started.kill()
        assert started.stdout.read() == ""  # which closes when its last writer has ended
