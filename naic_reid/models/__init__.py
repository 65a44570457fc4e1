"""Room: an image → an embedding and a feature.

`BACKBONES` lists the networks of our own; `timm/<name>` is any of timm's. To add one: a module here,
a line in the dict, a literal in `config/model.py`.
"""

import difflib
from collections.abc import Callable

from naic_reid.errors import ReidError, extra
from naic_reid.models import resnet_ibn
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


def build(
    backbone: str, *, height: int, width: int, pooling: str, last_stride: int, stripes: int = 0,
    standardise: bool = False,
) -> Embedder:  # fmt: skip
    """A randomly drawn embedder for images of height × width pixels.

    Args:
        backbone: a key of `BACKBONES`, or `timm/<name>`, which keeps its own strides.
        pooling: `gem` or `average`; networks of tokens take `average` only.
        last_stride: of the ResNets' last layer, 1 or 2.
        stripes: of the last map that have features of their own; 0: none.
        standardise: see `Embedder`.

    Raises:
        ReidError: no such backbone, or it cannot work so; near names are given.
    """
    if backbone.startswith("timm/"):
        # Here, for importing timm takes seconds.
        with extra("recipes", f"backbone {backbone}"):
            from naic_reid.models.timm_backbone import timm_backbone

        net, dimension, as_map = timm_backbone(backbone.removeprefix("timm/"), height, width)
        if as_map is not None and pooling == "gem":
            raise ReidError(
                f"backbone {backbone}: its features may be negative, which the generalised mean "
                "takes for 0; set pooling: average"
            )
        return Embedder(net, POOLINGS[pooling](), dimension, as_map, stripes, standardise)
    if backbone not in BACKBONES:
        near = difflib.get_close_matches(backbone, BACKBONES, n=3) or list(BACKBONES)
        raise ReidError(f"backbone {backbone}: unknown; near: {', '.join(near)}; or timm/<name>")
    resnet = BACKBONES[backbone](last_stride)
    return Embedder(resnet, POOLINGS[pooling](), resnet.dimension, None, stripes, standardise)
