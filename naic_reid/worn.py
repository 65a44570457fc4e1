"""What persons wear, told by a trained network from pictures of them.

from naic_reid.worn import Teller

teller = Teller.load("results/train/wide/epoch_20.pt")
rows = teller.files(["a.jpg", "b.jpg"])      # probabilities float32 [2, Σ values]
teller.values                                # {"sleeves": ("long", "short"), …}, in the order of columns
teller.most_likely(rows)                     # [{"sleeves": "long", …}, …]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from naic_reid.artifacts import Floats
from naic_reid.data import images
from naic_reid.errors import ReidError
from naic_reid.extractor import Extractor
from naic_reid.models.branches import Seen
from naic_reid.models.weights import Checkpoint


class Teller:
    """Pictures → probabilities of every value of every attribute, by the heads of a trained network.

    How a picture is shown to the network is as of `Extractor`; heads look at the mean feature of
    all views, such as the mirror image.
    """

    def __init__(self, network: "_Heads") -> None:
        """Of what `load` made."""
        self._network = network
        self.values: Mapping[str, tuple[str, ...]] = network.values
        """Attribute → its values; columns stand in this order."""

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", **words: Any) -> Self:
        """From a checkpoint of ours, or a folder that `Extractor.save` wrote; arguments as of its `load`.

        Raises:
            ReidError: no heads were trained with this network; or as `Extractor.load`.
        """
        return cls(_Heads.load(path, device, **words))

    def files(self, paths: Sequence[str | Path], *, batch: int = 0, workers: int = 0) -> Floats:
        """Probabilities float32 [N, Σ values] of image files, in their order."""
        return self._network._all([Path(path) for path in paths], images.read, batch=batch, workers=workers)

    def images(self, arrays: Sequence[NDArray[np.uint8]], *, batch: int = 0, workers: int = 0) -> Floats:
        """The same of pictures in memory, uint8 [h, w, 3], RGB."""
        return self._network.images(arrays, batch=batch, workers=workers)

    def most_likely(self, rows: Floats) -> list[dict[str, str]]:
        """Of each row of probabilities the likeliest value of each attribute."""
        found: list[dict[str, str]] = [{} for _ in rows]
        at = 0
        for name, words in self.values.items():
            for told, best in zip(found, rows[:, at : at + len(words)].argmax(1).tolist(), strict=True):
                told[name] = words[best]
            at += len(words)
        return found


class _Heads(Extractor):
    """An extractor whose rows are what attribute heads tell and not features."""

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", **words: Any) -> None:
        super().__init__(checkpoint, device=device, **words)
        trained = checkpoint.attributes
        if trained is None:
            raise ReidError(
                f"{checkpoint.name}: tells nothing of what persons wear: train with train.attributes"
            )
        self.values = trained.values
        self._group = self.network.identity_groups[0]
        try:
            self.heads = trained.heads(self.network.width(self._group.branches))
        except ValueError as error:
            raise ReidError(f"{checkpoint.name}: {error}; train the model again") from error
        self.heads.to(self.device).requires_grad_(False)
        self.dimension = sum(map(len, self.values.values()))

    def _rows(self, seen: dict[str, Seen]) -> Tensor:
        views = len(self.how.scales) * (1 + self.flip)
        return self.heads.probabilities(self._group.rows(seen, "feature").float() / views)
