"""PyTorch's switches and generators."""

import os

import pytest
import torch

from naic_reid.training.repeatable import generators, repeatable, set_generators


def _switches() -> tuple[object, ...]:
    return (
        torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory, os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )  # fmt: skip


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_every_switch_is_put_back(
    deterministic: bool, workspace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    before = _switches()
    with pytest.raises(KeyError), repeatable(1, deterministic=deterministic):
        within = _switches()
        raise KeyError
    assert _switches() == before
    assert within[:5] == (1, deterministic, True, not deterministic, False)
    assert within[5] == (workspace or (":4096:8" if deterministic else None))


def test_generators_are_those_of_one_device_and_come_back() -> None:
    cpu = torch.device("cpu")
    kept = generators(cpu)
    assert len(kept) == 1
    drawn = torch.rand(3)
    set_generators(kept, cpu)
    assert torch.equal(torch.rand(3), drawn)
