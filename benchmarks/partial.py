"""Partial persons: parts of photographs ask for whole ones, under every way to show and compare them.

    python benchmarks/partial.py train --data MyDataSet --results results --models models [--seeds 0 1 2]
    python benchmarks/partial.py E1 E2 --data MyDataSet --truth TRUTH.csv --models models [--seeds 0 1 2]
    python benchmarks/partial.py E1 --data Market-1501-v15.09.15 --layout market1501 --models models
    python benchmarks/partial.py E1 --data Partial_REID --layout partial_reid --models models

The protocol NP: each of the truth's photographs in turn, cut by a rule (`crops.STRESS`), is the query; all
others, whole, are the gallery; images of its person by its own camera are left out. R1, R3, R5 and mAP in
percent. At y = 1, NP gives the hits of X223 (`x223.py`). With `--single-shot` (NP-1) a query's gallery is one
whole photograph of each person by another camera; ten draws. Of a data set with whole bodies (`--layout`)
the queries are cut and ask for its gallery under Market's rule; of one with partial queries (partial_reid,
partial_ilids, occluded_reid) these ask as they are, all-shot and, where the set has groups, group by group.

A row of a table is a point of four choices: which part of a picture training and test show, how it comes to
the input, what the network does with borders and scale, and how features are compared. Its value is the mean
over seeds. A claim is the difference of two rows on the same queries, its interval a bootstrap over persons.
"holds", or "the contrary holds": the seeds agree in sign and the interval of their mean excludes 0; else
"not shown". Of one seed nothing holds: "seen, one seed". Rows are told as far as their networks were trained.

`train` makes the networks that the experiments ask (`TRAININGS`: models of experiments.yaml with other
words), from the lists of a run of quick.yaml (`--results`), two to four core-minutes each.
"""

import argparse
import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import partial_controls as controls
import torch
from numpy.typing import NDArray
from x223 import Truth

from naic_reid import Extractor
from naic_reid.artifacts import DISTRACTOR, JUNK, Floats, ImageList
from naic_reid.data import layouts
from naic_reid.data.augment import normalised
from naic_reid.data.crops import SEED, STRESS
from naic_reid.data.geometry import Geometry
from naic_reid.data.images import read
from naic_reid.losses.ratio import Ratio
from naic_reid.models.ratio import Guard, RatioPredictor, guarded
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

DRAWS = 10_000

_MOSTLY = {"crop_keep": [0.5, 1.0833], "crop_head": 0.2}
_BLANK = {**_MOSTLY, "crop_then": "blank"}
_MILD = {**_BLANK, "crop_keep": [0.5, 2.0]}
_JUDGED = {"metric_loss": {"name": "visible_triplet", "weight": 3.0, "margin": 1.0}}


