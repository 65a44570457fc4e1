"""Weights to start from that are not what they should be."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from naic_reid import models
from naic_reid.architecture import Architecture
from tests.faults.case import Case
from tests.faults.world import Command, World, with_settings

FILE = "weights.pth"
_NETWORKS: dict[str, dict[str, Any]] = {}


def _tensors(backbone: str = "timm/test_resnet") -> dict[str, Any]:
    if backbone not in _NETWORKS:
        with torch.random.fork_rng(devices=[]):
            network = models.build(Architecture(backbone=backbone, height=64, width=32))
        _NETWORKS[backbone] = network.backbone.state_dict()
    return dict(_NETWORKS[backbone])


class _Code:
    """A pickle that leaves a mark when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("ran").write_text, ("the code in the pickle ran",))


def _code(world: World) -> None:
    world.path(FILE).write_bytes(pickle.dumps({"state_dict": _Code()}))


def _code_zipped(world: World) -> None:
    torch.save({"state_dict": _Code()}, world.path(FILE))


def _saved(change: Callable[[dict[str, Any]], Any]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        tensors = _tensors()
        torch.save(change(tensors) or tensors, world.path(FILE))

    return plant


def _not_finite(tensors: dict[str, Any]) -> None:
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name] = torch.full_like(tensors[name], float("nan"))


def _half(tensors: dict[str, Any]) -> None:
    for name in list(tensors)[::2]:
        del tensors[name]


def _cut(world: World) -> None:
    torch.save(_tensors(), world.path(FILE))
    content = world.path(FILE).read_bytes()
    world.path(FILE).write_bytes(content[: len(content) // 2])


def _text(world: World) -> None:
    world.path(FILE).write_text("<html>404 not found</html>")


def _train(world: World) -> list[Command]:
    return [[*world.command("train", "train/large"), "--pretrained", FILE]]


def _did_not_run(world: World) -> None:
    assert not world.path("ran").exists()


CASES = [
    Case("Weights", "a pickle with code in it", _code, _train, check=_did_not_run,
         says="weights.pth: it holds more than weights, and loading it would run its code"),
    Case("Weights", "a zipped pickle with code in it", _code_zipped, _train, check=_did_not_run,
         says="weights.pth: it holds more than weights, and loading it would run its code"),
    Case("Weights", "another architecture", _saved(lambda _: _tensors("resnet18")), _train,
         says="weights.pth: only .* of the backbone's tensors are in it.*same backbone"),
    Case("Weights", "half of the keys", _saved(_half), _train, says="weights.pth: only .*missing"),
    Case("Weights", "NaN in a tensor", _saved(_not_finite), _train, says="weights.pth: .* is not finite"),
    Case("Weights", "cut in half", _cut, _train, says="weights.pth: not a whole file of weights"),
    Case("Weights", "a web page named .pth", _text, _train, says="weights.pth: "),
    Case("Weights", "patterns that together keep every parameter", lambda world: None,
         lambda world: [with_settings(world.command("train", "train/large"),
                                      train={"freeze": ["backbone.*", "branches.*"]})],
         says="train.freeze .* keep every parameter of this network: nothing is trained"),
    Case("Weights", "no such file", lambda world: None, _train, says="weights.pth: "),
]  # fmt: skip
