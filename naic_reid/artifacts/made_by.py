"""The record that each artefact carries of what made it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from naic_reid import __version__
from naic_reid.files import known_digest


@dataclass(frozen=True)
class MadeBy:
    """What made an artefact: enough to repeat it, and to notice that something beneath it changed."""

    stage: str = ""
    revision: int = 1
    version: str = __version__
    settings: str = "{}"
    """Canonical JSON of the settings that mattered."""
    inputs: tuple[tuple[str, str], ...] = ()
    """(path as it was given, digest of its bytes), in the order read."""

    @classmethod
    def of(cls, stage: str, revision: int, settings: Mapping[str, Any], inputs: Sequence[Path]) -> Self:
        """The record of a stage that ran with these settings (sections or plain values) on these files."""
        read = tuple((path.as_posix(), known_digest(path)) for path in inputs)
        return cls(stage, revision, __version__, canonical(settings), read)

    def to_json(self) -> str:
        return canonical(
            {
                "stage": self.stage,
                "revision": self.revision,
                "version": self.version,
                "settings": self.settings,
                "inputs": [list(pair) for pair in self.inputs],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        raw = json.loads(text)
        inputs = tuple((str(path), str(value)) for path, value in raw["inputs"])
        return cls(raw["stage"], raw["revision"], raw["version"], raw["settings"], inputs)


def canonical(settings: Mapping[str, Any]) -> str:
    """One JSON text for equal settings: sorted keys, no spaces; sections are dumped by their keys."""
    return json.dumps(
        settings,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        default=lambda section: section.model_dump(mode="json", by_alias=True),
    )
