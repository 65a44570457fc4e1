"""What `evaluate` found of one domain, read back: the scores of every ranking, and each query's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from naic_reid.artifacts import MadeBy, read_json
from naic_reid.errors import ReidError
from naic_reid.retrieval import comparison, metrics, protocols
from naic_reid.retrieval.comparison import Shares
from naic_reid.retrieval.metrics import Doubles, Hits, Ints64

POOLED = "pooled"
"""What all domains of a competition together are called."""


class Row(NamedTuple):
    """One ranking: by a member or the fusion, plain or re-ranked."""

    kind: dict[str, Any]
    """`member`, `reranked` and, where it is so, `multiple`: by multiple queries."""
    scores: dict[str, Any]
    """Means as fractions, by name."""
    each: dict[str, Doubles]
    """Every query's own [Q], see `metrics.each`; sums over trials where there are several."""
    histogram: Mapping[str, Any] = MappingProxyType({})
    """`top`, `same`, `different`: how many pairs lie at which distance; empty where it was not asked."""
    limits: Mapping[str, float] = MappingProxyType({})
    """False-positive rate → the distance below which so many of two persons' pairs lie."""

    @property
    def name(self) -> str:
        """As on the card: `fusion, re-ranked`."""
        return f"{self.kind['member']}, {distance(self.kind)}"


class Scored(NamedTuple):
    """One domain, or several of a competition together."""

    names: Sequence[str]
    """Paths of the queries [Q], as listed."""
    persons: Sequence[str]
    """Who is on them [Q]."""
    protocol: str
    rules: dict[str, str]
    rows: list[Row]
    elsewhere: Ints64
    """Positives of each query in galleries that it is not ranked against [Q]."""
    found: list[Hits]
    """Of every row; none where there were several trials."""
    made_by: MadeBy

    def shares(self, row: Row, only: Sequence[str] = comparison.SCORES) -> Shares:
        """What each person adds to the row's scores."""
        return comparison.by_person(self.persons, {name: row.each[name] for name in ("counted", *only)})


def read(path: Path) -> Scored:
    """The domain's file.

    Raises:
        ReidError: it cannot be read or holds something else; the message names it.
    """
    try:
        made_by, told = read_json(path, "Scores")
        elsewhere = np.asarray(told["elsewhere"], np.int64)
        rule = protocols.named(told["protocol"])
        hits = [_hits(entry["hits"]) for entry in told["entries"] if "hits" in entry]
        own = [
            metrics.each(found, trapezoid=rule.trapezoid, all_queries=rule.all_queries) for found in hits
        ] or [
            {name: np.asarray(values, np.float64) for name, values in entry["each"].items()}
            for entry in told["entries"]
        ]
        rows = [
            Row(_kind(entry), entry["scores"], each, entry.get("histogram", {}), entry.get("limits", {}))
            for entry, each in zip(told["entries"], own, strict=True)
        ]
        lengths = {len(each[name]) for each in own for name in ("counted", *comparison.SCORES)}
        if lengths - {len(told["names"])} or not len(told["names"]) == len(told["persons"]) == len(elsewhere):
            raise ValueError("not every query is scored")
        return Scored(
            told["names"], told["persons"], rule.name, dict(told["rules"]), rows, elsewhere, hits, made_by
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ReidError(f"{path}: not a file of scores: {error!r}; run evaluate again") from error


def pooled(domains: Sequence[Scored]) -> Scored:
    """All queries together; positives in another domain's gallery count and are never found.

    Raises:
        ReidError: the domains were scored with different members.
    """
    elsewhere = np.concatenate([domain.elsewhere for domain in domains])
    rows, found = [], []
    for number, row in enumerate(domains[0].rows):
        kinds = [domain.rows[number].kind if len(domain.rows) > number else None for domain in domains]
        if any(kind != row.kind for kind in kinds) or len({len(domain.rows) for domain in domains}) > 1:
            raise ReidError(
                "the domains' scores were made with different members: run evaluate again for all"
            )
        hits = Hits.joined([domain.found[number] for domain in domains])
        rows.append(Row(row.kind, dict(metrics.score(hits, elsewhere)), metrics.each(hits, elsewhere)))
        found.append(hits)
    names = [name for domain in domains for name in domain.names]
    persons = [person for domain in domains for person in domain.persons]
    return Scored(
        names, persons, domains[0].protocol, domains[0].rules, rows, elsewhere, found, domains[0].made_by
    )


def distance(kind: dict[str, Any]) -> str:
    """What a row ranks by."""
    return ("re-ranked" if kind["reranked"] else "plain") + ", multiple" * ("multiple" in kind)


def _kind(entry: dict[str, Any]) -> dict[str, Any]:
    multiple = {"multiple": True} if entry.get("multiple") else {}
    return {"member": str(entry["member"]), "reranked": bool(entry["reranked"]), **multiple}


def _hits(told: dict[str, list[float]]) -> Hits:
    kinds = Hits.empty()
    return Hits(**{name: np.asarray(values, getattr(kinds, name).dtype) for name, values in told.items()})
