"""Four positions of the delta rule at a time, and the walks down a state that they take.

A state is [R, W]; its columns stand in blocks of L, two registers wide, each block row after row.
Four positions see the state before them through `early` rows, which carry the decays since then,
leave something in the state after them by `late` rows, which carry the decays until then, and see
each other by a triangle of scores. All of it is computed apart, once for all columns. What is left
are walks in which each piece of a row of the state meets four positions at once.
"""

from typing import Any, NamedTuple

from ...machine.compiler import inner
from ...simd.places import skip, write
from ...simd.vector import load, store, zeros
from ..recurrence.triangle import triangle

CHUNK = 64  # positions that are unpacked at a time, and between kept states on the way back
QUAD = 4  # positions in one walk down the rows; what follows has them written out


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
    whole: Any  # what is left of the state before the four


TOLD = len(Told._fields)


@inner()
def scaled(x, width, half, by):
    """One row, in place, times a number."""
    for j in range(0, width, half):
        store(x, j, by * load(x, j, 1))


@inner()
def seen(place, i, width, half):
    """The early and late rows of four positions, the first of which is number i."""
    a0, a1, a2, a3 = place.a[i], place.a[i + 1], place.a[i + 2], place.a[i + 3]
    one, two, three = (i + 1) * width, (i + 2) * width, (i + 3) * width
    for j in range(i * width, one, half):
        k0, q0 = load(place.k, j, 1), load(place.q, j, 1)
        store(place.early_k, j, a0 * k0)
        store(place.early_q, j, a0 * q0)
        store(place.late, j, (a1 * a2 * a3) * k0)
    for j in range(one, two, half):
        k1, q1 = load(place.k, j, 1), load(place.q, j, 1)
        store(place.early_k, j, (a0 * a1) * k1)
        store(place.early_q, j, (a0 * a1) * q1)
        store(place.late, j, (a2 * a3) * k1)
    for j in range(two, three, half):
        k2, q2 = load(place.k, j, 1), load(place.q, j, 1)
        store(place.early_k, j, (a0 * a1 * a2) * k2)
        store(place.early_q, j, (a0 * a1 * a2) * q2)
        store(place.late, j, a3 * k2)
    for j in range(three, three + width, half):
        k3, q3 = load(place.k, j, 1), load(place.q, j, 1)
        store(place.early_k, j, (a0 * a1 * a2 * a3) * k3)
        store(place.early_q, j, (a0 * a1 * a2 * a3) * q3)
        store(place.late, j, k3)


@inner()
def told(place, i, height, half):
    """What the four positions from i on, whose q and k run down the rows, tell each other."""
    a1, a2, a3 = place.a[i + 1], place.a[i + 2], place.a[i + 3]
    whole = place.a[i] * a1 * a2 * a3
    q, k, beta = skip(place.q, i * height), skip(place.k, i * height), place.beta
    x, y = triangle(q, k, height, half), triangle(k, k, height, half)
    return Told(
        x.p00,
        x.p10 * a1, x.p11,
        x.p20 * (a1 * a2), x.p21 * a2, x.p22,
        x.p30 * (a1 * a2 * a3), x.p31 * (a2 * a3), x.p32 * a3, x.p33,
        y.p10 * a1,
        y.p20 * (a1 * a2), y.p21 * a2,
        y.p30 * (a1 * a2 * a3), y.p31 * (a2 * a3), y.p32 * a3,
        beta[i], beta[i + 1], beta[i + 2], beta[i + 3], whole,
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
        s = whole * load(before, r * L, 2)
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