def _visible(regions: int, augment: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """VPM, its losses and weights, on a map of six rows."""
    recipe = {**_JUDGED, **({"augment": augment} if augment else {})}
    return "lite_small", {"height": 192, "regions": regions, "recipe": recipe}


_PLAIN: dict[str, Any] = {"backbone": "resnet18", "height": 64, "width": 32}
_MINUTE: dict[str, Any] = {"epochs": 8, "precision": "fp32"}
"""A ResNet-18 from nothing in a core-minute: at 128 × 64 it takes ten, for as weak a network."""
_DECAYS: dict[str, float | None] = {"alone": None, ".9": 0.9, ".99": 0.99}
"""What the teacher's average keeps of itself in a step."""


def _short(**recipe: Any) -> dict[str, Any]:
    """Words of a short training at a quarter of the pixels.

    At the rate of experiments.yaml, which larger maps bear, these learn nothing; training losses chose this.
    """
    return {"height": 64, "width": 32, "recipe": {"epochs": 5, "learning_rate": 1.0e-3, **recipe}}


def _pulled(loss: str, margin: float, decay: str, **recipe: Any) -> dict[str, Any]:
    """The same with a triplet term as heavy as the identity's."""
    metric = {"name": loss, "weight": 1.0, "margin": margin}
    return _short(metric_loss=metric, teacher=_DECAYS[decay], **recipe)


TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": ("lite_small", {}),
    "stretch": ("lite_small", {"recipe": {"augment": _MOSTLY}}),
    "blank": ("lite_small", {"recipe": {"augment": _BLANK}}),
    "mild": ("lite_small", {"recipe": {"augment": _MILD}}),
    "whole_longer": ("lite_small", {"recipe": {"epochs": 16}}),
    "mild_longer": ("lite_small", {"recipe": {"epochs": 16, "augment": _MILD}}),
    "plain_whole": ("wide", {**_PLAIN, "recipe": _MINUTE}),
    "plain_blank": ("wide", {**_PLAIN, "recipe": {**_MINUTE, "augment": _BLANK}}),
    **{
        f"plain_stretch{name}": (
            "wide",
            {**_PLAIN, **words, "recipe": {**_MINUTE, "epochs": 12, "augment": _MOSTLY, **more}},
        )
        for name, words, more in (
            ("", {}, {}),
            ("_known", {}, {"taps": "known"}),
            ("_predicted", {"ratio": 2}, {"taps": "predicted", "ratio": {"loss": "relative_log"}}),
        )
    },
    **{f"visible_{p}_whole": _visible(p, {}) for p in (6, 3, 1)},
    **{f"visible_{p}": _visible(p, {"crop_keep": [0.5, 1.0833]}) for p in (6, 3, 1)},
    **{
        f"{triplet}_{decay}": ("lite_small", _pulled(loss, margin, decay))
        for triplet, loss, margin in (
            ("tri", "pull_triplet", 0.1), ("tri_n", "hard_triplet", 0.1), ("r_tri", "relative_triplet", 0.6),
        )
        for decay in _DECAYS
    },
    "identity_alone": ("lite_small", _short(metric_loss=None)),
    "r_tri_.99_own": ("lite_small", _pulled("relative_triplet", 0.6, ".99", ema=0.99)),
}  # fmt: skip
"""A model of experiments.yaml, and what differs. Borders and scale are asked of a plain ResNet-18. Of `_own`
the average of weights is kept, which is the teacher."""


def _across(model: str) -> tuple[str, dict[str, Any]]:
    """A training whose crops lose columns, too, and whose predictor tells both sides (-x)."""
    base, words = TRAININGS[model]
    recipe = {**words["recipe"], "augment": {**words["recipe"]["augment"], "crop_keep_x": [0.5, 1.0833]}}
    return base, {**words, "ratio_sides": 2, "recipe": recipe}


def _wearing(dimension: int = 0, **attributes: Any) -> tuple[str, dict[str, Any]]:
    """What persons wear is learnt, too; `dimension`: of a linear layer that search sees as well."""
    recipe = {"attributes": {"table": "attributes.mat", **attributes}}
    return "lite_small", {**({"reduction": dimension} if dimension else {}), "recipe": recipe}


TRAININGS |= {
    "plain_stretch_predicted_x": _across("plain_stretch_predicted"),
    "attributes": _wearing(),
    "attributes_bottleneck": _wearing(head="bottleneck"),
    "attributes_drop": _wearing(dropout=0.5),
    "attributes_norm": _wearing(cosine=1.0),
    "attributes_norm_2": _wearing(cosine=2.0),
    "attributes_256d": _wearing(256),
    "attributes_256d_drop": _wearing(256, dropout=0.5),
    "attributes_1024d": _wearing(1024),
    "attributes_128d": _wearing(reduction=128),
    "attributes_128d_norm_2": _wearing(reduction=128, cosine=2.0),
    **{f"attributes_mlp{n}": _wearing(head=f"mlp{n}") for n in (2, 3, 4)},
    "attributes_mlp2_128d": _wearing(reduction=128, head="mlp2"),
}
"""Those of `attributes` want what Market's or Duke's persons wear as attributes.mat in the data folder."""


