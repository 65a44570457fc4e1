"""Room: an image → an embedding and a feature.

`BACKBONES` lists the networks of our own; `timm/<name>` is any of timm's. To add one: a module here,
a line in the dict, a name in `architecture.py`.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn

from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError, extra
from naic_reid.models import heads, mgn, pcb, regions, resnet_ibn
from naic_reid.models.embedder import Embedder
from naic_reid.models.osnet import OSNETS, OSNet
from naic_reid.models.pooling import POOLINGS
from naic_reid.models.ratio import RatioPredictor
from naic_reid.models.resnet_ibn import ResNet


def _resnet(make: Callable[..., ResNet], architecture: Architecture) -> nn.Module:
    deep = {"50": (2, 3), "101": (2, 9)}
    depth = "101" if "101" in architecture.backbone else "50"
    net = make(
        architecture.last_stride or 1,
        num_non_local=deep[depth] if architecture.non_local else (0, 0),
        ceil_pool=architecture.ceil_pool,
        usam=architecture.usam,
    )
    return mgn.Trunks(net) if architecture.head.startswith("mgn") else net


def _resnest(architecture: Architecture) -> nn.Module:
    with extra("recipes", f"backbone {architecture.backbone}"):  # it is made of timm's
        from naic_reid.models.resnest import ResNeSt

    added = (0, 0) if not architecture.non_local else (2, 9 if "101" in architecture.backbone else 3)
    stride = architecture.last_stride or 1
    return ResNeSt(architecture.backbone, stride, num_non_local=added, dilated=architecture.dilated)


def _osnet(make: Callable[[], OSNet], _architecture: Architecture) -> nn.Module:
    return make()


BACKBONES: dict[str, Callable[[Architecture], nn.Module]] = {
    **{name: partial(_resnet, make) for name, make in resnet_ibn.RESNETS.items()},
    **{"resnest50": _resnest, "resnest101": _resnest},
    **{name: partial(_osnet, make) for name, make in OSNETS.items()},
}
"""Name → a function of the architecture that returns the network, randomly drawn; it has a `dimension`."""


def build(architecture: Architecture) -> Embedder:
    """A randomly drawn embedder.

    Raises:
        ReidError: no such backbone, or it cannot work so; near names are given.
    """
    backbone, dimension, as_map = _backbone(architecture)
    if as_map is not None and architecture.pooling != "average":
        raise ReidError(
            f"backbone {architecture.backbone}: its features may be negative, which the generalised mean "
            "takes for 0; set pooling: average"
        )
    embedder = Embedder(backbone, _head(architecture, dimension), as_map, architecture.standardise)
    if architecture.ratio:
        embedder.ratio = RatioPredictor(
            architecture.ratio,
            architecture.ratio_output,
            architecture.ratio_steps,
            architecture.ratio_sides,
        )
    return embedder


def require_any_size(architecture: Architecture) -> None:
    """Refuse a network that takes images of one size alone, as vision transformers do.

    Raises:
        ReidError: it is one.
    """
    name = architecture.backbone
    if not name.startswith("timm/"):
        return
    with extra("recipes", f"backbone {name}"):
        from naic_reid.models.timm_backbone import of_one_size

    if of_one_size(name.removeprefix("timm/")):
        raise ReidError(
            f"extract.scales: backbone {name} is built for images of one size, {architecture.height} × "
            f"{architecture.width}: leave it out"
        )


def _backbone(architecture: Architecture) -> tuple[nn.Module, int, Callable[[Tensor], Tensor] | None]:
    """The network, the width of its map, and what turns its output into one, where that is needed."""
    name = architecture.backbone
    if not name.startswith("timm/"):
        net = BACKBONES[name](architecture)
        return net, cast(int, net.dimension), None
    # Here, for importing timm takes seconds.
    with extra("recipes", f"backbone {name}"):
        from naic_reid.models.timm_backbone import timm_backbone

    return timm_backbone(
        name.removeprefix("timm/"),
        architecture.height,
        architecture.width,
        drop_path=architecture.drop_path,
        transition_stride=architecture.transition_stride,
    )


def _head(architecture: Architecture, dimension: int) -> heads.Head:
    pooling = POOLINGS[architecture.pooling]
    if architecture.head == "pcb":
        return pcb.head(pooling(), dimension, architecture.dropout)
    if architecture.head != "single":
        return mgn.head(pooling, dimension, relu=architecture.head == "mgn_relu")
    if architecture.regions:
        return regions.head(pooling(), dimension, architecture.regions)
    if architecture.stripes:
        return heads.stripes(pooling(), POOLINGS["average"](), dimension, architecture.stripes)
    return heads.single(
        pooling(), dimension, architecture.reduction, architecture.dropout, relu=architecture.neck_relu
    )
