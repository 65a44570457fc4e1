"""Room: an image → an embedding and a feature.

`BACKBONES` lists the networks of our own; `timm/<name>` is any of timm's. To add one: a module here,
a line in the dict, a name in `architecture.py`.
"""

from collections.abc import Callable

from torch import Tensor, nn

from naic_reid.architecture import Architecture
from naic_reid.errors import ReidError, extra
from naic_reid.models import heads, resnet_ibn
from naic_reid.models.embedder import Embedder
from naic_reid.models.pooling import POOLINGS
from naic_reid.models.resnet_ibn import ResNet

BACKBONES: dict[str, Callable[[int], ResNet]] = {
    "resnet18": resnet_ibn.resnet18,
    "resnet34": resnet_ibn.resnet34,
    "resnet50": resnet_ibn.resnet50,
    "resnet101": resnet_ibn.resnet101,
    "resnet18_ibn_a": resnet_ibn.resnet18_ibn_a,
    "resnet34_ibn_a": resnet_ibn.resnet34_ibn_a,
    "resnet50_ibn_a": resnet_ibn.resnet50_ibn_a,
    "resnet101_ibn_a": resnet_ibn.resnet101_ibn_a,
    "resnet18_ibn_b": resnet_ibn.resnet18_ibn_b,
    "resnet34_ibn_b": resnet_ibn.resnet34_ibn_b,
    "resnet50_ibn_b": resnet_ibn.resnet50_ibn_b,
    "resnet101_ibn_b": resnet_ibn.resnet101_ibn_b,
    "se_resnet50_ibn_a": resnet_ibn.se_resnet50_ibn_a,
    "se_resnet101_ibn_a": resnet_ibn.se_resnet101_ibn_a,
}
"""Name → a function of the last stage's stride that returns the network, randomly drawn."""


def build(architecture: Architecture) -> Embedder:
    """A randomly drawn embedder.

    Raises:
        ReidError: no such backbone, or it cannot work so; near names are given.
    """
    backbone, dimension, as_map = _backbone(architecture)
    if as_map is not None and architecture.pooling == "gem":
        raise ReidError(
            f"backbone {architecture.backbone}: its features may be negative, which the generalised mean "
            "takes for 0; set pooling: average"
        )
    return Embedder(backbone, _head(architecture, dimension), as_map, architecture.standardise)


def _backbone(architecture: Architecture) -> tuple[nn.Module, int, Callable[[Tensor], Tensor] | None]:
    """The network, the width of its map, and what turns its output into one, where that is needed."""
    name = architecture.backbone
    if not name.startswith("timm/"):
        resnet = BACKBONES[name](architecture.last_stride)
        return resnet, resnet.dimension, None
    # Here, for importing timm takes seconds.
    with extra("recipes", f"backbone {name}"):
        from naic_reid.models.timm_backbone import timm_backbone

    return timm_backbone(name.removeprefix("timm/"), architecture.height, architecture.width)


def _head(architecture: Architecture, dimension: int) -> heads.Head:
    pooling = POOLINGS[architecture.pooling]()
    if architecture.stripes:
        return heads.stripes(pooling, POOLINGS["average"](), dimension, architecture.stripes)
    return heads.single(pooling, dimension)
