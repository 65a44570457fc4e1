"""Heads: which branches a network has, which of them each loss judges, and how they join to one unit feature.

To add one: a function here or in a module of its own, a line in `build`, an option in `architecture.py`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models.branches import Branch, Region, Seen

STRIPE_WIDTH = 256
"""Of a stripe's feature (Sun et al. 2018, section 3.1)."""
WHOLE = "whole"
"""The branch over the whole map."""


class Group(NamedTuple):
    """Branches that a loss judges as one, their rows side by side."""

    branches: tuple[str, ...]
    weight: float = 1.0
    """Of this group's loss in its term."""
    term: str = ""
    """A term of its own, of plain cross-entropy with weight 1; "": the recipe's identity loss."""
    massed: bool = False
    """Rows times the masses of their branches."""

    def rows(self, seen: dict[str, Seen], of: str) -> Tensor:
        """float32 [B, ΣD] of the branches' `embedding` or `feature`."""
        rows = []
        for name in self.branches:
            row: Tensor = getattr(seen[name], of)
            mass = seen[name].mass
            rows.append(row if mass is None or not self.massed else row * mass[:, None])
        return rows[0] if len(rows) == 1 else torch.cat(rows, 1)


class Head(NamedTuple):
    """What follows the backbone."""

    branches: Mapping[str, nn.Module]
    identity: tuple[Group, ...]
    """Judged by identity losses, by their features; the first carries the recipe's own."""
    metric: tuple[Group, ...]
    """Judged by metric losses, by their embeddings."""
    unit: Callable[[dict[str, Seen], float], Tensor]
    """What the branches saw, and the weight of parts beside the whole → rows of length 1, float32 [B, D]."""
    dimension: int
    """D, of what `unit` gives."""
    locator: nn.Module | None = None
    """Makes logits [B, p, R] of regions of the first map, which branches find after the maps."""
    located: tuple[Group, Group] | None = None
    """Whose features visible regions are learnt by: the regions side by side, and the locator's logits."""

    @property
    def regions(self) -> int:
        """p: how many numbers at the end of a unit row are masses of visible regions."""
        return len(self.located[0].branches) if self.located else 0


def single(
    pooling: nn.Module, dimension: int, reduction: int = 0, dropout: float = 0.0, *, relu: bool = False
) -> Head:
    """One branch over the whole map: BoT (Luo et al. 2019).

    With `reduction` to so many numbers and `dropout`, the head of the friendly baseline (Zheng et al. 2018);
    with `reduction` and `relu`, OSNet's (Zhou et al. 2019).
    """
    whole = Group((WHOLE,))
    reduced = linear(dimension, reduction) if reduction else None
    width = reduction or dimension
    branches = {WHOLE: Branch(pooling, width, reduction=reduced, dropout=dropout, relu=relu)}
    return Head(branches, (whole,), (whole,), lambda seen, _: F.normalize(seen[WHOLE].feature), width)


def linear(dimension: int, width: int) -> nn.Linear:
    """A reduction as the friendly baseline draws it: Kaiming's normal by its outputs, bias 0."""
    layer = nn.Linear(dimension, width)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    nn.init.zeros_(layer.bias)
    return layer


def stripes(pooling: nn.Module, part_pooling: nn.Module, dimension: int, count: int) -> Head:
    """The whole map, and horizontal stripes of it with features of their own and a weight for each (PCB).

    Source: Sun et al. 2018, section 3.1, with the dynamic weights of the original's PCB branch, and its loss:
    .5 · mean over stripes of their cross-entropy + .5 · that of the weighted stripes side by side. Differs
    from it: a stripe's weight is a gate in (0, 1) that looks at that stripe, where the original's is a linear
    function of the whole map's mean, of any sign, which cannot tell where something hides; and each stripe's
    feature is scaled to length 1 before it is weighted, so that a distance is a weighted mean of the stripes'
    own. The squared distance of two unit rows is (whole + weight · local) / (1 + weight).
    """
    names = tuple(f"stripe_{index}" for index in range(count))
    local = {
        name: Branch(
            part_pooling, STRIPE_WIDTH, region=Region(0, index, count), gate=_open_gate(dimension),
            reduction=nn.Linear(dimension, STRIPE_WIDTH, bias=False),
        )
        for index, name in enumerate(names)
    }  # fmt: skip
    whole = Group((WHOLE,))
    alone = tuple(Group((name,), 0.5 / count, "stripes") for name in names)
    together = Group(names, 0.5, "stripes", massed=True)

    def unit(seen: dict[str, Seen], weight: float) -> Tensor:
        rows = torch.stack([F.normalize(seen[name].feature) for name in names], 1)
        masses = torch.stack([mass for name in names if (mass := seen[name].mass) is not None], 1)
        joined = F.normalize((masses[:, :, None] * rows).flatten(1))
        share = weight / (1 + weight)
        return torch.cat(((1 - share) ** 0.5 * F.normalize(seen[WHOLE].feature), share**0.5 * joined), 1)

    branches = {WHOLE: Branch(pooling, dimension), **local}
    return Head(branches, (whole, *alone, together), (whole,), unit, dimension + count * STRIPE_WIDTH)


def _open_gate(dimension: int) -> nn.Linear:
    """At first all stripes count alike."""
    gate = nn.Linear(dimension, 1)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate
