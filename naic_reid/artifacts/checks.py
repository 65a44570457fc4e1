"""What artefacts promise, and the sentences that refuse what does not keep it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from naic_reid.errors import ReidError

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
_T = TypeVar("_T")


def strings(values: NDArray[Any]) -> tuple[str, ...]:
    return tuple(values.tolist())


def ascending(values: Floats) -> bool:
    return bool((np.diff(values, axis=1) >= 0).all())


def hold(condition: bool, promise: str) -> None:
    if not condition:
        raise ValueError(f"it must have {promise}")


def built(path: Path, build: Callable[[], _T]) -> _T:
    try:
        return build()
    except MemoryError:
        raise
    except Exception as error:  # NumPy and SciPy raise whatever the damage leads to
        raise damaged(path, "this type", error) from error


def damaged(path: Path, kind: str, error: Exception) -> ReidError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return ReidError(f"{path}: not a whole {kind} file: {reason}; delete it and run again")


def unreadable(path: Path, error: OSError) -> ReidError:
    return ReidError(f"{path}: cannot be read: {error.strerror or error}")
