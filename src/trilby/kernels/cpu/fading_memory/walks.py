"""Walks down the rows of a memory that fades, four positions at a time.

`s` is [R, W]; its columns stand in blocks of L, two registers wide, each block row after row. x and
z run down the rows, w and y along the columns. What four positions tell each other is computed
apart, once for all columns.
"""

from math import exp
from typing import Any, NamedTuple

from numba import float64

from ...machine.compiler import inner
from ...simd.places import skip, write
from ...simd.vector import as_type, fma, load, missed, store, sum_lanes, zeros
from ..recurrence.triangle import triangle

CHUNK = 128  # positions that are unpacked at a time, and between kept states on the way back
QUAD = 4  # positions in one walk down the rows; what follows has them written out


class Decays(NamedTuple):
    """Of four positions 0..3: what is left of a state, of what was written, and of rounding."""

    decay0: Any  # of the state before the four, after position 0
    decay1: Any
    decay2: Any
    decay3: Any
    left0: Any  # of what position 0 wrote, after position 3
    left1: Any
    left2: Any
    lack: Any  # what decay3 lacks of its value in float64


class Scores(NamedTuple):
    """Of four positions: how much position t reads of what u wrote, z_t . x_u and the decay."""

    score00: Any
    score10: Any
    score11: Any
    score20: Any
    score21: Any
    score22: Any
    score30: Any
    score31: Any
    score32: Any
    score33: Any


DECAYS, SCORES = len(Decays._fields), len(Scores._fields)


class Strip(NamedTuple):
    """A block of columns of a state: row r begins at line[r * down]."""

    line: Any
    down: Any


class Columns(NamedTuple):
    """What runs along a block of columns: that of position u begins at `at + u * width`."""

    w: Any  # what is written
    y: Any  # what is read
    old: Any  # the share of it that was there before the four
    at: Any
    width: Any


class Returned(NamedTuple):
    """The same on the way back."""

    w: Any
    p: Any  # the sequence that read on the way there
    old: Any
    dw: Any  # the gradient of w
    at: Any
    width: Any


class Rows(NamedTuple):
    """What runs down the rows of four positions: that of position u begins at `u * height`."""

    x: Any
    z: Any
    n: Any
    height: Any


@inner()
def rows_of(place, shape, i):
    """What runs down the rows of four positions, the first of which is number i."""
    at = i * shape.height
    return Rows(skip(place.x, at), skip(place.z, at), shape.rows, shape.height)


@inner()
def lasting(g, n):
    """Whether memories last longer than a chunk: half of what was there before n gates is left.

    Then what rounding takes adds up, in as many positions as there are. Growing ones do not count:
    they overflow, and what is left of infinity is not a number.
    """
    left, most = 0.0, 0.0
    for i in range(n):
        left += g[i]
        most = max(most, g[i])
    return left > -0.7 and most <= 0.0


@inner()
def decays_of(a, g, i, long):
    """The decays of four positions from i on; where memories last, from the sum of their gates."""
    a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
    whole, lack = a0 * a1 * a2 * a3, a0 - a0
    if long:
        exact = exp(float64(g[i]) + float64(g[i + 1]) + float64(g[i + 2]) + float64(g[i + 3]))
        whole = as_type(exact, a0)
        lack = as_type(exact - float64(whole), a0)
    return Decays(a0, a0 * a1, a0 * a1 * a2, whole, a1 * a2 * a3, a2 * a3, a3, lack)


@inner()
def scores_of(x, z, a, i, height, half):
    """The scores of four positions; x and z have their rows one behind the other."""
    p = triangle(skip(z, i * height), skip(x, i * height), height, half)
    a1, a2, a3 = a[i + 1], a[i + 2], a[i + 3]
    return Scores(
        p.p00,
        p.p10 * a1, p.p11,
        p.p20 * (a1 * a2), p.p21 * a2, p.p22,
        p.p30 * (a1 * a2 * a3), p.p31 * (a2 * a3), p.p32 * a3, p.p33,
    )  # fmt: skip


