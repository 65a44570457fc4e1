"""One unit-length row per image, in a file that may be larger than memory."""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from naic_reid.artifacts.arrays import FIRST_DATE, put, read_arrays
from naic_reid.artifacts.checks import Floats, built, hold, strings
from naic_reid.artifacts.made_by import MadeBy
from naic_reid.errors import ReidError
from naic_reid.files import regular, whole

UNIT_TOLERANCE = 1e-3


_BLOCK = 1 << 14  # rows looked at in one go when a large array is checked


@dataclass(frozen=True)
class Features:
    """One unit-length row per image of a list: `names` (N), `values` float32 [N, D]."""

    names: tuple[str, ...]
    values: Floats
    made_by: MadeBy = field(default_factory=MadeBy)
    regions: int = field(default=0, kw_only=True)
    """How many numbers at the end of each row are masses of visible regions, whose features times them stand
    before: such rows are compared by two products (`retrieval.exact`); 0: none, by one."""

    def __post_init__(self) -> None:
        hold(self.values.ndim == 2 and self.values.dtype == np.float32, "float32 values of shape [N, D]")
        hold(0 <= self.regions <= max(self.values.shape[1] - 1, 0), "masses of regions beside features")
        hold(not self.regions or bool((self.values[:, -self.regions :] >= 0).all()), "masses from 0")
        hold(len(self.names) == len(self.values), "as many names as rows")
        hold(len(set(self.names)) == len(self.names), "unique names")
        for start in range(0, len(self.values), _BLOCK):
            block = self.values[start : start + _BLOCK]
            square = np.einsum("nd,nd->n", block, block)
            wrong = np.flatnonzero(~(np.abs(np.sqrt(square) - 1) <= UNIT_TOLERANCE))
            if len(wrong):
                name = self.names[start + int(wrong[0])]
                hold(False, f"finite rows of length 1, which the row of {name} is not")

    def write(self, path: Path) -> None:
        size, more = self.values.shape[1], saying_regions(self.regions)
        with streamed_features(path, self.names, size, self.made_by, more=more) as append:
            append(self.values)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's features; `values` is mapped read-only from the file, not held in memory."""
        made_by, arrays = read_arrays(path, "Features", mapped="values")
        regions = int(arrays.get("regions", np.array(0)))
        return built(path, lambda: cls(strings(arrays["names"]), arrays["values"], made_by, regions=regions))


def saying_regions(regions: int) -> dict[str, NDArray[Any]]:
    """The array that tells of masses of regions in a file; none where there are none."""
    return {"regions": np.array(regions, np.int64)} if regions else {}


@contextmanager
def streamed_features(
    path: Path,
    names: Sequence[str],
    dimension: int,
    made_by: MadeBy,
    *,
    kind: str = "Features",
    more: Mapping[str, NDArray[Any]] | None = None,
) -> Iterator[Callable[[Floats], None]]:
    """A function that appends blocks of rows [·, D] to a `Features` file, whole when the block ends.

    Memory does not grow with N. The rows must add up to one per name. `more` are arrays beside names and
    values, of a file of another `kind` or of `saying_regions`.
    """
    written = 0
    with whole(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        put(archive, "type", np.array(kind))
        put(archive, "made_by", np.array(made_by.to_json()))
        for name, values in (more or {}).items():
            put(archive, name, values)
        put(archive, "names", np.array(list(names), dtype=np.str_))
        with archive.open(zipfile.ZipInfo("values.npy", FIRST_DATE), "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(names), dimension)}
            np.lib.format.write_array_header_2_0(member, header)

            def append(rows: Floats) -> None:
                nonlocal written
                assert rows.shape[1:] == (dimension,), (rows.shape, dimension)
                for start in range(0, len(rows), _BLOCK):
                    member.write(np.ascontiguousarray(rows[start : start + _BLOCK], dtype="<f4").data)
                written += len(rows)

            yield append
            assert written == len(names), (written, len(names))


def read_npy(path: Path) -> Floats:
    """Features from a `.npy` file of other making, float32 [N, D], mapped; rows of any length.

    Raises:
        ReidError: it cannot be read, or holds something else.
    """
    try:
        values = np.load(regular(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ReidError(f"{path}: cannot be read as .npy: {error}; write it with numpy.save") from error
    if not isinstance(values, np.memmap) or values.ndim != 2 or values.dtype != np.float32:
        raise ReidError(f"{path}: must hold one float32 array of shape [images, numbers]")
    rest = path.stat().st_size - values.offset - values.nbytes
    if rest:
        raise ReidError(f"{path}: {rest:,} bytes stand behind its array: write it again with numpy.save")
    return values