class Row(NamedTuple):
    """A trained network, and the words of `extract` that it is asked with."""

    model: str
    words: Mapping[str, Any] = {}
    at: Callable[[float], Mapping[str, Any]] | None = None
    """Words that depend on the share of a query that stays, for queries alone."""
    compared: str = ""
    """How a control is asked or compared otherwise: see `partial_controls`."""

    @property
    def count(self) -> int:
        """How many visible regions its network has."""
        return int(TRAININGS[self.model][1].get("regions", 0))

    def regions(self, rows: Floats) -> tuple[Floats, int]:
        """Rows as they are compared, and how many numbers at their end are masses."""
        if self.compared == "stripes":
            features = rows[:, : -self.count]
            return features / np.linalg.norm(features, axis=1, keepdims=True), 0
        if self.compared == "equal":
            return controls.regions_alike(rows, self.count), self.count
        return rows, self.count

    def __str__(self) -> str:
        words = {
            name: f"{value:.3g}" if isinstance(value, float) else value for name, value in self.words.items()
        }
        at_half = [f"queries at half {dict(self.at(0.5))}"] if self.at else []
        told = {"constant": "scale the mean of the predictions"}.get(self.compared, self.compared)
        alike = [f"regions {told}" if self.count else told] if self.compared else []
        return ", ".join(
            [self.model, *alike, *(f"{name} {value}" for name, value in words.items()), *at_half]
        )


class Claim(NamedTuple):
    """One row should score above another on a list."""

    text: str
    better: int
    worse: int
    asked: str
    least: float = 0.0
    """Points of mAP that it should be above; negative: that it may lose."""


@dataclass(frozen=True)
class Experiment:
    """Rows and what is said of them."""

    title: str
    rows: Sequence[Row]
    lists: Sequence[str]
    claims: Sequence[Claim] = field(default=())
    families: Sequence[str] = ()
    """Of published numbers (`reference_partial.csv`) that stand beside."""


def of_networks(experiment: Experiment, models: Collection[str]) -> Experiment:
    """Its rows of these networks, and what is claimed of such."""
    kept = [number for number, row in enumerate(experiment.rows) if row.model in models]
    claims = [
        claim._replace(better=kept.index(claim.better), worse=kept.index(claim.worse))
        for claim in experiment.claims
        if {claim.better, claim.worse} <= {*kept}
    ]
    return replace(experiment, rows=[experiment.rows[number] for number in kept], claims=claims)


def _geometries(model: str) -> list[Row]:
    fitted = [{"geometry": policy, "widen": f} for policy in ("crop", "pad") for f in (1.0, 4 / 3, 1.5)]
    return [Row(model), *(Row(model, words) for words in fitted)]


SHORT = ("legs_0.3", "legs_0.5", "legs_0.7", "legs_1.0", "head_0.5", "head_0.7")
_SHOWN: list[Mapping[str, Any]] = [
    {}, {"geometry": "crop", "widen": 4 / 3}, {"geometry": "pad", "widen": 4 / 3},
]  # fmt: skip
_PAD: dict[str, Any] = {"geometry": "pad", "widen": 4 / 3}
_PADDED: list[Mapping[str, Any]] = [
    _PAD, {**_PAD, "border": "blank"}, {**_PAD, "border": "masked"},
    {**_PAD, "border": "masked", "pool_over": "picture"}, {"geometry": "crop", "widen": 4 / 3},
]  # fmt: skip
_SIZES = [(32, 16), (64, 32), (96, 48), (128, 64)]
_FEWER = [
    Row("whole", {"channels": {"keep": keep, "by": by}})
    for by in ("every", "mean")
    for keep in (640, 320, 160)
]

_OTHERWISE = [
    Row("whole", compared=f"{kind} {keep}") for kind in ("random", "pca") for keep in (640, 320, 160)
]


