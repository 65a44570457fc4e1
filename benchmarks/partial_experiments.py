"""What is asked of networks on partial persons: rows, and claims that one scores above another."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import partial_controls as controls
from partial_trainings import DECAYS, TRAININGS

from naic_reid.artifacts import Floats


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
    Row("whole", compared=f"{kind} {keep}")
    for kind in ("random", "pca", "linear")
    for keep in (640, 320, 160)
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
         Claim("six regions: crops above none at half", 0, 3, "legs_0.5"),
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
        [*(Row(f"{triplet}_{decay}") for triplet in ("tri", "tri_n", "r_tri") for decay in DECAYS),
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
         Claim("every above PCA at 160", 3, 12, "legs_1.0"),
         Claim("every above a linear layer at 640", 1, 13, "legs_1.0"),
         Claim("every above a linear layer at 160", 3, 15, "legs_1.0")],
        ("P19",),
    ),
}  # fmt: skip
