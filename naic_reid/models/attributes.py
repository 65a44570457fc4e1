"""Attribute heads: what a person wears, told from the feature of the whole body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_INNER = 512


class AttributeHeads(nn.Module):
    """Features [B, D] → for each attribute a logit for each of its values.

    `linear` is one layer; `bottleneck` is linear, batch normalisation, linear. With `cosine` a logit is that
    number times the cosine of the feature and the value's row: soft, for it is at most that number.
    """

    def __init__(
        self, dimension: int, sizes: tuple[int, ...], head: str = "linear", *, dropout: float = 0.0,
        cosine: float = 0.0,
    ) -> None:  # fmt: skip
        """Of features of `dimension` numbers, and attributes with so many values each."""
        super().__init__()
        self.sizes, self.cosine = sizes, cosine
        self.dropout = nn.Dropout(dropout)
        inner = _INNER if head == "bottleneck" else 0
        self.inner = nn.Sequential(nn.Linear(dimension, inner), nn.BatchNorm1d(inner)) if inner else None
        self.rows = nn.Linear(inner or dimension, sum(sizes))

    def forward(self, features: Tensor) -> list[Tensor]:
        """Logits, float32 [B, values] of each attribute."""
        with torch.autocast(features.device.type, enabled=False):
            seen = self.dropout(features.float())
            if self.inner is not None:
                seen = self.inner(seen)
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
    head: Literal["linear", "bottleneck"] = "linear"
    cosine: float = field(default=0.0)

    @property
    def words(self) -> dict[str, Any]:
        """All but the tensors, for a record; `of` reads it."""
        values = {name: list(words) for name, words in self.values.items()}
        return {"attributes": {"values": values, "head": self.head, "cosine": self.cosine}}

    @classmethod
    def of(cls, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "TrainedAttributes | None":
        """What a record tells of these tensors; None: it tells of none.

        Raises:
            KeyError, TypeError: it tells something else.
        """
        if "attributes" not in record:
            return None
        told = record["attributes"]
        values = {name: tuple(words) for name, words in told["values"].items()}
        return cls(values, tensors, told["head"], float(told["cosine"]))

    def heads(self, dimension: int) -> AttributeHeads:
        """In evaluation mode, of features of `dimension` numbers.

        Raises:
            ValueError: the tensors are none of such heads.
        """
        sizes = tuple(len(words) for words in self.values.values())
        with torch.random.fork_rng(devices=[]):
            heads = AttributeHeads(dimension, sizes, self.head, cosine=self.cosine)
        try:
            heads.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            raise ValueError(f"its attribute heads do not fit: {str(error).splitlines()[-1]}") from error
        return heads.eval()
