"""The rows of FastReID's model zoo, and each of them as one whole config, put together from fragments.

A row is a data set, a method and a backbone. `configs/zoo/` holds a fragment for each method and each data
set, what all share (`base.yaml`), the weights each backbone starts from (`backbones.yaml`), and the table of
published numbers (`rows.csv`). What is put together is a flat config that one can read and diff; nothing is
inherited when it runs. Recipes are those of the release of July 2020, which made the published numbers.
"""

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from naic_reid import config
from naic_reid.errors import ReidError
from naic_reid.shipped import HOME

_HOME = HOME / "configs" / "zoo"


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

    @property
    def name(self) -> str:
        """As commands take it: data/method/backbone."""
        return f"{self.data}/{self.method}/{self.backbone}"

    @property
    def published(self) -> str:
        """The numbers that there are, in words."""
        numbers = {name: getattr(self, name) for name in ("R1", "R5", "mAP", "mINP")}
        return ", ".join(f"{name} {value:g}" for name, value in numbers.items() if value is not None)


def rows() -> list[Row]:
    """All rows, as they stand in the table."""
    with (_HOME / "rows.csv").open(encoding="utf-8", newline="") as handle:
        return [_row(line) for line in csv.DictReader(handle)]


def row(name: str) -> Row:
    """The row of that name.

    Raises:
        ReidError: there is none; near ones are named.
    """
    known = {one.name: one for one in rows()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[:3]
        raise ReidError(f"the zoo has no row {name}; near: {', '.join(near)}; naic-reid zoo lists them all")
    return known[name]


def settings(chosen: Row) -> dict[str, Any]:
    """The row's config as plain values, whole and valid."""
    shared, method, data, weights = (
        _fragment(place) for place in ("base", f"methods/{chosen.method}", f"data/{chosen.data}", "backbones")
    )
    whole: dict[str, Any] = {}
    for fragment in (shared, method, data):
        whole = _joined(whole, fragment)
    model = {"backbone": chosen.backbone} | whole.pop("model") | weights.get(chosen.backbone, {})
    whole["models"] = {chosen.method: model}
    config.parse(yaml.safe_dump(whole), chosen.name)
    return whole


def written(chosen: Row) -> str:
    """The row's config as a file: where it comes from and what was published, then its settings."""
    head = [
        f"# {chosen.name}: published {chosen.published}",
        "# FastReID's zoo, release of July 2020. Weights to start from lie in data/weights/, or write null.",
        f"#   bash run.sh --config THIS --data FOLDER   (or --zoo {chosen.name} in its place)",
    ]
    return "\n".join(head) + "\n\n" + yaml.safe_dump(settings(chosen), sort_keys=False, width=100)


def _row(line: Mapping[str, str]) -> Row:
    numbers = {name: float(line[name]) if line[name] else None for name in ("R1", "R5", "mAP", "mINP")}
    return Row(line["data"], line["method"], line["backbone"], **numbers)


def _fragment(place: str) -> dict[str, Any]:
    path = _HOME / f"{place}.yaml"
    found: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return found


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables' entries; the second's count. Tables within are joined likewise; a loss is whole."""
    joined = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(joined.get(key), Mapping)
        joined[key] = _joined(joined[key], value) if both and not key.endswith("_loss") else value
    return joined