def _known(share: float) -> Mapping[str, Any]:
    """Bodies of which so much stays are stretched by its inverse; taps go no further than 3."""
    return {"scale": (min(3.0, 1 / share), 1.0)}


EXPERIMENTS = {
    "E1": Experiment(
        "geometry: one network, three ways to bring a part to the input", _geometries("whole"), SHORT,
        [Claim("crop 4/3 above resize at half", 2, 0, "legs_0.5"),
         Claim("pad 4/3 above resize at half", 5, 0, "legs_0.5"),
         Claim("crop 4/3 above pad 4/3 at half", 2, 5, "legs_0.5"),
         Claim("resize above crop 1 on whole bodies", 0, 1, "legs_1.0")],
        ("P1", "P2"),
    ),
    "E2": Experiment(
        "parts in training: none, stretched, blank; mild: blank in one of three images; longer: 16 epochs",
        [Row(m, w) for m in ("whole", "stretch", "blank", "mild", "whole_longer", "mild_longer")
         for w in _SHOWN],
        SHORT,
        [Claim("stretch above whole at half, resize", 3, 0, "legs_0.5"),
         Claim("stretch at most 3 below whole on whole bodies", 3, 0, "legs_1.0", -3),
         Claim("blank: pad above crop at half", 8, 7, "legs_0.5"),
         Claim("whole: crop above pad at half", 1, 2, "legs_0.5"),
         Claim("mild with pad at most 3 below whole on whole bodies", 11, 0, "legs_1.0", -3),
         Claim("mild with pad above whole with resize at half", 11, 0, "legs_0.5", 20),
         Claim("mild with pad above whole with pad at half", 11, 2, "legs_0.5"),
         Claim("longer, mild with pad above whole with pad at half", 17, 14, "legs_0.5"),
         Claim("longer, mild at most 3 below whole on whole bodies", 17, 12, "legs_1.0", -3)],
        ("P2", "P14"),
    ),
    "E3": Experiment(
        "padding: zero, blank, masked", [Row(m, w) for m in ("plain_whole", "plain_blank") for w in _PADDED],
        ("legs_0.5", "legs_1.0"),
        [Claim("whole-trained: pooled over the input, masks lose to zero", 0, 2, "legs_0.5"),
         Claim("whole-trained: crop at most .1 above masks pooled over the picture", 3, 4, "legs_0.5", -0.1),
         Claim("whole-trained: blank above zero", 1, 0, "legs_0.5"),
         Claim("blank-trained: blank above zero", 6, 5, "legs_0.5")],
        ("P2", "P3"),
    ),
    "E4": Experiment(
        "scale by hand: taps of queries spread vertically",
        [Row("plain_whole"), Row("plain_whole", at=_known),
         Row("plain_whole", at=lambda _: {"scale": (2.0, 1.0)}),
         Row("plain_whole", {"geometry": "crop", "widen": 4 / 3})],
        ("legs_0.4", "legs_0.5", "legs_0.7", "legs_1.0"),
        [Claim("1/y above 1 at half", 1, 0, "legs_0.5"),
         Claim("2 costs 30 points on whole bodies", 0, 2, "legs_1.0", 30),
         Claim("crop at most 5 below 1/y at half", 3, 1, "legs_0.5", -5)],
        ("P10",),
    ),
    "E5": Experiment(
        "sizes: the input, and the taps with it",
        [Row("plain_whole", {"size": size, **scale}) for size in _SIZES for scale in ({}, {"scale": "size"})],
        ("legs_1.0",),
        [Claim("taps at ×1.5", 5, 4, "legs_1.0"), Claim("taps at ×2", 7, 6, "legs_1.0"),
         Claim("×1.5 with taps above ×.5 with taps", 5, 1, "legs_1.0")],
        ("P12", "P13"),
    ),
    "E6": Experiment(
        "kernels whose taps follow a crop while learning, beside the same crops without",
        [Row("plain_stretch"), Row("plain_stretch_known", at=_known),
         Row("plain_stretch_predicted", {"scale": "predicted"}),
         Row("plain_stretch", {"geometry": "crop", "widen": 4 / 3}), Row("plain_stretch_known"),
         Row("plain_stretch_predicted", at=_known), Row("plain_stretch_predicted", compared="constant"),
         Row("plain_stretch_predicted")],
        ("legs_0.3", "legs_0.5", "legs_1.0"),
        [Claim("known above plain with the same crops at half", 1, 0, "legs_0.5"),
         Claim("predicted above plain with the same crops at half", 2, 0, "legs_0.5"),
         Claim("known above plain below the trained range", 1, 0, "legs_0.3"),
         Claim("predicted at most 3 below plain on whole bodies", 2, 0, "legs_1.0", -3),
         Claim("known above crop, plain kernels, at half", 1, 3, "legs_0.5"),
         Claim("known above taps at 1, same weights, at half", 1, 4, "legs_0.5"),
         Claim("predicted at most 1 below known, same weights, at half", 2, 5, "legs_0.5", -1),
         Claim("predicted above their mean, same weights, at half", 2, 6, "legs_0.5"),
         Claim("predicted above taps at 1, same weights, at half", 2, 7, "legs_0.5")],
        ("P5", "P14"),
    ),
    "E8": Experiment(
        "visible regions (VPM): p, trained on upper parts or on whole bodies",
        [*(Row(f"visible_{p}{crops}") for crops in ("", "_whole") for p in (6, 3, 1)),
         *(Row("visible_3", compared=how) for how in ("equal", "stripes", "known"))],
        ("legs_0.3", "legs_0.5", "legs_0.7", "legs_1.0"),
        [Claim("six regions above one on whole bodies", 0, 2, "legs_1.0"),
         Claim("three regions above one on whole bodies", 1, 2, "legs_1.0"),
         Claim("three regions above one at half", 1, 2, "legs_0.5"),
         Claim("three regions: crops above none at half", 1, 4, "legs_0.5"),
         Claim("one region: crops above none at half", 2, 5, "legs_0.5"),
         Claim("without crops, three regions above one at half", 4, 5, "legs_0.5"),
         Claim("masses above equal ones at half", 1, 6, "legs_0.5"),
         Claim("the distance above that of stripes at half", 1, 7, "legs_0.5"),
         Claim("located masses at most 1 below known ones at half", 1, 8, "legs_0.5", -1)],
        ("P10", "P14"),
    ),
    "E9": Experiment(
        "triplets that only pull, with and without a teacher",
        [*(Row(f"{triplet}_{decay}") for triplet in ("tri", "tri_n", "r_tri") for decay in _DECAYS),
         Row("identity_alone"), Row("r_tri_.99_own")],
        ("legs_1.0",),
        [Claim("r-tri alone below r-tri with .99", 8, 6, "legs_1.0"),
         Claim("r-tri alone below tri-n alone", 3, 6, "legs_1.0"),
         Claim("tri-n with .99 at most 1 below tri-n alone", 5, 3, "legs_1.0", -1),
         Claim("r-tri with .99 at most 1 below tri-n alone", 8, 3, "legs_1.0", -1),
         Claim("r-tri with .99 above the identity loss alone", 8, 9, "legs_1.0"),
         Claim("r-tri with .99 at most 1 below its teacher's own features", 8, 10, "legs_1.0", -1)],
        ("P15",),
    ),
    "E10": Experiment(
        "fewer numbers", [Row("whole"), *_FEWER, *_OTHERWISE], ("legs_1.0", "legs_0.5"),
        [Claim("half of the channels lose less than 1", 1, 0, "legs_1.0", -1),
         Claim("every above mean at 640", 1, 4, "legs_1.0"),
         Claim("every above mean at 160", 3, 6, "legs_1.0"),
         Claim("every above drawn ones at 640", 1, 7, "legs_1.0"),
         Claim("every above drawn ones at 160", 3, 9, "legs_1.0"),
         Claim("every above PCA at 640", 1, 10, "legs_1.0"),
         Claim("every above PCA at 160", 3, 12, "legs_1.0")],
        ("P19",),
    ),
}  # fmt: skip


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


