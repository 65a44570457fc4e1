"""Attribute heads: what a person wears, told from the feature of the whole body."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = {"linear": (), "bottleneck": (512,), "mlp2": (512,), "mlp3": (512, 256), "mlp4": (512, 256, 128)}
"""Head → widths of its layers before the last one."""


class AttributeHeads(nn.Module):
    """Features [B, D] → for each attribute a logit for each of its values.

    `linear` is one layer; `bottleneck` is linear, batch normalisation, linear; `mlp2` to `mlp4` are so many
    linear layers with ReLU between. With `reduction` a linear layer to so many numbers comes before. With
    `cosine` a logit is that number times the cosine of what the last layer gets and the value's row: soft,
    for it is at most that number.
    """

    def __init__(
        self, dimension: int, sizes: tuple[int, ...], head: str = "linear", *, dropout: float = 0.0,
        cosine: float = 0.0, reduction: int = 0,
    ) -> None:  # fmt: skip
        """Of features of `dimension` numbers, and attributes with so many values each.

        `head` is a key of `HEADS`; dropout is of what it gets.
        """
        super().__init__()
        self.sizes, self.cosine = sizes, cosine
        self.reduced = nn.Linear(dimension, reduction) if reduction else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        widths = [reduction or dimension, *HEADS[head]]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [
                nn.Linear(wide, narrow),
                nn.BatchNorm1d(narrow) if head == "bottleneck" else nn.ReLU(),
            ]
        self.inner = nn.Sequential(*layers)
        self.rows = nn.Linear(widths[-1], sum(sizes))

    def forward(self, features: Tensor) -> list[Tensor]:
        """Logits, float32 [B, values] of each attribute."""
        with torch.autocast(features.device.type, enabled=False):
            seen = self.inner(self.dropout(self.reduced(features.float())))
            if self.cosine:
                logits = self.cosine * F.normalize(seen) @ F.normalize(self.rows.weight).T
            else:
                logits = self.rows(seen)
        return list(torch.split(logits, list(self.sizes), dim=1))

    def probabilities(self, features: Tensor) -> Tensor:
        """Of every value of every attribute, side by side, float32 [B, Σ values]."""
        return torch.cat([logits.softmax(1) for logits in self(features)], 1)


@dataclass(frozen=True)
class TrainedAttributes:
    """Attribute heads as a checkpoint keeps them."""

    values: Mapping[str, tuple[str, ...]]
    """Attribute → its values in words."""
    tensors: Mapping[str, Tensor]
    head: str = "linear"
    """A key of `HEADS`."""
    cosine: float = 0.0
    reduction: int = 0

    @property
    def words(self) -> dict[str, Any]:
        """All but the tensors, for a record; `of` reads it."""
        values = {name: list(words) for name, words in self.values.items()}
        told = {"values": values, "head": self.head, "cosine": self.cosine}
        return {"attributes": told | ({"reduction": self.reduction} if self.reduction else {})}

    @classmethod
    def of(cls, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "TrainedAttributes | None":
        """What a record tells of these tensors; None: it tells of none.

        Raises:
            KeyError, TypeError, ValueError: it tells something else.
        """
        if "attributes" not in record:
            return None
        told = record["attributes"]
        values = {name: tuple(words) for name, words in told["values"].items()}
        if told["head"] not in HEADS:
            raise ValueError(f"its attribute heads are {told['head']}, none of {', '.join(HEADS)}")
        return cls(values, tensors, told["head"], float(told["cosine"]), int(told.get("reduction", 0)))

    def heads(self, dimension: int) -> AttributeHeads:
        """In evaluation mode, of features of `dimension` numbers.

        Raises:
            ValueError: the tensors are none of such heads.
        """
        sizes = tuple(len(words) for words in self.values.values())
        with torch.random.fork_rng(devices=[]):
            heads = AttributeHeads(dimension, sizes, self.head, cosine=self.cosine, reduction=self.reduction)
        try:
            heads.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            raise ValueError(f"its attribute heads do not fit: {str(error).splitlines()[-1]}") from error
        return heads.eval()
