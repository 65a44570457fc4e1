"""Where one training lies: a folder of its own, named after everything that decides its numbers.

A run that was cut off goes on there from its last saved step, to the same bits; a finished one only hands
over its files. Every `checkpoint_every`-th epoch is kept there, so that another choice of `ensemble.epochs`
trains nothing again.
"""

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from naic_reid.artifacts import MadeBy, canonical
from naic_reid.config import Model, Train
from naic_reid.data import unlabelled
from naic_reid.errors import ReidError
from naic_reid.files import known_digest, whole
from naic_reid.models import weights
from naic_reid.training import resume

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trajectory:
    """The folder of one training, named after what decides it; and what lies there."""

    parent: Path
    seed: int
    train: Train
    model: Model
    contents: Mapping[str, Any]
    """Digests of the inputs."""
    revision: int
    """Of what training computes: another one takes nothing over."""

    @property
    def name(self) -> str:
        return f"{self.model.backbone.replace('/', '_')}_{self.model.height}x{self.model.width}"

    def settings(self) -> dict[str, Any]:
        """All that decides a trajectory, but for the inputs; not which of its epochs are kept."""
        recipe = self.train.model_dump(mode="json", by_alias=True, exclude={"checkpoint_every"})
        network = self.model.model_dump(mode="json", exclude={"weight", "recipe"})
        return {"seed": self.seed, "train": recipe, "model": network}

    def made_by(self, inputs: list[Path]) -> MadeBy:
        """What the files that are handed over tell of their origin."""
        return MadeBy.of("train", self.revision, self.settings(), inputs)

    @cached_property
    def trajectory(self) -> str:
        return canonical({**self.settings(), **self.contents, "revision": self.revision})

    @cached_property
    def path(self) -> Path:
        return resume.folder_of(self.parent, self.name, self.trajectory)

    def kept(self, epoch: int) -> Path:
        """The checkpoint after that many epochs."""
        return self.path / f"epoch_{epoch}.pt"

    def epochs(self) -> list[int]:
        """Those of which a checkpoint lies here."""
        return sorted(int(path.stem.removeprefix("epoch_")) for path in self.path.glob("epoch_*.pt"))

    def load(self, *, leads: bool) -> dict[str, Any] | None:
        """The state to go on from: of this run or, before its last change, of the run without that."""
        if (found := resume.load(self.path / "state.pt", self.trajectory)) is not None:
            return found
        *earlier, last = self.train.changes or (None,)
        if last is None:
            return None
        before = replace(self, train=self.train.model_copy(update={"changes": tuple(earlier)}))
        found = before.load(leads=leads)
        if found is None or (found["epoch"], found["step"]) > (last.epoch - 1, last.step - 1):
            return None
        _log.info("train: takes over what %s trained before the change in epoch %d", before.path, last.epoch)
        if leads:
            kept = [before.kept(epoch) for epoch in before.epochs() if epoch <= found["epoch"]]
            for path in (*kept, before.path / "history.jsonl"):
                _copy(path, self.path / path.name)
        return found

    def refuse_lost(self, epochs: Iterable[int], passed: int) -> None:
        """Refuse epochs that the run has passed and not kept.

        Raises:
            ReidError: there are some; it names what was kept.
        """
        lost = [epoch for epoch in epochs if epoch <= passed and not self.kept(epoch).exists()]
        if lost:
            raise ReidError(
                f"ensemble.epochs {lost} were trained and not kept; kept are {self.epochs()}: choose among "
                f"these, or delete {self.path} to train again from the beginning"
            )

    def hand_over(self, wanted: Iterable[tuple[int, Path]], history: Path, made_by: MadeBy) -> None:
        """The checkpoints of these epochs, and the history.

        What a run left may lie there for months: nothing damaged is handed over.
        """
        for epoch, path in wanted:
            try:
                checkpoint = weights.Checkpoint.read(self.kept(epoch))
            except ReidError as error:
                raise ReidError(f"{error}; to train anew, delete {self.path}") from error
            replace(checkpoint, made_by=made_by).write(path)
        _copy(self.path / "history.jsonl", history)


def _copy(path: Path, to: Path) -> None:
    with whole(to) as unfinished:
        shutil.copyfile(path, unfinished)


def contents_of(
    images: Path, pretrained: list[Path], attributes: list[Path], further: unlabelled.Rows
) -> dict[str, Any]:
    """Digests of what is read."""
    found: dict[str, Any] = {
        "images": known_digest(images),
        "pretrained": [known_digest(path) for path in pretrained],
    }
    more: dict[str, Any] = (
        {"unlabelled": blake2b(repr(further).encode(), digest_size=16).hexdigest()} if further else {}
    )
    more |= {"attributes": [known_digest(path) for path in attributes]} if attributes else {}
    return found | more
