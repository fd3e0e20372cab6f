"""Walks down the rows of a memory in which nothing fades, eight positions at a time.

`s` is [R, W]; its columns stand in blocks of L, two registers wide, each block row after row. x and
z run down the rows, w and y along the columns. One walk reads s for all eight, another adds what
all eight write: that fills the registers of the machine, and a block of s stays in the nearest
cache. What the eight take of each other is a triangle of products of rows, computed apart.
"""

from typing import Any, NamedTuple

from ...machine.compiler import inner
from ...simd.places import skip
from ...simd.vector import REGISTER, load, store, sum_lanes, zeros

CHUNK = 64  # positions that are unpacked at a time
EIGHT = 8  # positions in one walk down the rows; what follows has them written out
HELD = 2 if REGISTER == 64 else 1  # registers for each of them, of 32 or of 16 that there are


class Rows(NamedTuple):
    """What runs down the rows of eight positions: that of position u begins at `u * height`."""

    line: Any
    n: Any
    height: Any


class Columns(NamedTuple):
    """What runs along a block of columns: that of position u begins at `at + u * width`."""

    line: Any
    at: Any
    width: Any


@inner()
def products(z, x, p, height, half):
    """The products of one row with four others, into p[0] ... p[3]."""
    p0 = p1 = p2 = p3 = zeros(x, 1)
    for j in range(0, height, half):
        now = load(z, j, 1)
        p0 += now * load(x, j, 1)
        p1 += now * load(x, j + height, 1)
        p2 += now * load(x, j + 2 * height, 1)
        p3 += now * load(x, j + 3 * height, 1)
    p[0], p[1], p[2], p[3] = sum_lanes(p0), sum_lanes(p1), sum_lanes(p2), sum_lanes(p3)


@inner()
def triangles(place, shape, whole):
    """z_t . x_s for s <= t, of each eight positions: scores[t * 8 + s % 8]."""
    for t in range(whole):
        first = t // EIGHT * EIGHT
        for s in range(first, t + 1, EIGHT // 2):
            z, x = skip(place.z, t * shape.height), skip(place.x, s * shape.height)
            p = skip(place.scores, t * EIGHT + s - first)
            products(z, x, p, shape.height, shape.lanes // 2)


@inner()
def reads(state, lanes, z, y):
    """What z reads of a block of columns of the state, for eight positions, into y."""
    down, n, one = z
    y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = zeros(state, HELD)
    for r in range(n):
        h = load(state, r * lanes, HELD)
        y0 += down[r] * h
        y1 += down[r + one] * h
        y2 += down[r + 2 * one] * h
        y3 += down[r + 3 * one] * h
        y4 += down[r + 4 * one] * h
        y5 += down[r + 5 * one] * h
        y6 += down[r + 6 * one] * h
        y7 += down[r + 7 * one] * h
    line, at, width = y
    store(line, at, y0)
    store(line, at + width, y1)
    store(line, at + 2 * width, y2)
    store(line, at + 3 * width, y3)
    store(line, at + 4 * width, y4)
    store(line, at + 5 * width, y5)
    store(line, at + 6 * width, y6)
    store(line, at + 7 * width, y7)


@inner()
def shares(p, ratio, w, y):
    """On top of y, what each of eight positions reads of those up to its own; times its ratio."""
    for t in range(EIGHT):
        at = y.at + t * y.width
        sums = load(y.line, at, HELD)
        for s in range(t + 1):
            sums += p[t * EIGHT + s] * load(w.line, w.at + s * w.width, HELD)
        store(y.line, at, ratio[t] * sums)


@inner()
def writes(state, lanes, x, w):
    """Eight positions write into a block of columns of the state."""
    line, at, width = w
    w0, w1 = load(line, at, HELD), load(line, at + width, HELD)
    w2, w3 = load(line, at + 2 * width, HELD), load(line, at + 3 * width, HELD)
    w4, w5 = load(line, at + 4 * width, HELD), load(line, at + 5 * width, HELD)
    w6, w7 = load(line, at + 6 * width, HELD), load(line, at + 7 * width, HELD)
    down, n, one = x
    for r in range(n):
        h = load(state, r * lanes, HELD)
        h += down[r] * w0
        h += down[r + one] * w1
        h += down[r + 2 * one] * w2
        h += down[r + 3 * one] * w3
        h += down[r + 4 * one] * w4
        h += down[r + 5 * one] * w5
        h += down[r + 6 * one] * w6
        h += down[r + 7 * one] * w7
        store(state, r * lanes, h)


@inner()
def bring(place, state, shape):
    """A state whose rows are whole vectors side by side, as blocks of columns."""
    for c in range(shape.blocks):
        for r in range(shape.rows):
            now = load(state.line, r * state.row + c * shape.lanes, 2)
            store(place, c * shape.block + r * shape.lanes, now)


@inner()
def take(state, place, shape):
    """Blocks of columns back into such a state."""
    for c in range(shape.blocks):
        for r in range(shape.rows):
            now = load(place, c * shape.block + r * shape.lanes, 2)
            store(state.line, r * state.row + c * shape.lanes, now)


@inner()
def alone(before, after, place, shape, c):
    """One position by itself, as a decoder has them: the state is left where it lies."""
    at, x, z = c * shape.lanes, place.x, place.z
    w, y = load(place.w, at, 2), zeros(place.w, 2)
    for r in range(shape.rows):
        h = x[r] * w + load(before.line, r * before.row + at, 2)
        y += z[r] * h
        store(after.line, r * after.row + at, h)
    store(place.y, at, place.ratio[0] * y)
