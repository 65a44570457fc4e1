"""Which part of a picture is shown, when tests ask about partial bodies: rules, and crops drawn by them.

A crop keeps a share y of the rows, rounded half to even, all columns: with the legs cut off the upper ones,
with the head cut off the lower ones. What is drawn depends on the seed, the test's name and the image's name
alone, so an image is cut alike in every list that it stands in, whatever else stands there.
"""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from naic_reid.artifacts import ImageList
from naic_reid.data import images

HEAD_CUT = {"legs": 0.0, "head": 1.0, "both": 0.5, "mostly_legs": 0.2}
"""Side that is cut off → the share of images that lose their head; others lose their legs."""


class Crop(NamedTuple):
    """Rows top … bottom − 1 and columns left … right − 1 of a picture, in its own pixels."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """That part of a picture [h, w, 3]."""
        return picture[self.top : self.bottom, self.left : self.right]

    def __str__(self) -> str:
        return " ".join(map(str, self))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Of the text that `str` gives.

        Raises:
            ValueError: it is none, or the crop is empty.
        """
        top, bottom, left, right = map(int, text.split(" "))
        if not (0 <= top < bottom and 0 <= left < right):
            raise ValueError(f"{text!r} is no crop: top bottom left right, in pixels")
        return cls(top, bottom, left, right)


class Part(NamedTuple):
    """A row of a list: an image file, what it was when it was listed, and the part of it that is shown."""

    file: Path
    digest: str = ""
    """Of its bytes; empty: any."""
    crop: str = ""
    """See `Crop`; empty: all of it."""

    @classmethod
    def of(cls, data: Path, listed: ImageList, row: int) -> Self:
        """That of a list's row; its paths are relative to `data`."""
        return cls(data / listed.paths[row], listed.digests[row], listed.crops[row])

    def read(self) -> NDArray[np.uint8]:
        """Its pixels [h, w, 3], RGB.

        Raises:
            ReidError: the file is no usable image, or not what it was when it was listed.
        """
        picture = images.read(self.file, self.digest)
        return Crop.parsed(self.crop).of(picture) if self.crop else picture


@dataclass(frozen=True)
class Rule:
    """What is cut off, and how much stays."""

    side: str = "legs"
    """A key of `HEAD_CUT`."""
    keep: tuple[float, float] = (0.5, 0.5)
    """Least and greatest share of the rows that stay; drawn evenly between them."""

    def drawn(self, height: int, width: int, *, seed: int, test: str, image: str) -> Crop:
        """The crop of an image of so many pixels, called so, in a test called so."""
        rng = np.random.default_rng([seed, _number(test), _number(image)])
        share, odds = rng.uniform(*self.keep), rng.random()
        rows = min(height, max(1, round(height * share)))
        head_cut = odds < HEAD_CUT[self.side]
        return Crop(height - rows, height, 0, width) if head_cut else Crop(0, rows, 0, width)


SEED = 1234
"""Of the draws of `STRESS`."""
STRESS = {
    **{f"legs_{y / 10:.1f}": Rule("legs", (y / 10, y / 10)) for y in range(3, 11)},
    **{f"head_{y}": Rule("head", (y, y)) for y in (0.5, 0.7)},
    "both_0_50": Rule("both", (0.5, 1.0)),
    "both_15_45": Rule("both", (0.55, 0.85)),
    "legs_15_45": Rule("mostly_legs", (0.55, 0.85)),
    "legs_25_55": Rule("mostly_legs", (0.45, 0.75)),
}
"""Rules that tables of partial persons are made by; `both_0_50` and so on name the share that is cut off."""


def _number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
