"""Configs that do not say what they mean."""

import copy
from collections.abc import Callable
from typing import Any

from tests.faults.case import Case
from tests.faults.world import Command, World, dumped, tiny_world

BOMB = (
    b"a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n"
    b"c: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c, *c, *c]\n"
)


def _with(change: Callable[[dict[str, Any]], Any]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        raw = copy.deepcopy(tiny_world())
        change(raw)
        world.replace("config.yaml", dumped(raw))

    return plant


def _text(content: bytes) -> Callable[[World], None]:
    return lambda world: world.replace("config.yaml", content) and None


def _holdout(world: World) -> list[Command]:
    command = world.command("holdout")
    place = command.index("--settings")
    return [[*command[:place], "--config", "config.yaml", *command[place + 2 :]]]


def _case(name: str, plant: Callable[[World], None], says: str) -> Case:
    return Case("Config", name, plant, _holdout, says=r"config\.yaml: " + says)


CASES = [
    _case("no such file", lambda world: world.path("config.yaml").unlink(), "cannot be read"),
    _case("not YAML", _text(b"a: [1,"), "not a config"),
    _case("empty", _text(b""), ".*must be a table of sections"),
    _case("binary", _text(bytes(range(128, 256))), "cannot be read"),
    _case("unknown key", _with(lambda raw: raw["holdout"].update(shar=0.1)), ".*did you mean share"),
    _case("wrong type", _with(lambda raw: raw["holdout"].update(share="much")), ".*holdout.share: "),
    _case("impossible value", _with(lambda raw: raw["holdout"].update(share=1.5)), ".*less than or equal"),
    _case("a name that leads nowhere", _with(lambda raw: raw["dedupe"].update(wrong_label_sources=["2021"])),
          ".*2021.*are not in collect.sources"),
    _case("a domain without re-ranking", _with(lambda raw: raw["rerank"].pop("green")), ".*no entry.*green"),
    _case("a backbone that does not exist",
          _with(lambda raw: raw["models"]["large"].update(backbone="resnet51")), ".*resnet51"),
    _case("alias expansion (a YAML bomb)", _text(BOMB), ".*aliases"),
    _case("duplicate key", _text(b"seed: 1\nseed: 2\n"), ".*'seed' stands twice, again on line 2"),
    _case("1e-3, which YAML reads as text", _text(b"train: {learning_rate: 1e-3}\n"), ".*write 1.0e-3"),
    _case("nested 100,000 deep", _text(b"[" * 100_000), "not a config: its values are nested too deep"),
]  # fmt: skip
