"""Where a network looked: the heat of a page's pictures, small, for the page to lay over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from naic_reid.config import Extract
from naic_reid.data.crops import Part
from naic_reid.errors import ReidError
from naic_reid.pages.pictures import thumbnail
from naic_reid.progress import shown

HEIGHT = 96  # pixels; a last map has 8 to 24 rows


class Looking(NamedTuple):
    """The heat maps of a page."""

    network: str
    """Whose they are."""
    heats: dict[str, str]
    """Key of a picture → data: address, of the picture's shape."""


def looking(parts: Mapping[str, Part], checkpoint: Path, how: Extract, threads: int = 0) -> Looking:
    """The heat of pictures, on this machine's processor; those that cannot be read have none.

    Args:
        parts: key → picture, the most wanted first.
        checkpoint: of the network that looks.
        how: features are taken; what a map does not depend on is left as is quickest.
        threads: of the network; 0: as many as torch takes.

    Raises:
        ReidError: the checkpoint is none, or what it sees is not finite.
    """
    import torch  # here, for pages alone need none

    from naic_reid.extractor import Extractor
    from naic_reid.heat import coloured, heat
    from naic_reid.models.weights import Checkpoint

    if threads:
        torch.set_num_threads(threads)
    trained = Checkpoint.read(checkpoint)
    words = how.model_dump() | {"flip": False, "precision": "fp32", "channels": None}
    extractor = Extractor(trained, device="cpu", **words)
    found = Looking(f"{checkpoint.parent.name}, epoch {trained.epoch}", {})
    for key, part in shown(parts.items(), "report: heat maps", len(parts)):
        try:
            picture = part.read()
        except ReidError:  # which the page says of its picture
            continue
        strengths = heat(extractor, picture)
        size = (HEIGHT, max(1, round(HEIGHT * picture.shape[1] / picture.shape[0])))
        made = thumbnail(coloured(strengths, size), HEIGHT, quality=80)
        assert made is not None
        found.heats[key] = made.source
    return found
