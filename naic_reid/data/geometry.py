"""How a picture of any size comes to the network's input.

* resize: stretched to the input's size, whatever its own proportions are.
* crop: the same body on a smaller input: as large as fits inside, nothing stretched but the width times
  `widen`; the network sees that much and no more, as if what is missing had been cut off the input.
* pad: the same, at the top of an input of the full size, centred between left and right; the rest is blank,
  which is 0 after normalisation.

A picture h × w with factor f fits with a = min(H / h, W / (f·w)) and becomes min(H, round(a·h)) ×
min(W, round(a·f·w)), at least 1, in one resampling. `widen` makes bodies of 3:1 what an input of 2:1 expects.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


class Frame(NamedTuple):
    """Where a picture lies on the input, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Geometry:
    """The input's size in pixels, and how a picture comes to it."""

    height: int
    width: int
    resize: str = "area"
    """area: averaged over areas when it shrinks, else bilinear; bicubic: antialiased, as Pillow does."""
    policy: str = "resize"
    """resize, crop or pad."""
    widen: float = 1.0
    """Factor of pictures' widths; 1 where they are stretched anyway."""
    align: int = 1
    """pad: the picture begins at a multiple of so many columns."""

    @property
    def stretches(self) -> bool:
        """Every picture fills the whole input."""
        return self.policy == "resize"

    def frame(self, height: int, width: int) -> Frame:
        """Where a picture of this size lies on the input."""
        if self.stretches:
            return Frame(0, 0, self.height, self.width)
        factor = min(self.height / height, self.width / (self.widen * width))
        tall = max(1, min(self.height, round(factor * height)))
        wide = max(1, min(self.width, round(factor * self.widen * width)))
        left = (self.width - wide) // 2 // self.align * self.align if self.policy == "pad" else 0
        return Frame(0, left, tall, wide)

    def fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture as it lies in its frame, uint8 [h', w', 3] of uint8 [h, w, 3]."""
        frame = self.frame(*picture.shape[:2])
        if picture.shape[:2] == (frame.height, frame.width):
            return picture
        if self.resize == "bicubic":
            return _bicubic(picture, frame)
        shrinks = picture.shape[0] >= frame.height and picture.shape[1] >= frame.width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (frame.width, frame.height), interpolation=method), np.uint8)


def _bicubic(picture: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    found = F.interpolate(planes, (frame.height, frame.width), mode="bicubic", antialias=True)
    return np.ascontiguousarray(found[0].permute(1, 2, 0).numpy())


def scaled_size(height: int, width: int, area: float) -> tuple[int, int]:
    """Height and width at `area` times as many pixels: ⌊√area · H⌋ × ⌊√area · W⌋, at least 1."""
    return max(1, int(math.sqrt(area) * height)), max(1, int(math.sqrt(area) * width))


def scaled(inputs: Tensor, area: float) -> Tensor:
    """Inputs [B, C, H, W] at `area` times as many pixels, bicubic; at 1 the inputs themselves."""
    if area == 1:
        return inputs
    size = scaled_size(inputs.shape[2], inputs.shape[3], area)
    return F.interpolate(inputs, size, mode="bicubic", align_corners=False)
