"""Distances that are the same on every run: the one order of summation that all others defer to.

The last bits of a matrix product depend on its shape, the number of threads and the processor, and
with them the order of near-equal neighbours. Here a cosine is a sum of float64 products in a fixed
order, divided by the rows' lengths and rounded to float32. Products of two float32 numbers are exact
in float64, so even a fused multiply-add changes nothing; the distance 2 − 2·cos follows from the
rounded cosine. Two neighbours are tied when their float32 cosines are equal, and then the lower
index comes first. Fast code elsewhere only decides *which* pairs have to be looked at here.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from naic_reid.artifacts import Floats
from naic_reid.errors import ReidError

Doubles = NDArray[np.float64]


class Rows(NamedTuple):
    """Query and gallery as one set of rows without a copy: [Q, D], [G, D], and 1/length float64 [N]."""

    query: Floats
    gallery: Floats
    inverse: Doubles


def rows(query: Floats, gallery: Floats) -> Rows:
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
    inverse = np.concatenate([_inverse_lengths(query), _inverse_lengths(gallery)])
    wrong = np.flatnonzero(~np.isfinite(inverse) | (inverse == 0))
    if len(wrong):
        place = int(wrong[0])
        which = f"query {place}" if place < len(query) else f"gallery {place - len(query)}"
        raise ReidError(
            f"features: the row of {which} (from 0) is zero or not finite, and so are "
            f"{len(wrong) - 1} others: extract them again"
        )
    return Rows(query, gallery, inverse)


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


_LANES, _SUMS = 8, 4


@intrinsic
def _thirty_two_sums(_typing, a, b, length):  # type: ignore[no-untyped-def]
    """Inner product of float32 at addresses a and b in whole steps of 32 numbers.

    Written as vectors of eight, because a compiler may only vectorise a plain sum by reordering it, and
    does so differently from processor to processor; this order is the same on all.
    """

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        *addresses, num = arguments
        index, step = num.type, _LANES * _SUMS
        singles, doubles = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(ir.DoubleType(), _LANES)
        pointers = [builder.inttoptr(address, ir.FloatType().as_pointer()) for address in addresses]
        zero = ir.Constant(doubles, [0.0] * _LANES)
        before = builder.block
        loop, after = (builder.append_basic_block(name) for name in ("products", "sums"))
        builder.cbranch(builder.icmp_signed(">=", num, index(step)), loop, after)

        builder.position_at_end(loop)
        k = builder.phi(index)
        sums = [builder.phi(doubles) for _ in range(_SUMS)]
        added = []
        for s in range(_SUMS):
            place = builder.add(k, index(s * _LANES))
            x, y = (
                builder.fpext(
                    builder.load(
                        builder.bitcast(builder.gep(pointer, [place]), singles.as_pointer()), align=4
                    ),
                    doubles,
                )
                for pointer in pointers
            )
            added.append(builder.fadd(sums[s], builder.fmul(x, y)))
        following = builder.add(k, index(step))
        more = builder.icmp_signed("<=", builder.add(following, index(step)), num)
        builder.cbranch(more, loop, after)
        k.add_incoming(index(0), before)
        k.add_incoming(following, loop)
        for old, new in zip(sums, added, strict=True):
            old.add_incoming(zero, before)
            old.add_incoming(new, loop)

        builder.position_at_end(after)
        totals = []
        for new in added:
            total = builder.phi(doubles)
            total.add_incoming(zero, before)
            total.add_incoming(new, loop)
            totals.append(total)
        vector = builder.fadd(builder.fadd(totals[0], totals[1]), builder.fadd(totals[2], totals[3]))
        parts = [builder.extract_element(vector, ir.IntType(32)(lane)) for lane in range(_LANES)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(x, y) for x, y in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]

    return types.float64(types.uintp, types.uintp, types.intp), generate


@njit(nogil=True, cache=True)
def dot(a, b):  # type: ignore[no-untyped-def]
    """The inner product of two float32 rows in float64, always in the same order of summation."""
    total: float = _thirty_two_sums(a.ctypes.data, b.ctypes.data, len(a))  # type: ignore[call-arg]
    for k in range(len(a) // 32 * 32, len(a)):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@njit(nogil=True, cache=True)
def cosine(union, i, j):  # type: ignore[no-untyped-def]
    """The cosine of rows i and j of a `Rows`, as float32; the same for (j, i)."""
    num_query = len(union.query)
    a = union.query[i] if i < num_query else union.gallery[i - num_query]
    b = union.query[j] if j < num_query else union.gallery[j - num_query]
    return np.float32(dot(a, b) * (union.inverse[i] * union.inverse[j]))


@njit(nogil=True, cache=True)
def distance(cosine):  # type: ignore[no-untyped-def]
    """The squared Euclidean distance 2 − 2·cos ≥ 0 of unit rows, as float32."""
    return max(np.float32(0.0), np.float32(2.0) - np.float32(2.0) * cosine)
