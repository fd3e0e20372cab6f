"""Walks down the rows of a memory that fades, four positions at a time, and what they need.

`s` is [R, W]; its columns stand in blocks of L, two registers wide, each block row after row. x and
z run down the rows, w and y along the columns. Places are small arrays in the nearest cache.
"""

from math import exp

import numba
from numba import float64

from ...simd.elements import decode, encode, fetch
from ...simd.vector import fma, load, missed, plus, spread, store, times, total, zeros

QUAD = 4  # positions in one walk down the rows; what follows has them written out
TOLD = 18  # numbers that `scores` and `low` tell of four positions
LINE = 16  # numbers of float32 in a line of the cache


@numba.njit
def decoded(element):
    return decode(element)


@numba.njit
def encoded(value, like):
    return encode(value, like)


@numba.njit
def unpack(place, at, line, i, step, n):
    """n numbers of a sequence, in the dtype of the place."""
    if step == 1:
        here, there = line[i : i + n], place[at : at + n]
        for j in range(n):
            there[j] = decoded(here[j])
    else:
        for j in range(n):
            place[at + j] = decoded(line[i + j * step])


@numba.njit
def pack(line, i, step, place, at, n, first):
    """n numbers of a place into a result, or on top of what is there already."""
    if step == 1:
        there, here = line[i : i + n], place[at : at + n]
        if first:
            for j in range(n):
                there[j] = encoded(here[j], there[j])
        else:
            for j in range(n):
                there[j] = encoded(decoded(there[j]) + here[j], there[j])
    else:
        for j in range(n):
            before = 0.0 if first else decoded(line[i + j * step])
            line[i + j * step] = encoded(before + place[at + j], line[i])


@numba.njit
def ask(line, i, n):
    """Ask for n numbers that are read soon: a head is a short piece of a long row of memory."""
    for j in range(0, n, LINE):
        fetch(line, i + j)


@numba.njit
def blank(place, at, n):
    for j in range(at, at + n):
        place[j] = 0


@numba.njit
def lasts(g, n):
    """Whether memories last longer than a chunk: half of what was there before n gates is left.

    Then what rounding takes adds up, in as many positions as there are. Growing ones do not count:
    they overflow, and what is left of infinity is not a number.
    """
    left, most = 0.0, 0.0
    for i in range(n):
        left += g[i]
        most = max(most, g[i])
    return left > -0.7 and most <= 0.0


@numba.njit
def low(g, d, m, e):
    """The decay of four positions, m[e + 3], from the sum of its gates, and what it lacks."""
    whole = exp(float64(g[d]) + float64(g[d + 1]) + float64(g[d + 2]) + float64(g[d + 3]))
    m[e + 3] = whole
    m[e + 17] = whole - float64(m[e + 3])


