"""Decoded images in memory, so that from the second epoch on nothing is decoded that has room there."""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from naic_reid import machine

_STEP = 1 << 26  # bytes after which free memory is looked at again


class ImageCache:
    """Images by number, kept as long as there is room for them and none is given up.

    Several threads may use it at once.
    """

    def __init__(self, most: int | None = None) -> None:
        """Of at most so many bytes; None: until half of what is free now is left, whoever takes the rest.

        So several trainings that start side by side on one machine leave half of it free together.
        """
        self._most = most
        self._leave = machine.free_memory() // 2 if most is None else 0
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._bytes = self._looked = 0
        self._full = False
        self._lock = Lock()

    def get(self, number: int) -> NDArray[np.uint8] | None:
        """The image, not to be changed; None where it was not kept."""
        return self._images.get(number)

    def keep(self, number: int, image: NDArray[np.uint8]) -> None:
        """Keep the image, where there is room."""
        with self._lock:
            if self._has_room(image.nbytes) and number not in self._images:
                self._images[number] = image
                self._bytes += image.nbytes

    def _has_room(self, size: int) -> bool:
        if self._most is not None:
            return self._bytes + size <= self._most
        if not self._full and self._bytes + size > self._looked:
            self._full = machine.free_memory() - _STEP < self._leave
            self._looked = self._bytes + _STEP
        return not self._full
