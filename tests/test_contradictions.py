"""No two settings contradict each other behind the config's back.

Every pair of a section's settings, each at its least, its greatest and the values between that mean
something, is put into a config. Either the config is refused with a sentence, or what reads these settings
does its work on a small case: it may refuse, too, but not break.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from naic_reid import losses, recipe
from naic_reid.architecture import Architecture
from naic_reid.artifacts import ImageList, MadeBy
from naic_reid.config import (
    IDENTITY_LOSSES,
    METRIC_LOSSES,
    Augment,
    Config,
    Dedupe,
    Extract,
    Fuse,
    Holdout,
    Rerank,
    Schedule,
    Search,
    Train,
)
from naic_reid.config.section import validated
from naic_reid.data import augment, batches, sampler
from naic_reid.data.records import Records
from naic_reid.errors import ReidError
from naic_reid.members import reranking
from naic_reid.models import build
from naic_reid.retrieval.ranking import rank
from naic_reid.stages import dedupe, holdout

Raw = dict[str, Any]
Change = tuple[str, Any]

HUGE = 10**9


def base() -> Raw:
    """A config that holds, of pictures as small as can be."""
    return {
        "collect": {"sources": [{"name": "a", "list": "a.txt", "images": "a"}]},
        "split": {"rule": "none"},
        "holdout": {"share": 0},
        "models": {"small": {"backbone": "timm/test_resnet", "height": 32, "width": 16}},
        "train": {
            "epochs": 60,
            "batch": 8,
            "schedule": {"warmup_epochs": 2, "milestones": [25, 40]},
            "freeze": [],
        },
        "ensemble": {"epochs": [60]},
        "rerank": {"all": {}},
    }


def extremes(schema: Raw) -> list[Any]:
    """The values at the edges of what a JSON schema lets pass."""
    if "anyOf" in schema:
        return [value for one in schema["anyOf"] for value in extremes(one)]
    if "enum" in schema or "const" in schema:
        return list(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "null":
        return [None]
    if kind == "boolean":
        return [False, True]
    if kind == "integer":
        least = schema.get("minimum", schema.get("exclusiveMinimum", -HUGE - 1) + 1)
        return sorted({least, least + 1, schema.get("default") or least, schema.get("maximum", HUGE)})
    if kind == "number":
        least = schema.get("minimum", schema.get("exclusiveMinimum", -1e300))
        most = schema.get("maximum", schema.get("exclusiveMaximum", 1e300))
        edges = [least if "minimum" in schema else math.nextafter(least, 1), most]
        edges[1] = math.nextafter(most, 0) if "exclusiveMaximum" in schema else most
        return [*edges, min(max(0.5, least), most)]
    return []


def edges(section: type[BaseModel], *path: str, only: tuple[str, ...] = ()) -> Iterator[Change]:
    """(dotted key, value) of the plain settings of a section at their edges."""
    for name, schema in section.model_json_schema(by_alias=True)["properties"].items():
        if not only or name in only:
            for value in extremes(schema):
                yield ".".join((*path, name)), value


def put(raw: Raw, change: Change) -> None:
    """Write a value at its dotted key."""
    *sections, name = change[0].split(".")
    for section in sections:
        raw = raw.setdefault(section, {})
    raw[name] = change[1]


def each_pair(changes: list[Change], use: Callable[[Config], None]) -> Counter[str]:
    """What became of the pairs: refused by the config, refused by what reads it, or done."""
    fates: Counter[str] = Counter()
    broken: list[str] = []
    for one, other in itertools.combinations(changes, 2):
        if one[0] == other[0]:
            continue
        raw = base()
        put(raw, one)
        put(raw, other)
        fate = "refused"
        try:
            config: Config = validated(Config, raw, "config")
            fate = "refused late"
            use(config)
            fate = "done"
        except ReidError:
            pass
        except Exception as error:
            broken.append(f"{one}, {other}: {error!r}")
        fates[fate] += 1
    assert not broken, (len(broken), broken[:5])
    assert fates["done"] > fates.total() // 10, fates
    return fates


def test_images_are_varied_under_any_two_words() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), np.uint8)

    def use(config: Config) -> None:
        words = config.train.augment.model_dump()
        drawn = augment.draw(augment.Recipe(**words), 2, 32, 16, np.random.default_rng(1))
        varied = augment.vary(pixels, drawn, config.train.augment.policy, config.train.augment.crop_then)
        erased = augment.finish(torch.from_numpy(varied), torch.from_numpy(drawn.erase), augment.noise(drawn))
        assert torch.isfinite(erased).all()

    fates = each_pair(list(edges(Augment, "train", "augment")), use)
    assert fates["refused"], fates


def test_the_rate_has_a_factor_under_any_two_words_of_the_schedule() -> None:
    changes = [
        *edges(Schedule, "train", "schedule"), *edges(Train, "train", only=("epochs",)),
        ("train.epochs", 60), ("train.schedule.milestones", []), ("train.schedule.milestones", [40, 25]),
        ("train.schedule.milestones", [25, 25]), ("train.schedule.milestones", [60]),
    ]  # fmt: skip

    def use(config: Config) -> None:
        last = config.train.epochs - 1
        for epoch, share in itertools.product((0, 1, 10, last // 2, last), (0.0, 0.5)):
            assert 0 <= recipe.factor(config.train, min(epoch, last), int(10 * share), 10) <= 1

    each_pair(changes, use)


@pytest.mark.parametrize("kind", ["identity_loss", "metric_loss"])
def test_a_loss_judges_under_any_two_of_its_words(kind: str) -> None:
    names = IDENTITY_LOSSES if kind == "identity_loss" else METRIC_LOSSES
    make = losses.build_identity if kind == "identity_loss" else losses.build_metric
    features, labels = torch.randn(8, 16), torch.arange(8) // 2

    def use(config: Config) -> None:
        loss = getattr(config.train, kind)
        options = loss.model_dump(include={"scale", "margin", "smoothing"})
        judge = make(loss.name, 4, 16, **options)
        given = judge(features.clone().requires_grad_(), labels)
        value = given[0] if isinstance(given, tuple) else given
        assert value.shape == ()
        value.backward()

    for name, words in names.items():
        values: dict[str, list[Any]] = {
            word: [None, 0.0, math.nextafter(0, 1), 0.3, 1.0, 1e300] for word in words
        }
        for chosen in itertools.product(*values.values()):
            raw = base()
            raw["train"][kind] = {"name": name, **dict(zip(words, chosen, strict=True))}
            try:
                config = validated(Config, raw, "config")
            except ReidError:
                continue
            use(config)


def test_an_epoch_is_laid_out_under_any_two_words_of_the_batch() -> None:
    paths = tuple(f"{image}.png" for image in range(24))
    persons = [f"a/{image // 3}" for image in range(24)]
    words = ("batch", "num_instances", "accumulate", "channel_shuffles", "steps_per_epoch")

    def use(config: Config) -> None:
        train = config.train
        _, shown, _ = batches.with_shuffled_channels(paths, persons, train.channel_shuffles, 1)
        labels = np.unique(shown, return_inverse=True)[1]
        wanted = recipe.identities(train.batch, train.num_instances, len(set(shown)), train.accumulate)
        laid = sampler.identity_batches(labels, wanted, train.num_instances, 1, 0)
        assert set(laid.ravel()) == set(range(len(shown)))
        assert laid.shape[1] % train.num_instances == 0

    changes = [*edges(Train, "train", only=words), ("train.batch", 16), ("train.batch", 400)]
    fates = each_pair(changes, use)
    assert fates["refused late"], fates  # more persons in a batch than there are


def test_an_optimizer_steps_under_any_two_of_its_words() -> None:
    embedder = build(Architecture(backbone="timm/test_resnet", height=32, width=16))
    words = ("optimizer", "learning_rate", "head_learning_rate", "weight_decay", "ema")

    def use(config: Config) -> None:
        learner = recipe.learner(config.train, embedder, 3)
        optimizer = recipe.optimizer(config.train, learner)
        some = optimizer.param_groups[1]["params"][:2]
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if any(p is one for one in some)]
        for parameter in some:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        recipe.average(config.train, embedder)

    each_pair(list(edges(Train, "train", only=words)), use)


def test_any_two_words_of_search_and_rerank_rank() -> None:
    rng = np.random.default_rng(0)
    query, gallery = (rng.normal(size=(num, 8)).astype(np.float32) for num in (5, 12))

    def use(config: Config) -> None:
        of = config.rerank["all"]
        indices, _ = rank(query, gallery, config.fuse.best, rerank=reranking(of), device="cpu", threads=1)
        assert indices.shape == (5, 12)
        assert config.search.keep >= max(of.k1 + 1, of.k2)

    changes = [
        *edges(Rerank, "rerank", "all"), *edges(Search, "search"), *edges(Fuse, "fuse"),
        *edges(Extract, "extract"), ("rerank.all.k2", 64), ("rerank.all.k2", 65), ("rerank.all.k1", 63),
        ("fuse.best", 199), ("fuse.best", 200),
    ]  # fmt: skip
    fates = each_pair(changes, use)
    assert fates["refused"], fates


def test_any_two_words_of_the_lists_make_lists(tmp_path: Path) -> None:
    rows = [
        (f"a/{at}.png", f"a/{at // 3}", at + 1, f"{at % 20:02}", f"{at % 20:02}", "", "", "")
        for at in range(24)
    ]
    records, kept = tmp_path / "images.tsv", tmp_path / "kept.tsv"
    Records.of(rows, MadeBy()).write(records)

    def use(config: Config) -> None:
        dedupe.run(
            config.collect, config.dedupe, images=records, wrong=[], kept=kept,
            dropped=tmp_path / "dropped.tsv", counts=tmp_path / "counts.tsv",
        )  # fmt: skip
        if config.holdout.asked:
            lists = {role: tmp_path / f"{role}.tsv" for role in ("train", "query", "gallery")}
            holdout.run(1, config.holdout, images=kept, **lists)
            assert len(ImageList.read(lists["train"]))

    changes = [*edges(Dedupe, "dedupe"), *edges(Holdout, "holdout"), ("rerank.holdout", {})]
    each_pair([change for change in changes if change[0] != "dedupe.wrong_labels"], use)
