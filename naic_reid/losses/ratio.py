"""What teaches a predictor of ratios: crops whose change is known, and that whole images have 1.

A crop Cx that keeps the share y of an image's height and the share x of its width, stretched to the whole,
changes the ratio by c = x/y. With ρ what is predicted:

* direct: (log ρ(Cx) − log c)², and every image's own known change alike;
* relative: (ρ(Cx) / c / ρ(x) − 1)², which says nothing of the absolute value;
* relative_log: the logarithm of that quotient, squared: symmetric in a change and its inverse;
* with both of these an anchor of weight .01 on whole images, (ρ − 1)² or (log ρ)²;
* of a predictor of both sides these hold for either, with c = 1/y and c = 1/x, and crops lose columns, too;
* cycle: (log ρ₂)², ρ₂ what is predicted once the image is seen at the scale that was predicted.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ANCHOR = 0.01
_KEEP = (0.5, 1.0833)  # of the crops that are made here: one in seven is whole (VPM)


class Predictor(Protocol):
    """Images → log ρ [B], or of both sides [B, 2]; `models.ratio.RatioPredictor` is one."""

    def __call__(self, images: Tensor) -> Tensor: ...

    def once(self, images: Tensor, seen_at: Tensor | None) -> Tensor: ...


def relative(whole: Tensor, part: Tensor, change: Tensor, *, log: bool) -> Tensor:
    """Of each image [B]: log ρ of it and of its crop, and how the crop changed it."""
    quotient = part - change.log() - whole
    return quotient.square() if log else (quotient.exp() - 1).square()


def anchor(whole: Tensor, *, log: bool) -> Tensor:
    """Of each image [B], by log ρ."""
    return ANCHOR * (whole if log else whole.exp() - 1).square()


def cropped(images: Tensor, kept: Tensor) -> Tensor:
    """The upper share `kept` [B] of images [B, 3, H, W], stretched to the whole, bilinear.

    With `kept` [B, 2] a share of the columns, too, those in the middle.
    """
    turn = torch.zeros(len(images), 2, 3, device=images.device)
    down, across = kept.unbind(1) if kept.dim() == 2 else (kept, torch.ones_like(kept))
    turn[:, 0, 0], turn[:, 1, 1], turn[:, 1, 2] = across, down, down - 1
    places = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), places, padding_mode="border", align_corners=False)


def _drawn(images: Tensor) -> Tensor:
    """How much of each of B images shall stay, [B]."""
    least, most = _KEEP
    return (least + (most - least) * torch.rand(len(images), device=images.device)).clamp(max=1)


class Ratio(nn.Module):
    """The loss of one batch; it crops what it is shown once more."""

    def __init__(self, form: str = "relative_log", cycle: float = 0.0) -> None:
        """`form`: direct, relative or relative_log; `cycle`: the weight of that term."""
        super().__init__()
        self.form, self.cycle = form, cycle

    def forward(self, predict: Predictor, images: Tensor, parts: Tensor | None) -> Tensor:
        """A scalar, of images [B, 3, H, W] and how much of each is shown already [B, 3] (`step.Batch`)."""
        kept, one = _drawn(images), predict(images)
        shown = torch.ones(len(images), 2, device=images.device) if parts is None else parts[:, 1:]
        if one.dim() == 2:
            kept, known = torch.stack((kept, _drawn(images)), 1), 1 / shown
        else:
            known = shown[:, 1] / shown[:, 0]
        crops = cropped(images, kept)
        other = predict(crops)
        if self.form == "direct":
            each = (one - known.log()).square() + (other - (known / kept).log()).square()
            loss = each.mean() / 2
        else:
            log = self.form == "relative_log"
            whole = known == 1
            anchored = anchor(one, log=log).masked_fill(~whole, 0).sum() / whole.sum().clamp(min=1)
            loss = relative(one, other, 1 / kept, log=log).mean() + anchored
        if self.cycle:
            loss = loss + self.cycle * predict.once(crops, other).square().mean()
        return loss
