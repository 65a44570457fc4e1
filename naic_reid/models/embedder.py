"""Backbone → pooling → bottleneck: the network that is trained, kept and asked for features."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models import stripes


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
        num_stripes: int = 0,
        standardise: bool = False,
    ) -> None:
        """`as_map` turns what the backbone returns into [B, D, H, W], where it is something else.

        With stripes, features are followed by what `Stripes` gives. `standardise` brings each channel of
        each image to mean 0 and deviation 1 (Ulyanov et al. 2016): a colour cast is gone before the network.
        """
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.bottleneck = nn.BatchNorm1d(dimension)
        self.bottleneck.bias.requires_grad_(False)
        self.stripes = stripes.Stripes(dimension, num_stripes) if num_stripes else None
        self.dimension = dimension + num_stripes * stripes.WIDTH
        """Of what `unit` gives."""
        self._as_map = as_map
        self._standardise = standardise

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings for metric losses and features for identity losses and `unit`, float32 [B, D].

        Args:
            images: [B, 3, H, W], RGB with ImageNet's mean and deviation removed.
        """
        if self._standardise:
            images = F.instance_norm(images.float())
        activations = self.backbone(images)
        if self._as_map is not None:
            activations = self._as_map(activations)
        embeddings = self.pooling(activations)
        features = self.bottleneck(embeddings)
        if self.stripes is not None:
            features = torch.cat((features, self.stripes(activations)), 1)
        return embeddings, features

    def unit(self, features: Tensor, stripes_weight: float = 1.0) -> Tensor:
        """Rows of length 1 for search, float32 [B, `dimension`], of features or of a sum of such.

        With stripes, the squared distance of two rows is (whole + `stripes_weight` · local) /
        (1 + `stripes_weight`), of unit rows of the whole image and of its stripes.
        """
        if self.stripes is None:
            return F.normalize(features.float())
        width = self.bottleneck.num_features
        whole = F.normalize(features[:, :width].float())
        local = stripes.joined(features[:, width:].float(), self.stripes.count)
        share = stripes_weight / (1 + stripes_weight)
        return torch.cat(((1 - share) ** 0.5 * whole, share**0.5 * local), 1)
