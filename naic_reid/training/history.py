"""What training did: a JSON object per line, and TensorBoard curves of the same numbers where it is there."""

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from naic_reid.training.loop import Record

LINES = 50
"""At most this many lines in an epoch."""


class History:
    """Means over the steps since the last line, appended to a file that a cut-off run goes on with."""

    def __init__(self, folder: Path, position: dict[str, Any] | None = None) -> None:
        """`position` is what `position()` said when the state was saved; what was written since is cut."""
        position = position or {"length": 0, "steps": 0, "open": []}
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = (folder / "history.jsonl").open("a", encoding="utf-8")
        self._lines.truncate(position["length"])
        self._steps: int = position["steps"]
        self._open: list[dict[str, Any]] = position["open"]
        self._curves = _curves(folder / "curves", self._steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        if self._curves is not None:
            self._curves.close()

    def add(self, record: Record) -> None:
        self._open.append(asdict(record))
        self._steps += 1
        if not (record.ends_epoch or (record.step + 1) % max(1, -(-record.steps // LINES)) == 0):
            return
        line = self._line(record)
        self._open = []
        self._lines.write(json.dumps(line) + "\n")
        for name, value in line.items() if self._curves is not None else ():
            if name not in ("epoch", "step"):
                self._curves.add_scalar(name, value, self._steps)

    def position(self) -> dict[str, Any]:
        """Where the file stands, to be kept with the state of training."""
        self._lines.flush()
        return {"length": self._lines.tell(), "steps": self._steps, "open": list(self._open)}

    def _line(self, record: Record) -> dict[str, float]:
        def mean(values: list[float]) -> float:
            return sum(values) / len(values)

        seconds = sum(r["seconds"] for r in self._open)
        return {
            "epoch": record.epoch + 1,
            "step": record.step + 1,
            "loss": mean([r["total"] for r in self._open]),
            **{name: mean([r["losses"][name] for r in self._open]) for name in record.losses},
            "accuracy": mean([r["accuracy"] for r in self._open]),
            "rate": record.rate,
            "images_per_second": sum(r["images"] for r in self._open) / seconds,
            "share_waited": sum(r["waited"] for r in self._open) / seconds,
        }


def _curves(folder: Path, steps: int) -> Any:
    """TensorBoard's writer; none where it is not installed, for the lines hold the same numbers."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # here, for it costs a second
    except ModuleNotFoundError:
        return None
    return SummaryWriter(folder, purge_step=steps)
