"""What is trained: the network and the terms of its loss, as one module."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Judgement(NamedTuple):
    """What the terms say about a batch."""

    losses: dict[str, Tensor]
    """Each term by name, before its weight."""
    right: Tensor
    """Share of the batch whose own class had the largest logit."""


class Learner(nn.Module):
    """Images and labels → losses.

    The identity loss looks at the features of this process's images; metric losses look at the
    embeddings of the whole batch, gathered where several processes hold parts of it. Gathering sends
    gradients back summed over processes, and averaging over processes, as for every other gradient,
    then gives those of one process with the whole batch.
    """

    def __init__(
        self,
        embedder: nn.Module,
        identity: tuple[str, nn.Module],
        metrics: Mapping[str, nn.Module],
        stripes: nn.Module | None = None,
    ):
        """`stripes` judges what follows the features of the whole image, in a term of that name."""
        super().__init__()
        self.embedder = embedder
        self.identity_name, self.identity = identity
        self.metrics = nn.ModuleDict(metrics)
        self.stripes = stripes

    def forward(self, images: Tensor, labels: Tensor) -> Judgement:
        """Of float32 [B, 3, H, W] and int64 [B]."""
        embeddings, features = self.embedder(images)
        width = embeddings.shape[1]
        loss, logits = self.identity(features[:, :width], labels)
        losses = {self.identity_name: loss}
        if self.stripes is not None:
            losses["stripes"] = self.stripes(features[:, width:], labels)
        if self.metrics and dist.is_initialized():
            embeddings, everyones = _Gathered.apply(embeddings), _gathered(labels)
        else:
            everyones = labels
        losses |= {name: metric(embeddings, everyones) for name, metric in self.metrics.items()}
        return Judgement(losses, (logits.detach().argmax(dim=1) == labels).float().mean())


def _gathered(rows: Tensor) -> Tensor:
    """Every process's rows, one process after the other."""
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class _Gathered(torch.autograd.Function):
    """`_gathered`, with gradients sent back as sums over the processes."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        return _gathered(rows)

    @staticmethod
    def backward(context: Any, gradients: Tensor) -> Tensor:
        gradients = gradients.clone()
        dist.all_reduce(gradients)
        return gradients.chunk(dist.get_world_size())[dist.get_rank()]
