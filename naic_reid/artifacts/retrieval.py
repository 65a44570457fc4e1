"""What lies between search and report: neighbours, Jaccard rows, rankings, and their judged heads."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from naic_reid.artifacts.arrays import read_arrays, write_arrays
from naic_reid.artifacts.checks import Floats, Ints, ascending, built, hold, strings
from naic_reid.artifacts.made_by import MadeBy


@dataclass(frozen=True)
class Neighbours:
    """The K nearest rows of every row within query ∪ gallery, nearest first.

    `rows` int32 [N, K] points into rows; `distances` float32 [N, K] are squared Euclidean, 2 − 2·cos;
    `farthest` float32 [N] is the largest distance in the whole row. A row begins with itself; equal
    distances are ordered by index.
    """

    rows: Ints
    distances: Floats
    farthest: Floats
    num_query: int
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        num = len(self.rows)
        hold(self.rows.ndim == 2 and self.rows.dtype == np.int32, "int32 rows of shape [N, K]")
        hold(self.distances.shape == self.rows.shape, "as many distances as neighbours")
        hold(self.farthest.shape == (num,) and 0 <= self.num_query <= num, "one farthest distance a row")
        hold(bool(np.isfinite(self.distances).all() and np.isfinite(self.farthest).all()), "finite distances")
        if num:
            hold(bool((self.rows >= 0).all() and (self.rows < num).all()), "neighbours within the rows")
            hold(bool((self.rows[:, 0] == np.arange(num)).all()), "rows that begin with themselves")
            hold(ascending(self.distances), "distances that never decrease")

    def write(self, path: Path) -> None:
        arrays = {"rows": self.rows, "distances": self.distances, "farthest": self.farthest}
        write_arrays(path, "Neighbours", self.made_by, arrays | {"num_query": np.array(self.num_query)})

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, a = read_arrays(path, "Neighbours")
        return built(
            path, lambda: cls(a["rows"], a["distances"], a["farthest"], int(a["num_query"]), made_by)
        )


@dataclass(frozen=True)
class JaccardRows:
    """Similarity 1 − J of k-reciprocal encodings where they overlap, query × gallery.

    `similarity` is CSR float32 [Q, G] with sorted columns and values in (0, 1]; what is not stored is
    0. `farthest` float32 [Q] is each query's largest squared distance within query ∪ gallery.
    """

    similarity: sp.csr_array
    farthest: Floats
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        s = self.similarity
        hold(s.dtype == np.float32 and self.farthest.shape == (s.shape[0],), "float32 similarity [Q, G]")
        hold(bool(s.has_sorted_indices) and bool(s.has_canonical_format), "sorted, unique columns")
        hold(bool((s.data > 0).all() and (s.data <= 1).all()), "similarities in (0, 1]")
        hold(bool((s.indices >= 0).all() and (s.indices < s.shape[1]).all()), "columns within the gallery")
        hold(bool(np.isfinite(self.farthest).all()), "finite farthest distances")

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """As they stand in the file."""
        s = self.similarity
        matrix = {"data": s.data, "indices": s.indices, "indptr": s.indptr, "shape": np.array(s.shape)}
        return matrix | {"farthest": self.farthest}

    def write(self, path: Path) -> None:
        write_arrays(path, "JaccardRows", self.made_by, self.arrays)

    @classmethod
    def read(cls, path: Path) -> "JaccardRows":
        made_by, a = read_arrays(path, "JaccardRows")

        def build() -> JaccardRows:
            csr = sp.csr_array((a["data"], a["indices"], a["indptr"]), shape=tuple(a["shape"]))
            csr.check_format(full_check=True)
            return cls(csr, a["farthest"], made_by)

        return built(path, build)


@dataclass(frozen=True)
class Ranking:
    """The best of the gallery for each query, nearest first.

    `queries` (Q) and `gallery` (G) are names; `indices` int32 [Q, R] points into the gallery;
    `distances` float32 [Q, R] never decrease along a row. R is 200 unless the gallery is smaller.
    """

    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    indices: Ints
    distances: Floats
    made_by: MadeBy = field(default_factory=MadeBy)

    def __post_init__(self) -> None:
        hold(self.indices.ndim == 2 and self.indices.dtype == np.int32, "int32 indices of shape [Q, R]")
        hold(self.indices.shape == self.distances.shape, "as many distances as indices")
        hold(len(self.queries) == len(self.indices), "a row for each query")
        hold(self.indices.shape[1] <= len(self.gallery), "no more columns than gallery images")
        hold(bool((self.indices >= 0).all() and (self.indices < len(self.gallery)).all()), "indices in range")
        in_order = np.sort(self.indices, axis=1)
        hold(bool((np.diff(in_order, axis=1) > 0).all()), "no image twice in a row")
        hold(bool(np.isfinite(self.distances).all()) and ascending(self.distances), "ascending distances")

    def write(self, path: Path) -> None:
        names = {"queries": np.array(self.queries, np.str_), "gallery": np.array(self.gallery, np.str_)}
        arrays = names | {"indices": self.indices, "distances": self.distances}
        write_arrays(path, "Ranking", self.made_by, arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        made_by, a = read_arrays(path, "Ranking")
        return built(
            path,
            lambda: cls(strings(a["queries"]), strings(a["gallery"]), a["indices"], a["distances"], made_by),
        )


RIGHT, WRONG, NOT_MET = 1, 0, -1
"""What a query is told of a gallery image; not met: junk, or left out by the protocol."""


@dataclass(frozen=True)
class Heads:
    """The first N of the gallery for each query by each of E rankings, and whether they are right.

    `queries` (Q) and `gallery` (G) are paths as listed; `queried` (Q) and `shown` (G) who is on them, empty
    where nobody knows. `members` (E) and `reranked` bool [E] name the rankings. `indices` int32 [E, Q, N]
    points into the gallery; `distances` float32 [E, Q, N] never decrease along a row; `marks` int8
    [E, Q, N] are `RIGHT`, `WRONG` or `NOT_MET`.
    """

    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    queried: tuple[str, ...]
    shown: tuple[str, ...]
    members: tuple[str, ...]
    reranked: NDArray[np.bool_]
    indices: Ints
    distances: Floats
    marks: NDArray[np.int8]
    made_by: MadeBy = field(default_factory=MadeBy)

    TEXTS: ClassVar = ("queries", "gallery", "queried", "shown", "members")

    def __post_init__(self) -> None:
        shape = self.indices.shape
        hold(len(shape) == 3 and self.indices.dtype == np.int32, "int32 indices of shape [E, Q, N]")
        hold(shape[:2] == (len(self.members), len(self.queries)), "a row for each ranking and query")
        hold(self.distances.shape == shape == self.marks.shape, "as many distances and marks as indices")
        hold(self.reranked.shape == shape[:1], "a word for each ranking")
        hold(len(self.queried) == len(self.queries) and len(self.shown) == len(self.gallery), "persons")
        hold(bool((self.indices >= 0).all() and (self.indices < len(self.gallery)).all()), "indices in range")
        hold(bool(np.isin(self.marks, (RIGHT, WRONG, NOT_MET)).all()), "known marks")
        hold(bool((np.diff(self.distances, axis=2) >= 0).all()), "ascending distances")

    @property
    def rankings(self) -> list[tuple[str, str]]:
        """Member, and `plain` or `re-ranked`, of each ranking."""
        words = zip(self.members, self.reranked.tolist(), strict=True)
        return [(member, "re-ranked" if reranked else "plain") for member, reranked in words]

    def write(self, path: Path) -> None:
        arrays: dict[str, NDArray[Any]] = {
            name: np.array(getattr(self, name), np.str_) for name in self.TEXTS
        }
        arrays |= {"reranked": self.reranked, "indices": self.indices}
        arrays |= {"distances": self.distances, "marks": self.marks}
        write_arrays(path, "Heads", self.made_by, arrays)

    @classmethod
    def read(cls, path: Path) -> "Heads":
        made_by, a = read_arrays(path, "Heads")

        def build() -> Heads:
            queries, gallery, queried, shown, members = (strings(a[name]) for name in Heads.TEXTS)
            numbers = a["reranked"], a["indices"], a["distances"], a["marks"]
            return Heads(queries, gallery, queried, shown, members, *numbers, made_by)

        return built(path, build)