@numba.njit
def blocks(place, line, at, ss, R, columns, width, L):
    """A state [R, columns] as blocks [R, L] of columns, zeros beside it."""
    for c in range(width // L):
        for r in range(R):
            for j in range(L):
                there = c * L + j < columns
                value = line[at + r * ss[3] + (c * L + j) * ss[4]] if there else 0.0
                place[(c * R + r) * L + j] = value


@numba.njit
def products(a, d, m, e):
    """m[e:]: a0, a0 a1, a0 a1 a2, a0 a1 a2 a3; then a1 a2 a3, a2 a3, a3, of four decays a[d:]."""
    m[e] = a[d]
    m[e + 1] = a[d] * a[d + 1]
    m[e + 2] = a[d] * a[d + 1] * a[d + 2]
    m[e + 3] = a[d] * a[d + 1] * a[d + 2] * a[d + 3]
    m[e + 4], m[e + 5], m[e + 6] = a[d + 1] * a[d + 2] * a[d + 3], a[d + 2] * a[d + 3], a[d + 3]


@numba.njit
def scores(x, z, r, pad, step, a, d, m, e):
    """After the products: z_t . x_u times the decays after u up to t, for t = 0..3, u = 0..t."""
    s00 = s10 = s11 = s20 = s21 = s22 = s30 = s31 = s32 = s33 = zeros(x, 1)
    for j in range(r, r + pad, step):
        x0, x1 = load(x, j, 1), load(x, j + pad, 1)
        x2, x3 = load(x, j + 2 * pad, 1), load(x, j + 3 * pad, 1)
        z0, z1 = load(z, j, 1), load(z, j + pad, 1)
        z2, z3 = load(z, j + 2 * pad, 1), load(z, j + 3 * pad, 1)
        s00 = fma(z0, x0, s00)
        s10, s11 = fma(z1, x0, s10), fma(z1, x1, s11)
        s20, s21, s22 = fma(z2, x0, s20), fma(z2, x1, s21), fma(z2, x2, s22)
        s30, s31, s32, s33 = fma(z3, x0, s30), fma(z3, x1, s31), fma(z3, x2, s32), fma(z3, x3, s33)
    products(a, d, m, e)
    a1, a2, a3 = a[d + 1], a[d + 2], a[d + 3]
    m[e + 7] = total(s00)
    m[e + 8], m[e + 9] = total(s10) * a1, total(s11)
    m[e + 10], m[e + 11], m[e + 12] = total(s20) * (a1 * a2), total(s21) * a2, total(s22)
    m[e + 13], m[e + 14] = total(s30) * (a1 * a2 * a3), total(s31) * (a2 * a3)
    m[e + 15], m[e + 16] = total(s32) * a3, total(s33)


@numba.njit
def renew(to, o, a, low, h, new, rest, l, long):
    """One piece of a row after four positions: a h + new, rounded once at the size of the state."""
    if long:
        new = fma(a, load(rest, l, 2), fma(low, h, new))
    after = fma(a, h, new)
    store(to, o, after)
    if long:
        store(rest, l, plus(missed(a, h, after), new))


@numba.njit
def four(s, i, down, to, o, on, R, x, z, r, pad, w, y, old, c, width, m, e, rest, l, L, long):
    """Four positions: s from i on, left in `to` from o on; m[e:] as from `scores`.

    y gets what they read, and old the share of it that was there before the first of them. Where
    memories last `long`, `rest` from l on has what rounding has left of s so far.
    """
    w0, w1 = load(w, c, 2), load(w, c + width, 2)
    w2, w3 = load(w, c + 2 * width, 2), load(w, c + 3 * width, 2)
    u0, u1 = times(spread(m, e + 4, 2), w0), times(spread(m, e + 5, 2), w1)
    u2, a, low = times(spread(m, e + 6, 2), w2), spread(m, e + 3, 2), spread(m, e + 17, 2)
    y0 = y1 = y2 = y3 = zeros(s, 2)
    for j in range(r, r + R):
        h = load(s, i, 2)
        y0 = fma(spread(z, j, 2), h, y0)
        y1 = fma(spread(z, j + pad, 2), h, y1)
        y2 = fma(spread(z, j + 2 * pad, 2), h, y2)
        y3 = fma(spread(z, j + 3 * pad, 2), h, y3)
        new = fma(spread(x, j + pad, 2), u1, times(spread(x, j, 2), u0))
        new = fma(spread(x, j + 3 * pad, 2), w3, fma(spread(x, j + 2 * pad, 2), u2, new))
        renew(to, o, a, low, h, new, rest, l, long)
        i += down
        o += on
        l += L
    y0, y1 = times(spread(m, e, 2), y0), times(spread(m, e + 1, 2), y1)
    y2, y3 = times(spread(m, e + 2, 2), y2), times(a, y3)
    store(old, c, y0)
    store(old, c + width, y1)
    store(old, c + 2 * width, y2)
    store(old, c + 3 * width, y3)
    y0 = fma(spread(m, e + 7, 2), w0, y0)
    y1 = fma(spread(m, e + 9, 2), w1, fma(spread(m, e + 8, 2), w0, y1))
    y2 = fma(spread(m, e + 11, 2), w1, fma(spread(m, e + 10, 2), w0, y2))
    y3 = fma(spread(m, e + 14, 2), w1, fma(spread(m, e + 13, 2), w0, y3))
    store(y, c, y0)
    store(y, c + width, y1)
    store(y, c + 2 * width, fma(spread(m, e + 12, 2), w2, y2))
    store(y, c + 3 * width, fma(spread(m, e + 16, 2), w3, fma(spread(m, e + 15, 2), w2, y3)))


@numba.njit
def one(s, i, down, to, o, on, R, x, z, r, w, y, c, a, d):
    """One position by itself, as a decoder has them: s comes from far and is seen once."""
    decay, w0, y0 = spread(a, d, 2), load(w, c, 2), zeros(s, 2)
    for j in range(r, r + R):
        h = fma(decay, load(s, i, 2), times(spread(x, j, 2), w0))
        y0 = fma(spread(z, j, 2), h, y0)
        store(to, o, h)
        i += down
        o += on
    store(y, c, y0)


@numba.njit
def onward(s, i, to, o, R, L, x, r, pad, w, c, width, m, e, rest, l, long):
    """Four positions of which only the state after them is wanted."""
    a, low, w3 = spread(m, e + 3, 2), spread(m, e + 17, 2), load(w, c + 3 * width, 2)
    u0, u1 = (
        times(spread(m, e + 4, 2), load(w, c, 2)),
        times(spread(m, e + 5, 2), load(w, c + width, 2)),
    )
    u2 = times(spread(m, e + 6, 2), load(w, c + 2 * width, 2))
    for j in range(r, r + R):
        new = fma(spread(x, j + pad, 2), u1, times(spread(x, j, 2), u0))
        new = fma(spread(x, j + 3 * pad, 2), w3, fma(spread(x, j + 2 * pad, 2), u2, new))
        renew(to, o, a, low, load(s, i, 2), new, rest, l, long)
        i += L
        o += L
        l += L


@numba.njit
def backward(s, i, d, o, R, L, x, z, r, pad, w, p, old, dw, c, width, m, e, da):
    """Four positions back: s [R, L] before them, d [R, L] the gradient of s after them.

    d becomes the gradient of s before them. dw gets the gradients of w, of which half of the
    columns of a block are taken at a time; x and w wrote, z came back where p read, `old` is what z
    reads of s. da[:4] gets the gradients of the logarithms of the decays.
    """
    p0, p1, p2, p3 = (
        load(p, c, 1),
        load(p, c + width, 1),
        load(p, c + 2 * width, 1),
        load(p, c + 3 * width, 1),
    )
    u0, u1, u2, u3 = (
        times(spread(m, e, 1), p0),
        times(spread(m, e + 1, 1), p1),
        times(spread(m, e + 2, 1), p2),
        times(spread(m, e + 3, 1), p3),
    )
    a = spread(m, e + 3, 1)
    y0 = y1 = y2 = y3 = both = zeros(s, 1)
    for j in range(r, r + R):
        b = load(d, o, 1)
        both = fma(load(s, i, 1), b, both)
        y0 = fma(spread(x, j, 1), b, y0)
        y1 = fma(spread(x, j + pad, 1), b, y1)
        y2 = fma(spread(x, j + 2 * pad, 1), b, y2)
        y3 = fma(spread(x, j + 3 * pad, 1), b, y3)
        new = fma(spread(z, j + pad, 1), u1, times(spread(z, j, 1), u0))
        new = fma(spread(z, j + 3 * pad, 1), u3, fma(spread(z, j + 2 * pad, 1), u2, new))
        store(d, o, fma(a, b, new))
        i += L
        o += L
    y0, y1, y2 = (
        times(spread(m, e + 4, 1), y0),
        times(spread(m, e + 5, 1), y1),
        times(spread(m, e + 6, 1), y2),
    )
    w0, w1, w2 = load(w, c, 1), load(w, c + width, 1), load(w, c + 2 * width, 1)
    # Each share of a decay's gradient belongs to a position before it and one from it on: both are
    # among the four, or one of them, or none. h: before them and at t; l: at s and after them.
    both = times(a, both)
    h3 = times(p3, load(old, c + 3 * width, 1))
    h2 = fma(p2, load(old, c + 2 * width, 1), h3)
    h1 = fma(p1, load(old, c + width, 1), h2)
    h0 = fma(p0, load(old, c, 1), h1)
    l0, l1, l2 = times(w0, y0), times(w1, y1), times(w2, y2)
    n10, n20, n30 = (
        times(spread(m, e + 8, 1), p1),
        times(spread(m, e + 10, 1), p2),
        times(spread(m, e + 13, 1), p3),
    )
    n21, n31, n32 = (
        times(spread(m, e + 11, 1), p2),
        times(spread(m, e + 14, 1), p3),
        times(spread(m, e + 15, 1), p3),
    )
    v20 = plus(n20, n30)
    v10 = plus(n10, v20)
    v21 = plus(n21, n31)
    da[0] = total(plus(both, h0))
    da[1] = total(fma(w0, v10, plus(plus(both, h1), l0)))
    da[2] = total(fma(w1, v21, fma(w0, v20, plus(plus(plus(both, h2), l0), l1))))
    da[3] = total(
        fma(w2, n32, fma(w1, n31, fma(w0, n30, plus(plus(plus(plus(both, h3), l0), l1), l2))))
    )
    store(dw, c, plus(fma(spread(m, e + 7, 1), p0, v10), y0))
    store(dw, c + width, plus(fma(spread(m, e + 9, 1), p1, v21), y1))
    store(dw, c + 2 * width, plus(fma(spread(m, e + 12, 1), p2, n32), y2))
    store(dw, c + 3 * width, fma(spread(m, e + 16, 1), p3, y3))