def difference(better: Sequence[Asked], worse: Sequence[Asked]) -> tuple[list[float], float, float]:
    """mAP points by seed, and the 95 % interval of their mean, by a bootstrap over persons."""
    gains = np.array([one.precision - other.precision for one, other in zip(better, worse, strict=True)])
    valid = ~np.isnan(gains[0])
    mean, who = gains.mean(0)[valid], np.unique(better[0].persons[valid], return_inverse=True)[1]
    sums, counts = np.bincount(who, mean), np.bincount(who)
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return (100 * gains[:, valid].mean(1)).tolist(), 100 * float(low), 100 * float(high)


def judged(text: str, better: Sequence[Asked], worse: Sequence[Asked], least: float = 0.0) -> str:
    """A claim's line: what is better should be so by more than `least` points."""
    gains, low, high = difference(better, worse)
    shown, many = "not shown", len(gains) > 1
    if low > least and all(gain > least for gain in gains):
        shown = "holds" if many else "seen, one seed"
    elif high < least and all(gain < least for gain in gains):
        shown = "the contrary holds" if many else "the contrary is seen, one seed"
    told = " ".join(f"{gain:+.1f}" for gain in gains)
    return f"| {text} | {told} | {low:+.1f} … {high:+.1f} | {shown} |"


class Taken:
    """Features of every row, list and seed that is asked for, each taken once and kept in a file."""

    def __init__(
        self, models: Path, test: Pictures, learnt: Sequence[Path] = (), *, single_shot: bool = False
    ) -> None:
        """`learnt` are the images that networks were trained on, which some controls ask for."""
        self._models, self.test, self._learnt = models, test, learnt
        self._usual = "single_shot" if single_shot else "all_shot"

    def seeds(self, row: Row, wanted: Sequence[int]) -> list[int]:
        """Those of the seeds with which the row's network was trained; none where the row cannot be asked."""
        unknown = row.compared == "known" and self.test.lists  # how much partial queries show
        if unknown or (row.compared.startswith("pca") and not self._learnt):
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
        if kind == "pca":
            learnt = self._features(self._checkpoint(row, seed), {}, self._pictures, "learnt")
            return controls.components(rows, int(keep), learnt)
        return rows

    @cached_property
    def _pictures(self) -> list[NDArray[np.uint8]]:
        return [read(path) for path in self._learnt]

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


