"""How much taller than usual the body on an image appears: a small network beside the one that embeds.

ρ is the vertical stretch over the horizontal one, 1 for a whole body in its usual frame and 1/y for a picture
of which the share y of the height stays and was stretched to the input. Kernels whose taps are spread by ρ
vertically (`scaled_conv`) then see the body as they did in training. For pictures cut at the sides, too, a
predictor of both sides tells the vertical and the horizontal stretch, 1/y and 1/x.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.models import sight
from naic_reid.models.resnet_ibn import RESNETS
from naic_reid.models.scaled_conv import LEAST, MOST

_LEAST_LINEAR = 0.05  # a linear output may be anything, and its logarithm is asked for


class RatioPredictor(nn.Module):
    """A ResNet-18 up to layer `cut`, the mean over positions, one linear layer: log ρ of each image.

    Of both sides it tells two logarithms, of the vertical and the horizontal stretch, in the place of log ρ.
    With several steps z_t = log ρ(x; taps spread by exp(z_1 + … + z_{t−1})), and their sum is the answer.
    """

    def __init__(self, cut: int, output: str = "exp", steps: int = 1, sides: int = 1) -> None:
        """`output`: exp, ρ = exp(w·x + b) with b = 0 at first; or linear, ρ = w·x + b with b = 1.

        `sides`: 1, the ratio of both; or 2, each.
        """
        super().__init__()
        net = RESNETS["resnet18"](2)
        layers = (net.layer1, net.layer2, net.layer3, net.layer4)[:cut]
        self.trunk = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, *layers)
        self._sight = sight.sighted(self.trunk)
        self.linear = nn.Linear(32 << cut, sides)
        self._output, self._steps, self._sides = output, steps, sides
        nn.init.normal_(self.linear.weight, std=0.001)
        nn.init.constant_(self.linear.bias, float(output == "linear"))

    def forward(self, images: Tensor) -> Tensor:
        """log ρ, float32 [B], or of both sides [B, 2], of normalised images [B, 3, H, W]."""
        total = self.once(images, None)
        for _ in range(self._steps - 1):
            total = total + self.once(images, total)
        return total

    def once(self, images: Tensor, seen_at: Tensor | None) -> Tensor:
        """log ρ of what is left when taps are spread by exp(`seen_at`); None: as they are."""
        self._sight.scale = None if seen_at is None else taps(seen_at)
        try:
            maps = self.trunk(images)
        finally:
            self._sight.scale = None
        made: Tensor = self.linear(maps.float().mean((2, 3))).float()
        made = made if self._sides == 2 else made[:, 0]
        return made if self._output == "exp" else made.clamp(min=_LEAST_LINEAR).log()


def taps(logarithms: Tensor) -> Tensor:
    """How far taps are spread down and across, float32 [B, 2], within what kernels may be.

    Of log ρ [B]: by ρ down, not across; of both sides' logarithms [B, 2]: by each.
    """
    both = logarithms if logarithms.dim() == 2 else F.pad(logarithms[:, None], (0, 1))
    return both.exp().clamp(LEAST, MOST)


class Guard(NamedTuple):
    """Whether a predictor tells ratios, or has collapsed."""

    mean: float
    """Of ρ on whole images."""
    deviation: float
    """Likewise."""
    drift: float
    """Mean |log ρ| on whole images."""
    slope: float
    """Of log ρ on the logarithm of the known change, over crops."""
    correlation: float
    """Likewise."""
    rmse: float
    """Of log ρ over crops."""
    error: float
    """Mean |ρ − c| over crops."""

    @property
    def collapsed(self) -> bool:
        """Whole images drift from 1 by a tenth, or crops are told less than half."""
        return not (self.drift <= 0.1 and self.slope >= 0.5)


def guarded(whole: Tensor, parts: Tensor, changes: Tensor) -> Guard:
    """Of log ρ of whole images [N] and of crops [M], and the known changes c [M] of these."""
    known = changes.double().log()
    whole, parts = whole.double(), parts.double()
    centred, told = known - known.mean(), parts - parts.mean()
    common = (centred * told).sum()
    return Guard(
        float(whole.exp().mean()),
        float(whole.exp().std()),
        float(whole.abs().mean()),
        float(common / centred.square().sum()),
        float(common / (centred.square().sum() * told.square().sum()).sqrt()),
        float((parts - known).square().mean().sqrt()),
        float((parts.exp() - changes).abs().mean()),
    )
