"""The features of a folder of images, remembered between calls.

A row is used again while its file's size, times and inode are what they were, and while the model's are and
it is asked for in the same way; all others are taken anew. A memory that is damaged is made again.
"""

import json
import logging
import os
import zipfile
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from naic_reid import __version__, files
from naic_reid.artifacts import Floats
from naic_reid.data import folders
from naic_reid.errors import ReidError

if TYPE_CHECKING:
    from naic_reid.extractor import Extractor

_Known = dict[str, tuple[tuple[int, ...], Floats]]
"""By name: size, times and inode of the file when its feature was taken, and the feature."""

_log = logging.getLogger(__name__)


def default_cache() -> Path:
    """Where programs keep what can be made again: $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "naic-reid"


def features(extractor: "Extractor", model: Path, gallery: Path, cache: Path) -> tuple[list[str], Floats]:
    """Names below the folder and features float32 [G, D], of the images that can be read.

    Args:
        extractor: the loaded model.
        model: where it was loaded from.
        gallery: the folder, looked through with its sub-folders.
        cache: the folder of memories.

    Raises:
        ReidError: there is no image in the folder that can be read.
    """
    names = folders.below(gallery)
    states = [_state(gallery / name) for name in names]
    place = cache / f"{_short(str(gallery.resolve()), str(model.resolve()))}.npz"
    key = json.dumps([__version__, extractor.options, str(extractor.device), _model_state(model)])
    known = _recalled(place, key)
    fresh = [at for at, name in enumerate(names) if known.get(name, ((), None))[0] != states[at]]
    taken = extractor.files([gallery / names[at] for at in fresh], on_error="skip")
    for name, reason in taken.skipped:
        _log.warning("left out: %s", reason if name in reason else f"{name}: {reason}")
    rows = dict(zip(taken.names, taken.values, strict=True))
    for at in fresh:
        known.pop(names[at], None)
        if (row := rows.get(str(gallery / names[at]))) is not None:
            known[names[at]] = (states[at], row)
    present = {name: known[name] for name in names if name in known}
    if not present:
        raise ReidError(f"{gallery}: no image (PNG or JPEG) that can be read in this folder")
    if fresh or len(present) != len(known):
        _remember(place, key, present)
    return list(present), np.stack([row for _, row in present.values()])


def _state(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


def _model_state(model: Path) -> list[tuple[str, tuple[int, ...]]]:
    paths = sorted(model.iterdir()) if model.is_dir() else [model]
    return [(path.name, _state(path)) for path in paths]


def _short(*texts: str) -> str:
    return blake2b("\0".join(texts).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _recalled(place: Path, key: str) -> _Known:
    try:
        with files.regular(place).open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            if str(held["key"]) != key:
                return {}
            names, states, values = held["names"].tolist(), held["states"].tolist(), held["values"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    return {name: (tuple(state), row) for name, state, row in zip(names, states, values, strict=True)}


def _remember(place: Path, key: str, known: _Known) -> None:
    states: Sequence[tuple[int, ...]] = [state for state, _ in known.values()]
    arrays: dict[str, NDArray[np.generic]] = {
        "key": np.array(key),
        "names": np.array(list(known)),
        "states": np.array(states, np.int64),
        "values": np.stack([row for _, row in known.values()]),
    }
    try:
        with files.whole(place) as unfinished, unfinished.open("wb") as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
    except ReidError as error:
        _log.warning("features are not remembered: %s", error)
