"""A branch: one region of a map → an embedding for metric losses and a feature for identity losses.

A network is a backbone and a list of branches. BoT is one branch over the whole map (Luo et al. 2019); PCB
has one more for each stripe, weighted by a gate (Sun et al. 2018); MGN has eight over three maps (Wang et
al. 2018); a head of 512 with dropout is one branch with a reduction.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


class Seen(NamedTuple):
    """What a branch makes of B images; sums of such, of images and their mirror images, are such as well."""

    embedding: Tensor
    """[B, D] before the neck, for metric losses."""
    feature: Tensor
    """[B, D] after the neck, for identity losses and search."""
    mass: Tensor | None = None
    """[B] from 0, how much the branch counts for the image; None: as much as every other."""


@dataclass(frozen=True)
class Region:
    """Part `index` of `count` equally high parts of one of the backbone's maps."""

    map: int = 0
    index: int = 0
    count: int = 1
    overlapping: bool = True
    """Parts that do not divide the height share rows (as adaptive pooling); else the last is shorter."""

    def of(self, maps: list[Tensor]) -> Tensor:
        """[B, D, h, W] of maps [B, D, H, W]."""
        chosen = maps[self.map]
        if self.count == 1:
            return chosen
        height = chosen.shape[2]
        if self.overlapping:
            first, last = self.index * height // self.count, -(-(self.index + 1) * height // self.count)
        else:
            rows = -(-height // self.count)
            first, last = self.index * rows, (self.index + 1) * rows
        return chosen[:, :, first:last]


class Branch(nn.Module):
    """Pooling → reduction → neck: batch normalisation whose bias stays 0 (BNNeck, Luo et al. 2019)."""

    def __init__(
        self,
        pooling: nn.Module,
        dimension: int,
        *,
        reduction: nn.Module | None = None,
        region: Region | None = None,
        gate: nn.Module | None = None,
        dropout: float = 0.0,
        relu: bool = False,
    ) -> None:
        """
        Args:
            pooling: a map [B, C, h, W] → [B, C], float32.
            dimension: D, of embedding and feature.
            reduction: [B, C] → [B, D]; none: D is C.
            region: what it sees; none: the whole of the first map.
            gate: [B, C] → [B, 1], whose sigmoid is the branch's mass.
            dropout: probability, of the feature while training.
            relu: of what the neck gives.
        """
        super().__init__()
        self.dimension = dimension
        self.region = region or Region()
        self.pooling = pooling
        self.reduction = reduction
        self.neck = nn.BatchNorm1d(dimension)
        self.neck.bias.requires_grad_(False)
        self.gate = gate
        self.relu = nn.ReLU() if relu else None
        self.dropout = nn.Dropout(dropout) if dropout else None

    def forward(self, maps: list[Tensor]) -> Seen:
        """Of the backbone's maps [B, C, H, W]; all that comes out is float32."""
        pooled = self.pooling(self.region.of(maps))
        embedding = pooled if self.reduction is None else self.reduction(pooled).float()
        feature = self.neck(embedding)
        if self.relu is not None:
            feature = self.relu(feature)
        if self.dropout is not None:
            feature = self.dropout(feature)
        mass = None if self.gate is None else self.gate(pooled).float().sigmoid()[:, 0]
        return Seen(embedding, feature, mass)


def summed(one: dict[str, Seen], other: dict[str, Seen]) -> dict[str, Seen]:
    """Branch by branch, what two views of the same images gave."""
    return {name: _sum(seen, other[name]) for name, seen in one.items()}


def _sum(one: Seen, other: Seen) -> Seen:
    mass = None if one.mass is None or other.mass is None else one.mass + other.mass
    return Seen(one.embedding + other.embedding, one.feature + other.feature, mass)
