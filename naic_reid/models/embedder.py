"""Backbone → pooling → bottleneck: the network that is trained, kept and asked for features."""

from collections.abc import Callable

from torch import Tensor, nn


class Embedder(nn.Module):
    """Images to embeddings, and to features after the bottleneck (BNNeck, Luo et al. 2019, fig. 5).

    The bottleneck is a batch normalisation whose bias stays 0. Differs from the original, which ran
    it twice in every training step and so moved its running statistics twice as fast.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pooling: nn.Module,
        dimension: int,
        as_map: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """`as_map` turns what the backbone returns into [B, D, H, W], where it is something else."""
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.bottleneck = nn.BatchNorm1d(dimension)
        self.bottleneck.bias.requires_grad_(False)
        self.dimension = dimension
        self._as_map = as_map

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings for metric losses and features for identity losses and search, float32 [B, D].

        Args:
            images: [B, 3, H, W], RGB with ImageNet's mean and deviation removed.
        """
        activations = self.backbone(images)
        if self._as_map is not None:
            activations = self._as_map(activations)
        embeddings = self.pooling(activations)
        return embeddings, self.bottleneck(embeddings)
