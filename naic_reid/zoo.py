"""Rows of FastReID's zoo and of the friendly baseline, each as one whole config put together from fragments.

A row is a data set, a method and a backbone. `configs/zoo/` holds a fragment for each method and each data
set, what all share (`base.yaml`), the weights each backbone starts from (`backbones.yaml`), and the table of
published numbers (`rows.csv`). What is put together is a flat config that one can read and diff; nothing is
inherited when it runs. Recipes are those of the release of July 2020, which made the published numbers; those
of today's code, where it differs, are fragments in `head/` on top of them, and its rows are called NAME@head.

The friendly baseline's rows (layumi/Person_reID_baseline_pytorch) are in `baseline/`: a method is some of its
words, joined by +, whose fragments follow one another.
"""

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import yaml

from naic_reid import config
from naic_reid.errors import ReidError
from naic_reid.shipped import HOME

_HOME = HOME / "configs" / "zoo"
_TODAY = "@head"
_BASELINE = "baseline"
SCORES = ("R1", "R5", "mAP", "mINP")


@dataclass(frozen=True)
class Row:
    """A published result: percent, None where none was published."""

    data: str
    method: str
    backbone: str
    R1: float | None
    R5: float | None
    mAP: float | None  # noqa: N815
    mINP: float | None  # noqa: N815
    parameters: int
    """Of the network without the rows of its classes."""
    GFLOPs: float
    """Milliards of multiplications, each with its addition, for one image."""
    split: str = ""
    """What was trained on, where that is not all of the training images: `train`, one less of each person."""
    today: bool = False
    """The recipe of today's code, with which the numbers were not made."""

    @property
    def name(self) -> str:
        """As commands take it: data/method/backbone, and @head for today's recipe."""
        return f"{self.data}/{self.method}/{self.backbone}" + _TODAY * self.today

    @property
    def zoo(self) -> str:
        """Whose it is: "" for FastReID, or baseline."""
        return _BASELINE if self.method.split("+")[0] == _BASELINE else ""

    @property
    def model(self) -> str:
        """What the network is called in the config."""
        return self.zoo or self.method

    @property
    def published(self) -> str:
        """The numbers that there are, in words."""
        numbers = {name: getattr(self, name) for name in SCORES}
        return ", ".join(f"{name} {value:g}" for name, value in numbers.items() if value is not None)


def rows() -> list[Row]:
    """All rows, as they stand in the tables, FastReID's first."""
    found = []
    for place in ("", _BASELINE):
        with (_HOME / place / "rows.csv").open(encoding="utf-8", newline="") as handle:
            found += [_row(line) for line in csv.DictReader(handle)]
    return found


def row(name: str) -> Row:
    """The row of that name.

    Raises:
        ReidError: there is none; near ones are named.
    """
    known = {one.name: one for one in rows()}
    today = [replace(one, today=True) for one in known.values() if _has_two_eras(one)]
    known |= {one.name: one for one in today}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[:3]
        raise ReidError(f"the zoo has no row {name}; near: {', '.join(near)}; naic-reid zoo lists them all")
    return known[name]


class Measured(NamedTuple):
    """What a method reached here, trained small: percent, means over seeds."""

    method: str
    network: str
    seeds: int
    R1: float
    mAP: float  # noqa: N815


def measured() -> list[Measured]:
    """All of them, as they stand in the table."""
    with (_HOME / "measured.csv").open(encoding="utf-8", newline="") as handle:
        return [
            Measured(
                line["method"], line["network"], int(line["seeds"]), float(line["R1"]), float(line["mAP"])
            )
            for line in csv.DictReader(handle)
        ]


def settings(chosen: Row) -> dict[str, Any]:
    """The row's config as plain values, whole and valid."""
    whole = _of_words(chosen) if chosen.zoo else _of_eras(chosen)
    model = {"backbone": chosen.backbone} | whole.pop("model")
    whole["models"] = {chosen.model: model}
    stated = {name: value for name in SCORES if (value := getattr(chosen, name)) is not None}
    # Of the competition nobody else's split is known: the hold-out is nearest to what was measured on.
    domain = next(iter(whole.get("tests", {})), config.HOLDOUT)
    whole["published"] = {domain: {"source": "published", **stated}} if stated else {}
    config.parse(yaml.safe_dump(whole), chosen.name)
    return whole


def _of_eras(chosen: Row) -> dict[str, Any]:
    """FastReID's row: base, method, data and weights, and on them what today's code has otherwise."""
    whole: dict[str, Any] = {}
    for era in ("", "head/") if chosen.today else ("",):
        backbone = _fragment(f"{era}backbones").get(chosen.backbone, {})
        for place in ("base", f"methods/{chosen.method}", f"data/{chosen.data}"):
            whole = _joined(whole, _fragment(f"{era}{place}"))
        whole = _joined(whole, {"model": backbone})
    return whole


def _of_words(chosen: Row) -> dict[str, Any]:
    """The baseline's row: its first word, the network, the other words, and the data."""
    words = _fragment(f"{chosen.zoo}/words")
    first, *others = (words[word] for word in chosen.method.split("+"))
    network = {"model": _fragment(f"{chosen.zoo}/backbones")[chosen.backbone]}
    whole: dict[str, Any] = {}
    for fragment in (first, network, *others, _fragment(f"{chosen.zoo}/data/{chosen.data}")):
        whole = _joined(whole, fragment)
    for loss in whole["train"].get("more_losses", ()):
        if loss.get("weight") == "1/batch":
            loss["weight"] = 1 / whole["train"]["batch"]
    return whole


def written(chosen: Row) -> str:
    """The row's config as a file: where it comes from and what was published, then its settings."""
    era = "as its code of July 2024 has it" if chosen.today else "release of July 2020"
    era = "as its projects/NAIC20 had it" if chosen.data == "naic2020" else era
    whose = "Zheng's friendly baseline" if chosen.zoo else f"FastReID's zoo, {era}"
    head = [
        f"# {chosen.name}: published {chosen.published}"
        + " (by the recipe without @head: this one gave users less)" * chosen.today
        + " (trained without one image of each person)" * (chosen.split == "train"),
        f"# {whose}. Weights to start from lie in data/weights/, or write null.",
        f"#   bash run.sh --config THIS --data FOLDER   (or --zoo {chosen.name} in its place)",
    ]
    return "\n".join(head) + "\n\n" + yaml.safe_dump(settings(chosen), sort_keys=False, width=100)


def _row(line: Mapping[str, str]) -> Row:
    rank1, rank5, precision, inverse = (float(line[name]) if line[name] else None for name in SCORES)
    size = int(line["parameters"]), float(line["GFLOPs"])
    scores = rank1, rank5, precision, inverse
    return Row(line["data"], line["method"], line["backbone"], *scores, *size, line.get("split", ""))


def _has_two_eras(chosen: Row) -> bool:
    return (_HOME / f"head/methods/{chosen.method}.yaml").exists()


def _fragment(place: str) -> dict[str, Any]:
    """Empty where today's code has nothing to say."""
    path = _HOME / f"{place}.yaml"
    if place.startswith("head/") and not path.exists():
        return {}
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables' entries; the second's count. Tables within are joined likewise; a loss is whole.

    Lists of losses follow one another.
    """
    joined = dict(one)
    for key, value in other.items():
        if key == "more_losses":
            joined[key] = [*joined.get(key, ()), *(dict(loss) for loss in value)]
            continue
        both = isinstance(value, Mapping) and isinstance(joined.get(key), Mapping)
        joined[key] = _joined(joined[key], value) if both and not key.endswith("_loss") else value
    return joined
