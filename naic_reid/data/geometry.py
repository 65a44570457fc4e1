"""How a picture of any size comes to the network's input."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """The input's size in pixels; a picture is stretched to it, whatever its own proportions are."""

    height: int
    width: int
    resize: str = "area"
    """area: averaged over areas when it shrinks, else bilinear; bicubic: antialiased, as Pillow does."""

    def fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [height, width, 3] of uint8 [h, w, 3]."""
        if picture.shape[:2] == (self.height, self.width):
            return picture
        if self.resize == "bicubic":
            return self._bicubic(picture)
        shrinks = picture.shape[0] >= self.height and picture.shape[1] >= self.width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (self.width, self.height), interpolation=method), np.uint8)

    def _bicubic(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
        found = F.interpolate(planes, (self.height, self.width), mode="bicubic", antialias=True)
        return np.ascontiguousarray(found[0].permute(1, 2, 0).numpy())
