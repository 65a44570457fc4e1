"""How a picture of any size comes to the network's input."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """The input's size in pixels; a picture is stretched to it, whatever its own proportions are."""

    height: int
    width: int

    def fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [height, width, 3] of uint8 [h, w, 3]: averaged over areas when it shrinks, else bilinear."""
        if picture.shape[:2] == (self.height, self.width):
            return picture
        shrinks = picture.shape[0] >= self.height and picture.shape[1] >= self.width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (self.width, self.height), interpolation=method), np.uint8)
