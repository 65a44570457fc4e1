"""Generated images in the competition's layout, and the truth about them.

Draws every image from the seed and lays them out as the competition does, duplicates, wrong labels and
all, so that the other stages run as they do on real data. Equal settings give equal bytes.
"""

import logging
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from naic_reid import files
from naic_reid.config import Toy
from naic_reid.data.attributes import told
from naic_reid.data.toy import Person, camera, draw, generator, person, worn
from naic_reid.data.toy_layout import Shot, layout
from naic_reid.errors import ReidError

REVISION = 1

_PERSON, _CAMERA, _IMAGE = 0, 1, 2  # generator keys
_log = logging.getLogger(__name__)


def run(seed: int, toy: Toy, *, folder: Path, truth: Path, attributes: list[Path]) -> None:
    """Writes `folder`, laid out like the competition's, and `truth`: subset,name,pid,camid as CSV.

    Args:
        seed: of all draws.
        toy: how much is drawn.
        folder: of the images, new or empty.
        truth: who is on the test images.
        attributes: a table of what the training persons wear, for `train.attributes`; or several, or none.

    Raises:
        ReidError: something is in the folder already. Real data has the same names in it.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ReidError(f"{folder}: is there, and not empty: name a new folder, or remove this one first")
    started = time.monotonic()
    plan = layout(seed, toy.train_identities, toy.test_identities, toy.images, toy.cameras)
    _log.info("toy: %d files to draw at %d × %d", len(plan.shots), toy.height, toy.width)
    pixels: dict[tuple[int, int], NDArray[np.uint8]] = {}
    with files.whole(folder, folder=True) as place:
        for shot in plan.shots:
            key = (shot.person, shot.image)
            if key not in pixels:
                pixels[key] = _drawn(seed, toy, shot)
            target = place / shot.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_png(pixels[key], shot.compression))
        for name, content in plan.lists.items():
            (place / name).write_bytes(content)
    rows = [("subset", "name", "pid", "camid"), *plan.truth]
    with files.whole(truth) as unfinished:
        unfinished.write_text("".join(",".join(row) + "\n" for row in rows))
    wear = [(label, worn(_person(seed, number))) for label, number in plan.labels.items()]
    for table in attributes:
        told(wear).write(table)
    _log.info("toy: wrote %s and %s in %.1f s", folder, truth, time.monotonic() - started)


def _drawn(seed: int, toy: Toy, shot: Shot) -> NDArray[np.uint8]:
    who = _person(seed, shot.person)
    where = camera(generator(seed, _CAMERA, shot.camera))
    rng = generator(seed, _IMAGE, shot.person, shot.image)
    return draw(who, where, shot.domain, toy.height, toy.width, rng)


def _person(seed: int, number: int) -> Person:
    return person(generator(seed, _PERSON, number))


def _png(image: NDArray[np.uint8], compression: int) -> bytes:
    done, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    assert done, image.shape
    return encoded.tobytes()
