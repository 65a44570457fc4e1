"""The networks that `partial.py` asks: models of experiments.yaml with other words."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from naic_reid import config

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
DECAYS: dict[str, float | None] = {"alone": None, ".9": 0.9, ".99": 0.99}
"""What the teacher's average keeps of itself in a step."""


def _short(**recipe: Any) -> dict[str, Any]:
    """Words of a short training at a quarter of the pixels.

    At the rate of experiments.yaml, which larger maps bear, these learn nothing; training losses chose this.
    """
    return {"height": 64, "width": 32, "recipe": {"epochs": 5, "learning_rate": 1.0e-3, **recipe}}


def _pulled(loss: str, margin: float, decay: str, **recipe: Any) -> dict[str, Any]:
    """The same with a triplet term as heavy as the identity's."""
    metric = {"name": loss, "weight": 1.0, "margin": margin}
    return _short(metric_loss=metric, teacher=DECAYS[decay], **recipe)


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
        for decay in DECAYS
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


def train(
    only: Collection[str], seeds: Sequence[int], *, data: Path, results: Path, models: Path
) -> Iterator[Path]:
    """Train what is missing, of these networks or of all that the data folder allows."""
    from ablation import changed  # wants torchvision, which asking does not
    from peer import CONFIG, ours

    settings = config.load(CONFIG)
    worn = (data / "attributes.mat").exists()
    able = [name for name in TRAININGS if worn or not name.startswith("attributes")]
    for seed in seeds:
        for name in only or able:
            checkpoint = models / f"{name}_{seed}.pt"
            if checkpoint.exists():
                continue
            base, words = TRAININGS[name]
            model = changed(settings.models[base], dict(words))
            folder = models / "scratch" / name
            folder.mkdir(parents=True, exist_ok=True)
            listed = results / "holdout" / "train.tsv"
            ours(seed, settings.train, model, data, listed, folder).replace(checkpoint)
            yield checkpoint
