"""Configs that do not say what they mean."""

import copy
import os
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


def _pipe(world: World) -> None:
    world.path("config.yaml").unlink()
    os.mkfifo(world.path("config.yaml"))


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
    _case("ten megabytes of keys", lambda world: world.replace(
          "config.yaml", b"".join(b"key%d: 1\n" % at for at in range(700_000))) and None,
          "not a config: [0-9,]+ characters, and 1,000,000 are plenty"),
    _case("a named pipe", _pipe, ".*is a named pipe"),
    _case("0777, which YAML reads as 511", _text(b"seed: 0777\n"), ".*YAML reads 0777 as another number"),
    _case("a checkpoint fused twice", _with(lambda raw: raw["ensemble"].update(epochs=[1, 1])),
          ".*ensemble.epochs: .1. stand twice"),
    _case("a label list outside the data folder",
          _with(lambda raw: raw["collect"]["sources"][0].update(list="/etc/passwd")),
          ".*'/etc/passwd' leaves the data folder"),
    _case("a query folder outside the data folder", _with(lambda raw: raw["split"].update(query="../../q")),
          ".*'../../q' leaves the data folder"),
    _case("query and gallery are one folder",
          _with(lambda raw: raw["split"].update(query="image/", gallery="./image")), ".*would find itself"),
    _case("a batch of 400,000,000", _with(lambda raw: raw["train"].update(batch=400_000_000)),
          ".*train.batch: Input should be less than or equal to"),
    _case("everything is frozen", _with(lambda raw: raw["train"].update(freeze=["*"])), ".*nothing is"),
    _case("a timm network that does not exist",
          _with(lambda raw: raw["models"]["large"].update(backbone="timm/resnet5O")),
          ".*timm has no 'resnet5O'; near: resnet50"),
    _case("k2 beyond the neighbours kept", _with(lambda raw: raw["rerank"]["green"].update(k2=65)),
          ".*search.keep 32 must be at least rerank.green.k2 = 65"),
    _case("fewer names than a submission needs", _with(lambda raw: raw.update(fuse={"best": 10})),
          ".*fuse.best 10: a submission lists 200"),
    _case("a border wider than the picture", _with(lambda raw: raw["train"]["augment"].update(pad=10_000)),
          ".*pad 10000 of models.large: it must be less than the shorter side, 32"),
]  # fmt: skip