def run(experiment: Experiment, lists: Sequence[str], taken: Taken, seeds: Sequence[int]) -> list[str]:
    """The lines of an experiment's tables in Markdown, of some of its lists; rows as far as trained."""
    able = {number: taken.seeds(row, seeds) for number, row in enumerate(experiment.rows)}
    found = {
        (number, test, seed): taken.scored(row, test, seed)
        for number, row in enumerate(experiment.rows)
        for test in lists
        for seed in able[number]
    }
    lines = [
        "| R1 / R3 / R5 / mAP | seeds | " + " | ".join(lists) + " |",
        "|---" * (len(lists) + 2) + "|",
    ]
    for number, row in enumerate(experiment.rows):
        cells = [_cell([found[number, test, seed] for seed in able[number]]) for test in lists]
        lines.append(f"| {row} | {' '.join(map(str, able[number])) or '–'} | " + " | ".join(cells) + " |")
    lines += ["", "| claim, mAP | by seed | 95 % of the mean | |", "|---|---|---|---|"]
    for claim in (claim for claim in experiment.claims if claim.asked in lists):
        both = [seed for seed in able[claim.better] if seed in able[claim.worse]]
        sides = [
            [found[number, claim.asked, seed] for seed in both] for number in (claim.better, claim.worse)
        ]
        lines.append(judged(claim.text, *sides, claim.least) if both else f"| {claim.text} | | | not run |")
    return [*lines, *_guards(experiment, lists, taken, able)]


