"""Backbone → branches: the network that is trained, kept and asked for features."""

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models.branches import Branch, Seen
from naic_reid.models.heads import Head
from naic_reid.models.ratio import RatioPredictor


class Embedder(nn.Module):
    """Images → what each branch sees in them; and from that, one unit feature for each image."""

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        as_map: Callable[[Tensor], Tensor] | None = None,
        standardise: bool = False,
    ) -> None:
        """
        Args:
            backbone: images [B, 3, H, W] → a map [B, C, h, w], or a list of such.
            head: its branches, and what is done with them.
            as_map: turns what the backbone returns into [B, C, h, w], where it is something else.
            standardise: bring each channel of each image to mean 0 and deviation 1 (Ulyanov et al. 2016): a
                colour cast is gone before the network.
        """
        super().__init__()
        self.backbone = backbone
        self.branches = nn.ModuleDict(head.branches)
        self.locator = head.locator
        self.ratio: RatioPredictor | None = None
        """Tells how much taller than usual the body on each image appears, where it is asked for."""
        self.identity_groups, self.metric_groups, self.located = head.identity, head.metric, head.located
        self.dimension = head.dimension
        """Of what `unit` gives."""
        self.regions = head.regions
        """How many of these numbers, the last, are masses of visible regions; 0: none."""
        self._unit, self._as_map, self._standardise = head.unit, as_map, standardise

    def forward(self, images: Tensor) -> dict[str, Seen]:
        """By branch: embeddings for metric losses, and features for identity losses and `unit`, float32.

        Args:
            images: [B, 3, H, W], RGB with ImageNet's mean and deviation removed.
        """
        if self._standardise:
            images = F.instance_norm(images.float())
        maps = self.maps(self.backbone(images))
        if self.locator is not None:
            maps = [*maps, self.locator(maps[0])]
        return {name: branch(maps) for name, branch in self.branches.items()}

    def maps(self, output: Tensor | list[Tensor]) -> list[Tensor]:
        """What a backbone returned as the maps [B, C, h, w] that branches pool; tokens are [B, C, T, 1]."""
        made = output if self._as_map is None else self._as_map(output)  # type: ignore[arg-type]
        return [made] if isinstance(made, Tensor) else made

    def unit(self, seen: dict[str, Seen], parts_weight: float = 1.0) -> Tensor:
        """Rows of length 1 for search, float32 [B, `dimension`], of what the branches saw.

        Args:
            seen: of `forward`, or a sum of such (`branches.summed`).
            parts_weight: of the distance of parts beside 1 for the whole image's, where there are parts.
        """
        return self._unit(seen, parts_weight)

    def width(self, branches: tuple[str, ...]) -> int:
        """Of the rows of these branches side by side."""
        return sum(cast(Branch, self.branches[name]).dimension for name in branches)
