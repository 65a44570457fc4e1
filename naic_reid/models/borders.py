"""A trained network made to look at how its images are shown: at its borders, and with a body's scale."""

import torch
from torch import Tensor, nn

from naic_reid.architecture import Architecture
from naic_reid.models.branches import Branch
from naic_reid.models.embedder import Embedder
from naic_reid.models.heads import WHOLE
from naic_reid.models.sight import OnMap, Sight, require_plain, sighted

_CALIBRATED_AT = 64


def prepared(
    embedder: Embedder, architecture: Architecture, border: str, *, over_picture: bool = False
) -> Sight:
    """Change a network in evaluation mode so that it looks at what it returns; it keeps its parameters.

    Args:
        embedder: folded or not.
        architecture: its.
        border: zero, blank or masked.
        over_picture: pool over the picture's positions alone.

    Raises:
        ReidError: the network has layers for which border or scale mean nothing.
    """
    require_plain(architecture)
    sight = sighted(embedder.backbone, border)
    branch = embedder.branches[WHOLE]
    assert isinstance(branch, Branch)
    if over_picture:
        branch.pooling = OverPicture(branch.pooling, sight)
    _calibrate(embedder)
    return sight


class OverPicture(OnMap, nn.Module):
    """A pooling over the positions inside of the picture."""

    def __init__(self, pooling: nn.Module, sight: Sight) -> None:
        super().__init__()
        self.pooling, self._sight = pooling, sight

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C] of [B, C, h, w]."""
        pooled: Tensor = self.pooling(maps, self._sight.at(self.total_stride))
        return pooled


@torch.no_grad()
def _calibrate(embedder: Embedder) -> None:
    """Show a blank image: what each layer gets of it is what it has outside of its maps."""
    hooks = [
        part.register_forward_pre_hook(lambda part, given: part.calibrate(given[0], _CALIBRATED_AT))
        for part in embedder.modules()
        if isinstance(part, OnMap)
    ]
    some = next(embedder.parameters())
    with torch.autocast(some.device.type, enabled=False):
        embedder(torch.zeros(1, 3, _CALIBRATED_AT, _CALIBRATED_AT, device=some.device))
    for hook in hooks:
        hook.remove()
