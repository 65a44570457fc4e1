"""Tests of what a GPU computes: plain functions, which `benchmarks/gpu.py` runs where there is no pytest.

A test asks for `device` to run on the processor everywhere and on a GPU where there is one, for `gpu` to
run on a GPU alone, and for `folder` to have an empty one. It uses neither fixtures nor marks of its own.
"""

from pathlib import Path

import pytest
import torch

_ON_GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    ],
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, devices in (("device", ["cpu", _ON_GPU]), ("gpu", [_ON_GPU])):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, devices)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