def _guards(
    experiment: Experiment, lists: Sequence[str], taken: Taken, able: Mapping[int, Sequence[int]]
) -> Iterator[str]:
    """What predictors tell of whole pictures and of those with the legs cut, for rows that follow them."""
    cut = [test for test in lists if test.startswith("legs") and STRESS[test].keep[0] < 1]
    follow = [n for n, row in enumerate(experiment.rows) if row.words.get("scale") == "predicted"]
    if follow and len(cut) > 1:
        yield ""
        yield from _GUARD_HEADER
    for number in follow if len(cut) > 1 else ():
        row = experiment.rows[number]
        for seed in able[number]:
            parts = [taken.ratios(row, test, seed) for test in cut]
            changes = [
                torch.full((len(own),), 1 / STRESS[test].keep[0])
                for own, test in zip(parts, cut, strict=True)
            ]
            yield _guard(
                row.model,
                seed,
                guarded(taken.ratios(row, "whole", seed), torch.cat(parts), torch.cat(changes)),
            )


_GUARD_HEADER = (
    "| predictor | seed | ρ on whole: mean, deviation | slope | correlation | RMSE of log ρ | error | |",
    "|---|---|---|---|---|---|---|---|",
)


def _guard(name: str, seed: int, guard: Guard) -> str:
    cells = (f"{value:.3f}" for value in (guard.slope, guard.correlation, guard.rmse, guard.error))
    flag = "collapsed" if guard.collapsed else ""
    return f"| {name} | {seed} | {guard.mean:.3f} ± {guard.deviation:.3f} | {' | '.join(cells)} | {flag} |"


_PREDICTORS = [
    *((2, output, form) for output in ("exp", "linear") for form in ("direct", "relative", "relative_log")),
    *((cut, "exp", "relative_log") for cut in (1, 3, 4)),
]
"""E7: layer that a predictor is cut after, its output, its loss."""


