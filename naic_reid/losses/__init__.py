"""Room: features and labels → a scalar to make small.

Identity losses hold a row per class and judge features after the bottleneck:
`forward(features [B, D], labels int64 [B]) → (loss, logits [B, C] without margin)`. Metric losses
compare the batch with itself, before the bottleneck: `forward(embeddings [B, D], labels) → loss`.
All compute in float32, whatever autocast says.

To add one: a module here, a line in a dict, a literal in `config/training.py`, an oracle in the tests.
"""

import inspect
from collections.abc import Callable

from torch import nn

from naic_reid.errors import ReidError
from naic_reid.losses.angular import AMSoftmax, ArcFace, ArcFaceFastReID, Circle, CosFace, Sphere
from naic_reid.losses.attributes import AttributeLoss
from naic_reid.losses.batch import (
    BatchCircle,
    Contrastive,
    Instance,
    InstanceIdentity,
    Lifted,
    MinedTriplet,
)
from naic_reid.losses.center import Center
from naic_reid.losses.consistency import CONSISTENCIES as CONSISTENCIES
from naic_reid.losses.linear import Linear, LinearFastReID
from naic_reid.losses.pairwise import PairwiseCircle, PairwiseCosFace
from naic_reid.losses.triplet import (
    HardTriplet,
    PullTriplet,
    RelativeTriplet,
    VisibleTriplet,
    WeightedTriplet,
    WeightedTripletFastReID,
)

__all__ = ["IDENTITY_LOSSES", "METRIC_LOSSES", "AttributeLoss", "build_identity", "build_metric"]

IDENTITY_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "arcface": ArcFace,
    "arcface_fastreid": ArcFaceFastReID,
    "cosface": CosFace,
    "am_softmax": AMSoftmax,
    "circle": Circle,
    "sphere": Sphere,
    "linear": Linear,
    "linear_fastreid": LinearFastReID,
}

METRIC_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "weighted_triplet": WeightedTriplet,
    "weighted_triplet_fastreid": WeightedTripletFastReID,
    "hard_triplet": HardTriplet,
    "pull_triplet": PullTriplet,
    "relative_triplet": RelativeTriplet,
    "visible_triplet": VisibleTriplet,
    "center": Center,
    "pairwise_cosface": PairwiseCosFace,
    "pairwise_circle": PairwiseCircle,
    "batch_circle": BatchCircle,
    "mined_triplet": MinedTriplet,
    "contrastive": Contrastive,
    "lifted": Lifted,
    "instance": Instance,
    "instance_identity": InstanceIdentity,
}


def build_identity(
    name: str,
    num_classes: int,
    dimension: int,
    *,
    scale: float | None = None,
    margin: float | None = None,
    smoothing: float | None = None,
) -> nn.Module:
    """The identity loss of that name, with its class rows drawn; None leaves the loss's own default.

    Raises:
        ReidError: no such loss, or the loss has no such option.
    """
    factory = _found(IDENTITY_LOSSES, name, "identity")
    options = {"scale": scale, "margin": margin, "smoothing": smoothing}
    return factory(num_classes, dimension, **_accepted(factory, name, options))


def build_metric(
    name: str,
    num_classes: int,
    dimension: int,
    *,
    scale: float | None = None,
    margin: float | None = None,
    smoothing: float | None = None,
    regions: int | None = None,
) -> nn.Module:
    """The metric loss of that name; the sizes matter only to one that keeps something per class.

    `regions` are the network's visible regions; None: it is not known whether it has any.

    Raises:
        ReidError: no such loss, the loss has no such option, or it does not judge such a network.
    """
    factory = _found(METRIC_LOSSES, name, "metric")
    options = _accepted(factory, name, {"scale": scale, "margin": margin, "smoothing": smoothing})
    known = inspect.signature(factory).parameters
    if regions is not None and bool(regions) != ("regions" in known):
        remedy = "take visible_triplet, or none" if regions else "take another, or set regions"
        raise ReidError(f"metric_loss {name}: visible regions are judged by no other loss: {remedy}")
    if regions:
        return factory(regions=regions, **options)
    if "num_classes" in known:
        return factory(num_classes, dimension, **options)
    return factory(**options)


def _found(losses: dict[str, Callable[..., nn.Module]], name: str, kind: str) -> Callable[..., nn.Module]:
    if name not in losses:
        raise ReidError(f"{name}: no {kind} loss; there are {', '.join(losses)}")
    return losses[name]


def _accepted(
    factory: Callable[..., nn.Module], name: str, options: dict[str, float | None]
) -> dict[str, float]:
    given = {option: value for option, value in options.items() if value is not None}
    known = inspect.signature(factory).parameters
    unknown = [option for option in given if option not in known]
    if unknown:
        raise ReidError(f"the loss {name} has no {', '.join(unknown)}: leave it out of the config")
    return given
