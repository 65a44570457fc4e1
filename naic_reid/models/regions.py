"""Visible regions (VPM, Sun et al. 2019): which rows of a map show which part of a body, and how much.

A body is p equally high regions. A locator gives each row of the map a share of every region; the sum of
a region's shares is its mass, 0 where a picture does not show it, and the mean of the map by these shares is
its feature. Two images are compared by what both show (`retrieval.exact`).

Read in the authors' code: the locator looks at means over columns and over eight channels; shares are taken
without gradient, so only its own loss teaches it. Differs: class rows have no further class for what is not
seen, whose weight there is 0; the whole map's branch is the recipe's own, without a reduction.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models.branches import Branch, Seen
from naic_reid.models.heads import WHOLE, Group, Head

WIDTH = 256
"""Of what a region's class rows judge."""
LOCATOR = "locator"
_TOGETHER = 8  # channels


class Locator(nn.Module):
    """A map [B, C, R, W] → logits [B, p, R] of its rows for each region."""

    def __init__(self, dimension: int, count: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.logits = nn.Conv1d(-(-dimension // _TOGETHER), count, 1)

    def forward(self, maps: Tensor) -> Tensor:
        rows = self.dropout(maps).mean(3).transpose(1, 2)
        fewer = F.avg_pool1d(rows, _TOGETHER, ceil_mode=True).transpose(1, 2)
        logits: Tensor = self.logits(fewer)
        return logits.float()


def shares(logits: Tensor) -> Tensor:
    """How much each row shows of every region, float32 [B, p, R], without gradient; a row's sum is 1."""
    return logits.detach().softmax(1)


class Located(nn.Module):
    """What the locator said of a map: masses [B, p] as its embedding, logits [B, p · R] as its feature."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.dimension = count

    def forward(self, maps: list[Tensor]) -> Seen:
        """Of the map, and the logits after it."""
        return Seen(shares(maps[1]).sum(2), maps[1].flatten(1))


class VisibleBranch(nn.Module):
    """One region: its mean feature at length 1 for distances; that reduced, behind a neck, for classes."""

    def __init__(self, dimension: int, index: int) -> None:
        """Region `index` of a map of so many channels."""
        super().__init__()
        self.dimension, self.index = dimension, index
        self.dropout = nn.Dropout(0.5)
        self.reduction = nn.Linear(dimension, WIDTH, bias=False)
        nn.init.kaiming_normal_(self.reduction.weight, mode="fan_out")
        self.neck = nn.BatchNorm1d(WIDTH)
        self.neck.bias.requires_grad_(False)

    def forward(self, maps: list[Tensor]) -> Seen:
        """Of the map [B, C, R, W], and the logits [B, p, R] after it."""
        own = shares(maps[1])[:, self.index]
        mass = own.sum(1)
        weights = own / mass.clamp(min=torch.finfo(own.dtype).tiny)[:, None]
        pooled = torch.einsum("bcr,br->bc", maps[0].float().mean(3), weights)
        feature = self.neck(self.reduction(self.dropout(pooled)).float())
        return Seen(F.normalize(pooled), feature, mass)


def head(pooling: nn.Module, dimension: int, count: int) -> Head:
    """The whole map, judged by the recipe's identity loss, and `count` visible regions.

    A unit row is the regions' features times their masses, then the masses: `dimension` · count + count
    numbers.
    """
    names = tuple(f"region_{index}" for index in range(count))
    regions = {name: VisibleBranch(dimension, index) for index, name in enumerate(names)}
    rows = Group((*names, LOCATOR), massed=True)

    def unit(seen: dict[str, Seen], _: float) -> Tensor:
        alone = {name: seen[name]._replace(embedding=F.normalize(seen[name].embedding)) for name in names}
        return F.normalize(rows.rows(seen | alone, "embedding"))

    branches: dict[str, nn.Module] = {WHOLE: Branch(pooling, dimension), **regions, LOCATOR: Located(count)}
    return Head(
        branches, (Group((WHOLE,)),), (rows,), unit, dimension * count + count,
        locator=Locator(dimension, count), located=(Group(names), Group((LOCATOR,))),
    )  # fmt: skip