@inner()
def tell(place, shape, chunk, long):
    """What each four positions of a chunk tell each other."""
    for i in range(chunk.whole // QUAD):
        write(place.decays, i, decays_of(place.a, place.g, i * QUAD, long))
        found = scores_of(place.x, place.z, place.a, i * QUAD, shape.height, shape.lanes // 2)
        write(place.scores, i, found)


@inner()
def renewed(rest, at, d, h, new, long):
    """One piece of a row after four positions: decay3 h + new, rounded once.

    Where memories last `long`, `rest` has what rounding has left of it so far.
    """
    if not long:
        return d.decay3 * h + new
    decay = d.decay3 + zeros(rest, 2)
    new = fma(decay, load(rest, at, 2), d.lack * h + new)
    after = fma(decay, h, new)
    store(rest, at, missed(decay, h, after) + new)
    return after


@inner()
def four(before, after, rest, rows, columns, d, p, long):
    """Four positions: the state `before` them is read, the one `after` them left."""
    x, z, (w, y, old) = rows.x, rows.z, (columns.w, columns.y, columns.old)
    one, two, three = rows.height, 2 * rows.height, 3 * rows.height
    c0, width = columns.at, columns.width
    c1, c2, c3 = c0 + width, c0 + 2 * width, c0 + 3 * width
    w0, w1, w2, w3 = load(w, c0, 2), load(w, c1, 2), load(w, c2, 2), load(w, c3, 2)
    u0, u1, u2 = d.left0 * w0, d.left1 * w1, d.left2 * w2
    y0 = y1 = y2 = y3 = zeros(w, 2)
    for r in range(rows.n):
        h = load(before.line, r * before.down, 2)
        y0 += z[r] * h
        y1 += z[r + one] * h
        y2 += z[r + two] * h
        y3 += z[r + three] * h
        new = x[r + one] * u1 + x[r] * u0 + x[r + two] * u2 + x[r + three] * w3
        store(after.line, r * after.down, renewed(rest.line, r * rest.down, d, h, new, long))
    y0, y1, y2, y3 = d.decay0 * y0, d.decay1 * y1, d.decay2 * y2, d.decay3 * y3
    store(old, c0, y0)
    store(old, c1, y1)
    store(old, c2, y2)
    store(old, c3, y3)
    store(y, c0, p.score00 * w0 + y0)
    store(y, c1, p.score10 * w0 + y1 + p.score11 * w1)
    store(y, c2, p.score20 * w0 + y2 + p.score21 * w1 + p.score22 * w2)
    store(y, c3, p.score30 * w0 + y3 + p.score31 * w1 + p.score32 * w2 + p.score33 * w3)


@inner()
def one(before, after, rows, columns, decay):
    """One position by itself, as a decoder has them: s comes from far and is seen once."""
    w, y = load(columns.w, columns.at, 2), zeros(columns.w, 2)
    for r in range(rows.n):
        h = rows.x[r] * w + decay * load(before.line, r * before.down, 2)
        y += rows.z[r] * h
        store(after.line, r * after.down, h)
    store(columns.y, columns.at, y)


@inner()
def onward(before, after, rest, rows, columns, d, long):
    """Four positions of which only the state after them is wanted."""
    x, w, c, width = rows.x, columns.w, columns.at, columns.width
    one, two, three = rows.height, 2 * rows.height, 3 * rows.height
    u0, u1 = d.left0 * load(w, c, 2), d.left1 * load(w, c + width, 2)
    u2, w3 = d.left2 * load(w, c + 2 * width, 2), load(w, c + 3 * width, 2)
    for r in range(rows.n):
        h = load(before.line, r * before.down, 2)
        new = x[r + one] * u1 + x[r] * u0 + x[r + two] * u2 + x[r + three] * w3
        store(after.line, r * after.down, renewed(rest.line, r * rest.down, d, h, new, long))


@inner()
def backward(before, after, rows, columns, d, p):
    """Four positions back, in half a block of columns.

    `before` is the state before them. `after` is the gradient of the state after them and becomes
    that of the state before them. x and w wrote, z came back where p read.
    Returns the gradients of the logarithms of the four decays.
    """
    x, z, q = rows.x, rows.z, columns.p
    one, two, three = rows.height, 2 * rows.height, 3 * rows.height
    c, width = columns.at, columns.width
    u0, u1 = d.decay0 * load(q, c, 1), d.decay1 * load(q, c + width, 1)
    u2, u3 = d.decay2 * load(q, c + 2 * width, 1), d.decay3 * load(q, c + 3 * width, 1)
    y0 = y1 = y2 = y3 = both = zeros(q, 1)
    for r in range(rows.n):
        b = load(after.line, r * after.down, 1)
        both += load(before.line, r * before.down, 1) * b
        y0 += x[r] * b
        y1 += x[r + one] * b
        y2 += x[r + two] * b
        y3 += x[r + three] * b
        new = z[r + one] * u1 + z[r] * u0 + z[r + two] * u2 + z[r + three] * u3
        store(after.line, r * after.down, d.decay3 * b + new)
    return gradients((y0, y1, y2, y3), d.decay3 * both, columns, d, p)


@inner()
def gradients(y, both, columns, d, p):
    """The gradients of w into dw, and those of the logarithms of the decays.

    Each share of a decay's gradient belongs to a position before it and one from it on: both are
    among the four (n), or one of them, or none. h: before them and at t; l: at s and after them.
    """
    w, q, old, dw, c0 = columns.w, columns.p, columns.old, columns.dw, columns.at
    c1, c2, c3 = c0 + columns.width, c0 + 2 * columns.width, c0 + 3 * columns.width
    p0, p1, p2, p3 = load(q, c0, 1), load(q, c1, 1), load(q, c2, 1), load(q, c3, 1)
    w0, w1, w2 = load(w, c0, 1), load(w, c1, 1), load(w, c2, 1)
    y0, y1, y2 = d.left0 * y[0], d.left1 * y[1], d.left2 * y[2]
    h3 = p3 * load(old, c3, 1)
    h2 = p2 * load(old, c2, 1) + h3
    h1 = p1 * load(old, c1, 1) + h2
    h0 = p0 * load(old, c0, 1) + h1
    l0, l1, l2 = w0 * y0, w1 * y1, w2 * y2
    n10, n20, n30 = p.score10 * p1, p.score20 * p2, p.score30 * p3
    n21, n31, n32 = p.score21 * p2, p.score31 * p3, p.score32 * p3
    v20 = n20 + n30
    v10, v21 = n10 + v20, n21 + n31
    store(dw, c0, p.score00 * p0 + v10 + y0)
    store(dw, c1, p.score11 * p1 + v21 + y1)
    store(dw, c2, p.score22 * p2 + n32 + y2)
    store(dw, c3, p.score33 * p3 + y[3])
    return (
        sum_lanes(both + h0),
        sum_lanes(w0 * v10 + (both + h1 + l0)),
        sum_lanes(w1 * v21 + (w0 * v20 + (both + h2 + l0 + l1))),
        sum_lanes(w2 * n32 + (w1 * n31 + (w0 * n30 + (both + h3 + l0 + l1 + l2)))),
    )
