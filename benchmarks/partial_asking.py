"""Who asks whom on partial persons, and what becomes of each query: features taken once, and ranked."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import partial_controls as controls
import torch
from numpy.typing import NDArray
from partial_experiments import Row
from x223 import Truth

from naic_reid import Extractor
from naic_reid.artifacts import DISTRACTOR, JUNK, Floats
from naic_reid.data import layouts
from naic_reid.data.crops import SEED, STRESS
from naic_reid.data.images import read
from naic_reid.retrieval import metrics
from naic_reid.retrieval.protocols import (
    PROTOCOLS,
    Columns,
    Labels,
    Trial,
    meetings,
    numbered,
    orders,
    trials,
)
from naic_reid.retrieval.vectors import similarities


class Asked(NamedTuple):
    """What became of each query under one row, list and seed."""

    precision: NDArray[np.float64]
    """[Q] average precision; not a number where nobody else's camera saw its person."""
    first: NDArray[np.int64]
    """[Q] rank of the first hit, from 1."""
    persons: NDArray[np.int64]
    """[Q]."""


@dataclass(frozen=True)
class Pictures:
    """A test's images, who is on them, and which of them ask for which."""

    names: Sequence[str]
    pictures: Sequence[NDArray[np.uint8]]
    labels: Labels
    asks: NDArray[np.int64]
    searched: NDArray[np.int64]
    kind: str = ""
    """The layout; empty: the photographs under NP, where every image asks for all others."""

    @classmethod
    def of_truth(cls, data: Path, path: Path) -> "Pictures":
        """All images that a truth names."""
        truth = Truth.read(path)
        subsets = ["query" if is_query else "gallery" for is_query in truth.is_query]
        names = [f"{subset}/{name}" for subset, name in zip(subsets, truth.names, strict=True)]
        everyone, no = np.arange(len(names)), np.zeros(len(names), np.bool_)
        who, where = truth.persons.astype(np.int64), truth.cameras.astype(np.int64)
        labels = Labels(who, where, no, np.full(len(names), -1))
        pictures = [read(data / "image_B_v1_1" / name) for name in names]
        return cls(names, pictures, labels, everyone, everyone)

    @classmethod
    def of_layout(cls, data: Path, layout: str) -> "Pictures":
        """The query and gallery images of a data set's folder, junk left out."""
        found = layouts.read(data, layout, ("query", "gallery"))
        rows = [row for role in ("query", "gallery") for row in found.of(role) if row.mark != JUNK]
        columns = Columns(
            [row.identity for row in rows], [row.camera for row in rows], [False] * len(rows),
            [row.mark == DISTRACTOR for row in rows], [row.group for row in rows],
        )  # fmt: skip
        (labels,) = numbered(columns)
        is_query = np.array([row.role == "query" for row in rows])
        names = [f"{row.role}/{row.path}" for row in rows]
        pictures = [read(data / row.path) for row in rows]
        return cls(names, pictures, labels, np.flatnonzero(is_query), np.flatnonzero(~is_query), layout)

    @property
    def lists(self) -> tuple[str, ...]:
        """How partial queries are scored, where a data set brings them; none: whole bodies are cut."""
        return PARTIAL_LISTS.get(self.kind, ())

    def cut(self, test: str) -> list[NDArray[np.uint8]]:
        """Each query's part by the list."""
        return [
            STRESS[test].drawn(*picture.shape[:2], seed=SEED, test=test, image=name).of(picture)
            for name, picture in ((self.names[row], self.pictures[row]) for row in self.asks)
        ]


PARTIAL_LISTS = {
    "partial_reid": ("all_shot", "groups"),
    "partial_ilids": ("all_shot",),
    "occluded_reid": ("all_shot",),
}
"""Layout → how its queries, partial as they are, ask: each for the whole gallery; or group by group."""


def asked(parts: Floats, whole: Floats, test: Pictures, trial: str = "all_shot", regions: int = 0) -> Asked:
    """Every query against all whole pictures but those of its person and camera, or as `trial` says.

    groups: group by group; single_shot: one whole picture of each person by another camera, drawn ten times.
    `regions`: how many numbers at the end of each row are masses of visible regions.
    """
    query, gallery = test.labels.at(test.asks), test.labels.at(test.searched)
    protocol = PROTOCOLS["groups" if trial == "groups" else "market"]
    found = []
    drawn = _single_shot(query, gallery) if trial == "single_shot" else trials(protocol, query, gallery, SEED)
    for queries, rows in drawn:
        met = meetings(protocol, query.at(queries), gallery.at(rows))
        distances = 1 - similarities(parts[queries], whole[rows], regions)
        same = metrics.positives_of(distances, met)
        hits = metrics.hits(metrics.count(distances, 0, same, met), met)
        with np.errstate(invalid="ignore"):
            found.append(Asked(hits.precisions / hits.positives, hits.first, query.identities[queries]))
    return Asked(*map(np.concatenate, zip(*found, strict=True)))


