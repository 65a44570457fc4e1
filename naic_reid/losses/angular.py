"""Identity losses on angles: every class is a unit direction, and the right one must win by a margin.

All compute `scale · cos` between the unit feature and the unit class rows, change the target's cosine
(and, for circle, the others') and take the cross-entropy. They differ in that change alone.

Sources: ArcFace, Deng et al. 2019, eq. 3; CosFace, Wang et al. 2018, eq. 4; AM-Softmax, Wang et al.
2018, eq. 6; sphere, Liu et al. 2017, eq. 7; circle, Sun et al. 2020, eq. 6 with classes for pairs, as in
fast-reid (Apache-2.0).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from naic_reid.losses.linear import smoothed

# Below this 1 − cos² counts as this: the square root's slope would be infinite at |cos| = 1.
_LEAST_SQUARED_SINE = 1e-7


class _Angular(nn.Module):
    """Cross-entropy over scaled cosines after `_moved`; float32 whatever autocast says."""

    def __init__(self, num_classes: int, dimension: int, scale: float, margin: float) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.weight = nn.Parameter(torch.empty(num_classes, dimension))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss, and logits without the margin, float32 [B, C], to count hits by.

        Args:
            features: [B, D] after the bottleneck, of any length.
            labels: int64 [B], the class index of each row.
        """
        with torch.autocast(features.device.type, enabled=False):
            cosines = self._cosines(features)
            loss = self._judged(self.scale * self._moved(cosines, labels), labels)
            return loss, self.scale * cosines.detach()

    def logits(self, features: Tensor) -> Tensor:
        """Of each class without the margin, float32 [B, C], with gradients."""
        with torch.autocast(features.device.type, enabled=False):
            return self.scale * self._cosines(features)

    def _cosines(self, features: Tensor) -> Tensor:
        return F.linear(F.normalize(features.float()), F.normalize(self.weight.float()))

    def _judged(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    def _moved(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """The cosines [B, C] with the margin at work."""
        raise NotImplementedError


class ArcFace(_Angular):
    """The margin is added to the target's angle, in radians."""

    def __init__(self, num_classes: int, dimension: int, scale: float = 30.0, margin: float = 0.4) -> None:
        super().__init__(num_classes, dimension, scale, margin)

    def _moved(self, cosines: Tensor, labels: Tensor) -> Tensor:
        target = cosines.gather(1, labels[:, None])
        # Beyond π − m the angle plus margin would wrap round: from there the penalty is a constant.
        moved = torch.where(
            target > math.cos(math.pi - self.margin),
            _turned(target, self.margin),
            target - self.margin * math.sin(self.margin),
        )
        return cosines.scatter(1, labels[:, None], moved)


class ArcFaceFastReID(ArcFace):
    """FastReID's dialect: cos(angle + margin) wherever it is, which beyond π − m grows again."""

    def _moved(self, cosines: Tensor, labels: Tensor) -> Tensor:
        target = cosines.gather(1, labels[:, None])
        return cosines.scatter(1, labels[:, None], _turned(target, self.margin))


def _turned(cosines: Tensor, radians: float) -> Tensor:
    """Cosines of angles that are larger by so much."""
    sine = (1 - cosines.square()).clamp(min=_LEAST_SQUARED_SINE).sqrt()
    return cosines * math.cos(radians) - sine * math.sin(radians)


class CosFace(_Angular):
    """The margin is taken from the target's cosine."""

    def __init__(self, num_classes: int, dimension: int, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__(num_classes, dimension, scale, margin)

    def _moved(self, cosines: Tensor, labels: Tensor) -> Tensor:
        target = cosines.gather(1, labels[:, None])
        return cosines.scatter(1, labels[:, None], target - self.margin)


class AMSoftmax(CosFace):
    """CosFace's formula, found at the same time, with the paper's smaller scale."""

    def __init__(self, num_classes: int, dimension: int, scale: float = 30.0, margin: float = 0.35) -> None:
        super().__init__(num_classes, dimension, scale, margin)


class Circle(_Angular):
    """Each cosine is weighted by how far it is from its optimum; the weights carry no gradient."""

    def __init__(
        self,
        num_classes: int,
        dimension: int,
        scale: float = 64.0,
        margin: float = 0.35,
        smoothing: float = 0.0,
    ) -> None:
        """`smoothing` is FastReID's: ε / (C − 1) for every other class; class rows are drawn as its own."""
        super().__init__(num_classes, dimension, scale, margin)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.smoothing = smoothing

    def _judged(self, logits: Tensor, labels: Tensor) -> Tensor:
        return smoothed(logits, labels, self.smoothing) if self.smoothing else super()._judged(logits, labels)

    def _moved(self, cosines: Tensor, labels: Tensor) -> Tensor:
        fixed, m = cosines.detach(), self.margin
        others = F.relu(fixed + m) * (cosines - m)
        target = F.relu(1 + m - fixed) * (cosines - (1 - m))
        return others.scatter(1, labels[:, None], target.gather(1, labels[:, None]))


class Sphere(_Angular):
    """The target's angle counts four times: ψ(θ) = (−1)ᵏ·cos 4θ − 2k for θ in [kπ/4, (k + 1)π/4].

    Features are taken at unit length, so that logits lie in −7 … 1, times the scale.
    """

    def __init__(self, num_classes: int, dimension: int, scale: float = 1.0) -> None:
        super().__init__(num_classes, dimension, scale, 4)

    def _moved(self, cosines: Tensor, labels: Tensor) -> Tensor:
        target = cosines.gather(1, labels[:, None])
        # k by the cosine itself: an angle would have to be taken from it, with an infinite slope at its ends.
        limits = [math.cos(k * math.pi / self.margin) for k in (1, 2, 3)]
        k = sum((target.detach() < limit).float() for limit in limits)
        square = target.square()
        moved = (1 - 2 * (k % 2)) * (8 * square * square - 8 * square + 1) - 2 * k
        return cosines.scatter(1, labels[:, None], moved)
