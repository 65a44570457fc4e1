"""Distances that are the same on every run: the one order of summation that all others defer to.

The last bits of a matrix product depend on its shape, the number of threads and the processor, and
with them the order of near-equal neighbours. Here a cosine is a sum of float64 products in a fixed
order, divided by the rows' lengths and rounded to float32. Products of two float32 numbers are exact
in float64, so even a fused multiply-add changes nothing; the distance 2 − 2·cos follows from the
rounded cosine. Two neighbours are tied when their float32 cosines are equal, and then the lower
index comes first. Fast code elsewhere only decides *which* pairs have to be looked at here.

Rows of visible regions (VPM, Sun et al. 2019) end in p masses C_i: what stands before are the regions' unit
features times them, u = (C_i f_i)_i. Their cosine is ⟨u, u'⟩ / ⟨C, C'⟩, the mean of the regions' cosines
weighted by how much both images show of each, and so 2 − 2·cos is Σ C_i C'_i ‖f_i − f'_i‖² / Σ C_i C'_i. The
length of a row cancels. Of images that share next to nothing (`LEAST_SHARED`) it goes to 0: strangers.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError

Doubles = NDArray[np.float64]

LEAST_SHARED = 0.005
"""What ⟨C, C'⟩ of rows of length 1, at most 1/2, is taken for where it is less."""

_BLOCK = 1 << 12  # rows looked at in one go

_STEEPEST = 1 / float(np.finfo(np.float32).tiny)  # of 1/length: shorter rows have lost digits already


class Rows(NamedTuple):
    """Query and gallery as one set of rows without a copy: [Q, D], [G, D], and 1/length float64 [N]."""

    query: Floats
    gallery: Floats
    inverse: Doubles
    regions: int
    """How many numbers at the end of a row are masses of visible regions; 0: none."""


def rows(query: Floats, gallery: Floats, regions: int = 0) -> Rows:
    """The union of query and gallery; rows may have any length, they are normalised inside.

    Raises:
        ReidError: a row is zero, not a number or infinite, or the two differ in feature length.
    """
    query, gallery = _read_only(query), _read_only(gallery)
    if query.shape[1] != gallery.shape[1]:
        raise ReidError(
            f"query features have {query.shape[1]} numbers and gallery features {gallery.shape[1]}: "
            "extract both with the same model"
        )
    if regions:
        _require_masses(query, "query", regions)
        _require_masses(gallery, "gallery", regions)
    inverse = np.concatenate([_inverse_lengths(query), _inverse_lengths(gallery)])
    wrong = np.flatnonzero(~(inverse < _STEEPEST) | (inverse == 0))
    if len(wrong):
        place = int(wrong[0])
        which = f"query {place}" if place < len(query) else f"gallery {place - len(query)}"
        raise ReidError(
            f"features: the row of {which} (from 0) is zero, all but zero or not finite, and so are "
            f"{len(wrong) - 1} others: extract them again"
        )
    return Rows(query, gallery, inverse, regions)


def floats(values: Any, what: str) -> Floats:
    """Values as a table float32 [N, D], without a copy where they are one.

    Raises:
        ReidError: they are none, or no floats; `what` is what it calls them.
    """
    array = np.asarray(values)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise ReidError(f"{what}: must be floats [images, numbers], not {array.dtype} {list(array.shape)}")
    return np.asarray(array, np.float32)


def _require_masses(values: Floats, role: str, regions: int) -> None:
    """Refuse rows [N, D] that are not regions' features times masses, and these masses after them."""
    num, dimension = values.shape
    if not 0 < regions < dimension or (dimension - regions) % regions:
        raise ReidError(
            f"features of {dimension} numbers are not those of {regions} regions and their masses"
        )
    for start in range(0, num, _BLOCK):
        block = values[start : start + _BLOCK]
        masses = block[:, -regions:]
        lengths = np.linalg.norm(block[:, :-regions].reshape(len(block), regions, -1), axis=2)
        most = 1.001 * masses + 1e-3 * masses.max(1, keepdims=True)
        wrong = np.flatnonzero(~((masses >= 0) & (lengths <= most)).all(1))
        if len(wrong):
            raise ReidError(
                f"features: the row of {role} {start + int(wrong[0])} (from 0) does not end in the masses of "
                f"{regions} regions, from 0 and at least as long as what stands before: give the number of "
                "regions that the network has"
            )


def _read_only(values: Floats) -> Floats:
    # One array type (plain, C-ordered, read-only, mapped or not) means one compiled kernel.
    view = np.ascontiguousarray(values, dtype=np.float32).view(np.ndarray)
    view.flags.writeable = False
    return view


@njit(nogil=True, cache=True)
def _inverse_lengths(values):  # type: ignore[no-untyped-def]
    out = np.empty(len(values))
    for i in range(len(values)):
        square = dot(values[i], values[i])
        out[i] = 1.0 / np.sqrt(square) if square > 0.0 else np.inf
    return out


LANES = 32


@njit(nogil=True, cache=True)
def dot(a, b):  # type: ignore[no-untyped-def]
    """The inner product of two float32 rows in float64, always in the same order of summation.

    Thirty-two running sums: the compiler makes vector instructions of them without changing any order,
    which it must not do to one sum.
    """
    sums = np.zeros(LANES)
    whole = len(a) // LANES * LANES
    for start in range(0, whole, LANES):
        x, y = a[start : start + LANES], b[start : start + LANES]
        for lane in range(LANES):
            sums[lane] += np.float64(x[lane]) * np.float64(y[lane])
    for lane in range(8):
        sums[lane] = (sums[lane] + sums[lane + 8]) + (sums[lane + 16] + sums[lane + 24])
    for half in (4, 2, 1):
        for lane in range(half):
            sums[lane] += sums[lane + half]
    total: float = sums[0]
    for k in range(whole, len(a)):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@njit(nogil=True, cache=True)
def cosine(union, i, j):  # type: ignore[no-untyped-def]
    """The cosine of rows i and j of a `Rows`, as float32; the same for (j, i)."""
    num_query = len(union.query)
    a = union.query[i] if i < num_query else union.gallery[i - num_query]
    b = union.query[j] if j < num_query else union.gallery[j - num_query]
    scale = union.inverse[i] * union.inverse[j]
    if union.regions == 0:
        return np.float32(dot(a, b) * scale)
    first = len(a) - union.regions
    shared = max(dot(a[first:], b[first:]) * scale, LEAST_SHARED)
    return np.float32(dot(a[:first], b[:first]) * scale / shared)


@njit(nogil=True, cache=True)
def distance(cosine):  # type: ignore[no-untyped-def]
    """The squared Euclidean distance 2 − 2·cos ≥ 0 of unit rows, as float32."""
    return max(np.float32(0.0), np.float32(2.0) - np.float32(2.0) * cosine)


@njit(nogil=True, cache=True)
def cosines(union, rows, others):  # type: ignore[no-untyped-def]
    """The cosines of each of `rows` [B] with its `others` [B, L], float32 [B, L]."""
    found = np.empty(others.shape, np.float32)
    for b in range(len(rows)):
        for c in range(others.shape[1]):
            found[b, c] = cosine(union, rows[b], others[b, c])
    return found