def _single_shot(query: Labels, gallery: Labels) -> Iterator[Trial]:
    """Queries of one camera and a picture of each person by the others, draw by draw."""
    for order in orders(len(gallery), SEED):
        for camera in np.unique(query.cameras):
            elsewhere = order[(gallery.cameras[order] != camera) & (gallery.identities[order] >= 0)]
            first = np.unique(gallery.identities[elsewhere], return_index=True)[1]
            yield Trial(np.flatnonzero(query.cameras == camera), elsewhere[first])


class Taken:
    """Features of every row, list and seed that is asked for, each taken once and kept in a file."""

    def __init__(
        self,
        models: Path,
        test: Pictures,
        learnt: Sequence[tuple[Path, str]] = (),
        *,
        single_shot: bool = False,
    ) -> None:
        """`learnt` are the images that networks were trained on, and of whom, which some controls ask for."""
        self._models, self.test, self._learnt = models, test, learnt
        self._usual = "single_shot" if single_shot else "all_shot"

    def seeds(self, row: Row, wanted: Sequence[int]) -> list[int]:
        """Those of the seeds with which the row's network was trained; none where the row cannot be asked."""
        unknown = row.compared == "known" and self.test.lists  # how much partial queries show
        if unknown or (row.compared.startswith(("pca", "linear")) and not self._learnt):
            return []
        return [seed for seed in wanted if self._checkpoint(row, seed).exists()]

    def scored(self, row: Row, test: str, seed: int) -> Asked:
        checkpoint, words = self._checkpoint(row, seed), dict(row.words)
        if row.compared == "constant":
            told = [self.ratios(row, list_, seed) for list_ in (test, "whole")]
            words["scale"] = controls.constant(torch.cat(told))
        known = float(row.compared == "known")
        whole = self._features(checkpoint, words, self.test.pictures, "whole", known)
        if test in self.test.lists:
            parts = whole[self.test.asks]
        else:
            share = STRESS[test].keep[0]
            for_parts = words | dict(row.at(share) if row.at else {})
            uncut = share == 1 and for_parts == words
            parts = (
                whole[self.test.asks]
                if uncut
                else self._features(checkpoint, for_parts, self.test.cut(test), test, known * share)
            )
        (asking, regions), (shown, _) = (
            row.regions(self._fewer(row, seed, each)) for each in (parts, whole[self.test.searched])
        )
        return asked(asking, shown, self.test, test if test == "groups" else self._usual, regions)

    def ratios(self, row: Row, test: str, seed: int) -> torch.Tensor:
        """log ρ that the row's network tells of a list's parts; whole: of all pictures as they are."""
        uncut = test == "whole" or test in self.test.lists
        pictures = self.test.pictures if uncut else self.test.cut(test)
        return controls.ratios(Extractor.load(self._checkpoint(row, seed), "cpu"), pictures)

    def _fewer(self, row: Row, seed: int, rows: Floats) -> Floats:
        kind, _, keep = row.compared.partition(" ")
        if kind == "random":
            return controls.drawn(rows, int(keep), seed)
        if kind not in ("pca", "linear"):
            return rows
        learnt = self._features(self._checkpoint(row, seed), {}, self._pictures, "learnt")
        if kind == "pca":
            return controls.components(rows, int(keep), learnt)
        return controls.linear(rows, int(keep), learnt, [person for _, person in self._learnt], seed)

    @cached_property
    def _pictures(self) -> list[NDArray[np.uint8]]:
        return [read(path) for path, _ in self._learnt]

    def _checkpoint(self, row: Row, seed: int) -> Path:
        return self._models / f"{row.model}_{seed}.pt"

    def _features(
        self, checkpoint: Path, words: Mapping[str, Any], pictures: Sequence[NDArray[np.uint8]], name: str,
        known: float = 0.0,
    ) -> NDArray[np.float32]:  # fmt: skip
        """`known`: the share of a body that pictures show, told in the locator's place; 0: it looks."""
        told = {**words, "known": known} if known else words
        key = json.dumps(told, sort_keys=True).translate(dict.fromkeys(map(ord, '{}"[] /'), ""))
        kept = checkpoint.with_suffix("") / self.test.kind / f"{name}-{key}.npy"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True, parents=True)
            extractor = Extractor.load(checkpoint, "cpu", **words)
            if known:
                extractor.network.locator = controls.Known(known, extractor.regions)
            np.save(kept, extractor.images(pictures))
        return np.load(kept)


def add_test(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where a test is."""
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="CSV: subset,name,pid,camid; of NP")
    parser.add_argument("--layout", choices=list(layouts.LAYOUTS), help="of --data, in the place of --truth")


def pictures(options: argparse.Namespace) -> Pictures:
    """The test that the options ask for."""
    if (options.truth is None) == (options.layout is None):
        raise SystemExit("give either --truth or --layout")
    if options.truth:
        return Pictures.of_truth(options.data, options.truth)
    return Pictures.of_layout(options.data, options.layout)
