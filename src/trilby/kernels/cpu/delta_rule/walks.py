"""Four positions of the delta rule at a time, and the walks down a state that they take.

A state is [R, W]; its columns stand in blocks of L, two registers wide, each block row after row.
Four positions see the state before them through `early` rows, which carry the decays since then,
leave something in the state after them by `late` rows, which carry the decays until then, and see
each other by a triangle of scores. All of it is computed apart, once for all columns. What is left
are walks in which each piece of a row of the state meets four positions at once.
"""

from typing import Any, NamedTuple

from ...machine.compiler import inner
from ...simd.places import write
from ...simd.vector import load, store, sum_lanes, zeros
from .gates import QUAD, decays, keep, of_row


class Told(NamedTuple):
    """What four positions tell each other, and the state."""

    q00: Any  # q of position 0 at the key of position 0; q10: of 1 at 0, with the decay between
    q10: Any
    q11: Any
    q20: Any
    q21: Any
    q22: Any
    q30: Any
    q31: Any
    q32: Any
    q33: Any
    k10: Any  # a key at an earlier key, with the decay between
    k20: Any
    k21: Any
    k30: Any
    k31: Any
    k32: Any
    beta0: Any
    beta1: Any
    beta2: Any
    beta3: Any


TOLD = len(Told._fields)


@inner()
def scaled(x, width, half, by):
    """One row, in place, times a number."""
    for j in range(0, width, half):
        store(x, j, by * load(x, j, 1))


@inner()
def seen(place, i, width, half):
    """The early and late rows of four positions, the first of which is number i."""
    for j in range(0, width, half):
        a0, a1, a2, a3 = decays(place, i, j, width, 1)
        at = i * width + j
        early(place, at, a0)
        early(place, at + width, a0 * a1)
        early(place, at + 2 * width, a0 * a1 * a2)
        early(place, at + 3 * width, a0 * a1 * a2 * a3)
        store(place.late, at, (a1 * a2 * a3) * load(place.k, at, 1))
        store(place.late, at + width, (a2 * a3) * load(place.k, at + width, 1))
        store(place.late, at + 2 * width, a3 * load(place.k, at + 2 * width, 1))
        store(place.late, at + 3 * width, load(place.k, at + 3 * width, 1))
        keep(place, i, j, width, a0 * a1 * a2 * a3)


@inner()
def early(place, at, since):
    """Some numbers of the early rows of a position, by the decays since the state before."""
    store(place.early_q, at, since * load(place.q, at, 1))
    store(place.early_k, at, since * load(place.k, at, 1))


@inner()
def told(place, i, height, half):
    """What the four positions from i on, whose q and k run down the rows, tell each other."""
    q00 = q10 = q11 = q20 = q21 = q22 = q30 = q31 = q32 = q33 = zeros(place.k, 1)
    k10 = k20 = k21 = k30 = k31 = k32 = zeros(place.k, 1)
    for j in range(0, height, half):
        _, a1, a2, a3 = decays(place, i, j, height, 1)
        at = i * height + j
        x0, x1 = load(place.k, at, 1), load(place.k, at + height, 1)
        x2, x3 = load(place.k, at + 2 * height, 1), load(place.k, at + 3 * height, 1)
        q00 += load(place.q, at, 1) * x0
        q1, w0 = load(place.q, at + height, 1), a1 * x0  # w fades from position to position
        q10 += q1 * w0
        q11 += q1 * x1
        k10 += x1 * w0
        q2, w0, w1 = load(place.q, at + 2 * height, 1), a2 * w0, a2 * x1
        q20 += q2 * w0
        q21 += q2 * w1
        q22 += q2 * x2
        k20 += x2 * w0
        k21 += x2 * w1
        q3, w0, w1, w2 = load(place.q, at + 3 * height, 1), a3 * w0, a3 * w1, a3 * x2
        q30 += q3 * w0
        q31 += q3 * w1
        q32 += q3 * w2
        q33 += q3 * x3
        k30 += x3 * w0
        k31 += x3 * w1
        k32 += x3 * w2
    beta = place.beta
    return Told(
        sum_lanes(q00), sum_lanes(q10), sum_lanes(q11), sum_lanes(q20), sum_lanes(q21),
        sum_lanes(q22), sum_lanes(q30), sum_lanes(q31), sum_lanes(q32), sum_lanes(q33),
        sum_lanes(k10), sum_lanes(k20), sum_lanes(k21), sum_lanes(k30), sum_lanes(k31),
        sum_lanes(k32), beta[i], beta[i + 1], beta[i + 2], beta[i + 3],
    )  # fmt: skip


@inner()
def tell(place, shape, chunk):
    """What each four positions of a chunk, whose q and k run down the rows, tell."""
    half = shape.lanes // 2
    for i in range(chunk.whole // QUAD):
        seen(place, i * QUAD, shape.height, half)
        write(place.told, i, told(place, i * QUAD, shape.height, half))


@inner()
def found(S, x, shape):
    """What four rows x, down the rows of a block of a state, find in it."""
    one, two, three, L = shape.height, 2 * shape.height, 3 * shape.height, shape.lanes
    y0 = y1 = y2 = y3 = zeros(S, 2)
    for r in range(shape.rows):
        s = load(S, r * L, 2)
        y0 += x[r] * s
        y1 += x[r + one] * s
        y2 += x[r + two] * s
        y3 += x[r + three] * s
    return y0, y1, y2, y3


@inner()
def found_with(S, x, other, shape):
    """The same, and the sum of the products of two states, column by column."""
    one, two, three, L = shape.height, 2 * shape.height, 3 * shape.height, shape.lanes
    y0 = y1 = y2 = y3 = both = zeros(S, 2)
    for r in range(shape.rows):
        s = load(S, r * L, 2)
        y0 += x[r] * s
        y1 += x[r + one] * s
        y2 += x[r + two] * s
        y3 += x[r + three] * s
        both += load(other, r * L, 2) * s
    return (y0, y1, y2, y3), both


@inner()
def written(before, after, x, w, whole, shape):
    """A block of a state after four positions: whole * before + x_0 w_0^T + ... + x_3 w_3^T."""
    one, two, three, L = shape.height, 2 * shape.height, 3 * shape.height, shape.lanes
    w0, w1, w2, w3 = w
    for r in range(shape.rows):
        s = of_row(whole, r) * load(before, r * L, 2)
        s += x[r] * w0
        s += x[r + one] * w1
        s += x[r + two] * w2
        s += x[r + three] * w3
        store(after, r * L, s)


@inner()
def subtracted(S, x, w, shape):
    """A block of a state, in place: S - x_0 w_0^T - ... - x_3 w_3^T."""
    one, two, three, L = shape.height, 2 * shape.height, 3 * shape.height, shape.lanes
    w0, w1, w2, w3 = w
    for r in range(shape.rows):
        s = load(S, r * L, 2)
        s -= x[r] * w0
        s -= x[r + one] * w1
        s -= x[r + two] * w2
        s -= x[r + three] * w3
        store(S, r * L, s)


@inner()
def loaded(place, at, width):
    """A block of columns of four positions."""
    return (
        load(place, at, 2), load(place, at + width, 2),
        load(place, at + 2 * width, 2), load(place, at + 3 * width, 2),
    )  # fmt: skip


@inner()
def stored(place, at, width, four):
    """Write a block of columns of four positions."""
    store(place, at, four[0])
    store(place, at + width, four[1])
    store(place, at + 2 * width, four[2])
    store(place, at + 3 * width, four[3])
