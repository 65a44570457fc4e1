"""What training did, a JSON object per line: numbers in one file, speeds in another.

Equal runs have equal numbers, so that the first file is the same bytes; speeds never are.
"""

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from naic_reid.training.step import Record

LINES = 50
"""At most this many lines in an epoch."""


class History:
    """Means over the steps since the last line, appended to a file that a cut-off run goes on with.

    `history.jsonl` holds epoch and step (from 1), losses, accuracy, length of the gradient and learning
    rate; with a scaled loss its factor and the number of skipped steps, whose gradient overflowed; and what
    of the recipe changed. `speeds.jsonl` holds images per second and the share of the time in which
    steps waited for batches. Where TensorBoard is installed, `curves` holds all of them, too.
    """

    def __init__(self, folder: Path, position: dict[str, Any] | None = None, *, processes: int = 1) -> None:
        """Open, or go on.

        Args:
            folder: where the files lie.
            position: what `position()` said when the state was saved; what was written since is cut.
            processes: that train together, each with its images.
        """
        position = position or {"length": 0, "steps": 0, "open": []}
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = (folder / "history.jsonl").open("a", encoding="utf-8")
        self._lines.truncate(position["length"])
        self._speeds = (folder / "speeds.jsonl").open("a", encoding="utf-8")
        self._steps: int = position["steps"]
        self._open: list[dict[str, Any]] = position["open"]
        self._processes = processes
        self._curves = _curves(folder / "curves", self._steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._speeds.close()
        if self._curves is not None:
            self._curves.close()

    def add(self, record: Record, changed: dict[str, Any] | None = None) -> None:
        """A step's record, and the words of the recipe that changed with it."""
        self._open.append(asdict(record) | {"finite": record.finite, "changed": changed or {}})
        self._steps += 1
        if not (record.ends_epoch or (record.step + 1) % max(1, -(-record.steps // LINES)) == 0):
            return
        place = {"epoch": record.epoch + 1, "step": record.step + 1}
        line, speeds = _numbers(record, self._open), self._speed()
        self._open = []
        self._lines.write(json.dumps(place | line) + "\n")
        self._speeds.write(json.dumps(place | speeds) + "\n")
        self._speeds.flush()
        if self._curves is not None:
            for name, value in (line | speeds).items():
                if name != "changed":
                    self._curves.add_scalar(name, value, self._steps)

    def position(self) -> dict[str, Any]:
        """Where the file stands, to be kept with the state of training."""
        self._lines.flush()
        return {"length": self._lines.tell(), "steps": self._steps, "open": list(self._open)}

    def _speed(self) -> dict[str, float]:
        seconds = sum(r["seconds"] for r in self._open)
        images = sum(r["images"] for r in self._open) * self._processes
        return {
            "images_per_second": images / seconds,
            "share_waited": sum(r["waited"] for r in self._open) / seconds,
        }


def _numbers(last: Record, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the steps; those of the gradient over the ones that were taken."""
    taken = [r["gradient"] for r in records if r["finite"]]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    terms: dict[str, list[float]] = {}  # one that only some steps have, as of attacks, is theirs alone
    for r in records:
        for name, value in r["losses"].items():
            terms.setdefault(name, []).append(value)
    line: dict[str, Any] = {
        "loss": mean([r["total"] for r in records]),
        **{name: mean(values) for name, values in terms.items()},
        "accuracy": mean([r["accuracy"] for r in records]),
        **({"gradient": mean(taken)} if taken else {}),
        "rate": last.rate,
    }
    if last.scale is not None:
        line |= {"scale": last.scale, "skipped": len(records) - len(taken)}
    changed: dict[str, Any] = {}
    for record in records:
        changed |= record["changed"]
    return line | ({"changed": changed} if changed else {})


def _curves(folder: Path, steps: int) -> Any:
    """TensorBoard's writer; none where it is not installed, for the lines hold the same numbers."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # here, for it costs a second
    except ModuleNotFoundError:
        return None
    return SummaryWriter(folder, purge_step=steps)