def ratios(data: Path, listed: Path, photographs: Pictures, seeds: Sequence[int]) -> Iterator[str]:
    """E7: predictors alone at 64 × 32, taught by the training list; what they tell of the test's pictures."""
    geometry = Geometry(64, 32)

    def inputs(pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        return normalised(torch.from_numpy(np.stack([geometry.fitted(picture) for picture in pictures])))

    shown = inputs([read(data / path) for path in ImageList.read(listed).paths])
    whole = inputs(photographs.pictures)
    shares = (0.5, 0.6, 0.7, 0.8, 0.9)
    parts = torch.cat([inputs(photographs.cut(f"legs_{share}")) for share in shares])
    changes = torch.tensor(shares).reciprocal().repeat_interleave(len(whole))
    yield from _GUARD_HEADER
    for cut, output, form in _PREDICTORS:
        for seed in seeds:
            predict = taught(shown, seed, cut, output, form)
            told = [torch.cat([predict(some) for some in each.split(64)]) for each in (whole, parts)]
            yield _guard(f"layer {cut}, {output}, {form}", seed, guarded(*told, changes))


def taught(shown: torch.Tensor, seed: int, cut: int, output: str, form: str) -> Callable[..., torch.Tensor]:
    """A predictor after four epochs of all images, in evaluation mode."""
    torch.manual_seed(seed)
    predict, judge, batch, epochs = RatioPredictor(cut, output), Ratio(form), 32, 4
    optimizer = torch.optim.Adam(predict.parameters(), lr=1e-3)
    whole_batches = len(shown) // batch * batch
    order = torch.cat([torch.randperm(len(shown))[:whole_batches] for _ in range(epochs)])
    for rows in order.split(batch):
        optimizer.zero_grad()
        judge(predict, shown[rows], None).backward()
        optimizer.step()
    predict.eval().requires_grad_(False)
    return predict


def published(families: Sequence[str]) -> list[str]:
    """The numbers that the notes give for these families, of networks trained on Market-1501."""
    lines = ["", "| published | on | R1 | R3 | R5 | mAP |", "|---" * 6 + "|"]
    told = [
        [f"{row['family']} {row['row']}", *(row[key] for key in ("set", "R1", "R3", "R5", "mAP"))]
        for row in reference()
        if row["family"] in families
    ]
    return [*lines, *(f"| {' | '.join(cells)} |" for cells in told)]


def reference() -> list[dict[str, str]]:
    """The published numbers, as they stand in the file."""
    with (Path(__file__).parent / "reference_partial.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def told_of(found: Sequence[Asked]) -> str:
    """R1, R3, R5 and mAP in percent, the mean over seeds."""
    valid = ~np.isnan(found[0].precision)
    ranks = [np.mean([np.mean(one.first[valid] <= k) for one in found]) for k in (1, 3, 5)]
    precision = np.mean([one.precision[valid].mean() for one in found])
    return " / ".join(f"{100 * value:.1f}" for value in (*ranks, precision))


def _cell(found: Sequence[Asked]) -> str:
    return told_of(found) if found else "–"


def train(options: argparse.Namespace) -> None:
    """Train what is missing."""
    from ablation import changed
    from peer import CONFIG, ours

    from naic_reid import config

    settings = config.load(CONFIG)
    worn = (options.data / "attributes.mat").exists()
    able = [name for name in TRAININGS if worn or not name.startswith("attributes")]
    for seed in options.seeds:
        for name in options.only or able:
            checkpoint = options.models / f"{name}_{seed}.pt"
            if checkpoint.exists():
                continue
            base, words = TRAININGS[name]
            model = changed(settings.models[base], dict(words))
            listed, folder = options.results / "holdout" / "train.tsv", options.models / "scratch" / name
            folder.mkdir(parents=True, exist_ok=True)
            ours(seed, settings.train, model, options.data, listed, folder).replace(checkpoint)
            print(checkpoint, flush=True)


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="+", choices=["train", "E7", *EXPERIMENTS])
    add_test(parser)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="train, E7, E10's PCA: a run of quick.yaml"
    )
    parser.add_argument("--models", type=Path, required=True, help="NAME_SEED.pt and kept features")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--single-shot", action="store_true", help="NP-1: a drawn picture of each person")
    parser.add_argument("--lists", nargs="*", choices=list(STRESS), help="of an experiment's, these alone")
    parser.add_argument("--only", nargs="*", choices=list(TRAININGS), help="these networks alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "train" in options.what:
        train(options)
    if "E7" in options.what:
        photographs = Pictures.of_truth(options.data, options.truth)
        listed = options.results / "holdout" / "train.tsv"
        print("\n## E7: ratios\n")
        for line in ratios(options.data, listed, photographs, options.seeds):
            print(line, flush=True)
    names = [name for name in options.what if name in EXPERIMENTS]
    if names:
        listed = options.results / "holdout" / "train.tsv"
        learnt = ImageList.read(listed).paths if options.truth and listed.exists() else ()
        paths = [options.data / path for path in learnt]
        taken = Taken(options.models, pictures(options), paths, single_shot=options.single_shot)
        for name in names:
            print(f"\n## {name}: {EXPERIMENTS[name].title}\n")
            experiment = of_networks(EXPERIMENTS[name], options.only or TRAININGS)
            own = taken.test.lists or experiment.lists
            lists = [test for test in own if test in (options.lists or own)]
            print("\n".join(run(experiment, lists, taken, options.seeds)), flush=True)
            print("\n".join(published(experiment.families)))


if __name__ == "__main__":
    main()
