"""The two programs of memories that fade: chunks of positions unpacked, walked over, packed."""

from collections.abc import Callable
from functools import partial
from math import exp
from typing import Any

from numba import types

from ...machine.compiler import Kernel
from ...simd.address import line
from .walks import (
    QUAD,
    TOLD,
    ask,
    backward,
    blank,
    blocks,
    four,
    lasts,
    low,
    one,
    onward,
    pack,
    products,
    scores,
    unpack,
)  # fmt: skip

CHUNK = 128  # positions that are unpacked at a time, and between kept states on the way back
AHEAD = 8  # positions that are asked for before they are unpacked


def _signature(tensors: int, flags: int) -> Callable[[tuple[Any, Any]], tuple[Any, ...]]:
    six, four = types.UniTuple(types.int64, 6), types.UniTuple(types.int64, 4)

    def signature(key: tuple[Any, Any]) -> tuple[Any, ...]:
        acc = types.float64 if key[0] == types.float64 else types.float32
        return (*key, acc, *[six] * (tensors + 1), four, *[types.boolean] * flags, types.int64)

    return signature


@partial(Kernel, signature=_signature(7, 1))
def RECUR(e, f, g, xs, ws, zs, As, ss, es, os, sizes, part, back, place):
    T, H, n, R, W, L = sizes
    span = min(CHUNK, -(-T // QUAD) * QUAD)
    i0, i1, c0, c1 = part
    x, w, z, out = line(xs[0], e), line(ws[0], e), line(zs[0], e), line(os[0], f)
    a, start, end, free = line(As[0], g), line(ss[0], g), line(es[0], g), line(place, g)
    width, columns, pad = (c1 - c0) * L, min(W, c1 * L) - c0 * L, -(-R // L) * L
    xb, zb, free = free[: span * pad], free[span * pad :], free[2 * span * pad :]
    wb, yb, free = free[: span * width], free[span * width :], free[2 * span * width :]
    old, free = free[: span * width], free[span * width :]
    ab, gb, free = free[:span], free[span : 2 * span], free[2 * span :]
    m, s = free, free[span // QUAD * TOLD :]
    rest = s[R * width :]  # what rounding has left of s
    # A state whose rows are whole vectors side by side is read and left where it lies.
    straight = columns == width and ss[4] == 1 and es[4] == 1 and not back
    for item in range(i0, i1):
        b, share = item // n, H // n
        for h in range((item % n) * share, (item % n + 1) * share):
            at_x = b * xs[1] + (h * xs[5] // H) * xs[3]
            at_w = b * ws[1] + (h * ws[5] // H) * ws[3] + c0 * L * ws[4]
            at_z = b * zs[1] + (h * zs[5] // H) * zs[3]
            at_a = b * As[1] + (h * As[5] // H) * As[3]
            at_s = b * ss[1] + h * ss[2] + c0 * L * ss[4]
            at_e = b * es[1] + h * es[2] + c0 * L * es[4]
            at_o = b * os[1] + (item % n) * os[3] + c0 * L * os[4]
            long = False
            if not straight:
                blocks(s, start, at_s, ss, R, columns, width, L)
            for begin in range(0, T, span):
                many = min(span, T - begin)
                for i in range(many):
                    t = T - 1 - begin - i if back else begin + i
                    ahead = t - AHEAD if back else t + AHEAD
                    if 0 <= ahead < T:
                        ask(x, at_x + ahead * xs[2], R)
                        ask(z, at_z + ahead * zs[2], R)
                        ask(w, at_w + ahead * ws[2], columns)
                    unpack(xb, i * pad, x, at_x + t * xs[2], xs[4], R)
                    unpack(zb, i * pad, z, at_z + t * zs[2], zs[4], R)
                    unpack(wb, i * width, w, at_w + t * ws[2], ws[4], columns)
                    blank(xb, i * pad + R, pad - R)
                    blank(zb, i * pad + R, pad - R)
                    blank(wb, i * width + columns, width - columns)
                    if not back:
                        gb[i] = a[at_a + t * As[2]]
                    else:
                        gb[i] = a[at_a + (t + 1) * As[2]] if t + 1 < T else 0.0
                    ab[i] = exp(gb[i])
                quads = -(-many // QUAD)
                for i in range(many, quads * QUAD):  # positions that change nothing
                    blank(xb, i * pad, pad)
                    blank(zb, i * pad, pad)
                    blank(wb, i * width, width)
                    ab[i], gb[i] = 1.0, 0.0
                long, before = span < T and lasts(gb, quads * QUAD), long and begin > 0
                if long and not before:
                    blank(rest, 0, R * width)
                for i in range(quads if T > 1 else 0):
                    scores(xb, zb, i * QUAD * pad, pad, L // 2, ab, i * QUAD, m, i * TOLD)
                    if long:
                        low(gb, i * QUAD, m, i * TOLD)
                for c in range(c1 - c0):
                    for i in range(quads):
                        from_, f0, down = s, c * R * L, L
                        to, o, on = s, c * R * L, L
                        if straight and begin == 0 and i == 0:
                            from_, f0, down = start, at_s + c * L, ss[3]
                        if straight and begin + many == T and i == quads - 1:
                            to, o, on = end, at_e + c * L, es[3]
                        if T == 1:
                            one(from_, f0, down, to, o, on, R, xb, zb, 0, wb, yb, c * L, ab, 0)
                        else:
                            four(from_, f0, down, to, o, on, R, xb, zb, i * QUAD * pad, pad, wb,
                                 yb, old, i * QUAD * width + c * L, width, m, i * TOLD,
                                 rest, c * R * L, L, long)  # fmt: skip
                for i in range(many):
                    t = T - 1 - begin - i if back else begin + i
                    first = h == (item % n) * share
                    pack(out, at_o + t * os[2], os[4], yb, i * width, columns, first)
            if not straight:
                fade = exp(a[at_a]) if back else 1.0
                for r in range(R):
                    for j in range(columns):
                        value = s[(j // L * R + r) * L + j % L] * fade
                        end[at_e + r * es[3] + j * es[4]] = value


@partial(Kernel, signature=_signature(10, 0))
def KEYS(e, f, g, xs, ws, zs, ps, As, ss, ds, os, us, gs, sizes, part, place):
    """s^T is written by x = v and w = k, z = dy came back where p = q read; o = dq, u = dk."""
    T, H, n, R, W, L = sizes
    i0, i1, c0, c1 = part
    x, w, z, p = line(xs[0], e), line(ws[0], e), line(zs[0], e), line(ps[0], e)
    a, start, ends, da = line(As[0], g), line(ss[0], g), line(ds[0], g), line(gs[0], g)
    out, keys, free = line(os[0], f), line(us[0], f), line(place, g)
    width, columns, pad = (c1 - c0) * L, min(W, c1 * L) - c0 * L, -(-R // L) * L
    chunks, block = -(-T // CHUNK), R * width
    xb, zb, free = free[: CHUNK * pad], free[CHUNK * pad :], free[2 * CHUNK * pad :]
    wb, pb, free = free[: CHUNK * width], free[CHUNK * width :], free[2 * CHUNK * width :]
    yb, old, free = free[: CHUNK * width], free[CHUNK * width :], free[2 * CHUNK * width :]
    kb, free = free[: CHUNK * width], free[CHUNK * width :]
    ab, gb, free = free[:CHUNK], free[CHUNK : 2 * CHUNK], free[2 * CHUNK :]
    db, free = free[: QUAD * L], free[QUAD * L :]
    m, d, free = free, free[CHUNK // QUAD * TOLD :], free[CHUNK // QUAD * TOLD + block :]
    borders, free = free, free[chunks * block :]
    rest, s = free[:block], free[block:]  # what rounding has left of the states
    for item in range(i0, i1):
        b, share = item // n, H // n
        for h in range((item % n) * share, (item % n + 1) * share):
            at_x = b * xs[1] + (h * xs[5] // H) * xs[3]
            at_w = b * ws[1] + (h * ws[5] // H) * ws[3] + c0 * L * ws[4]
            at_z = b * zs[1] + (h * zs[5] // H) * zs[3]
            at_p = b * ps[1] + (h * ps[5] // H) * ps[3] + c0 * L * ps[4]
            at_a = b * As[1] + (h * As[5] // H) * As[3]
            at_o = b * os[1] + (h * os[5] // H) * os[3] + c0 * L * os[4]
            at_u = b * us[1] + (h * us[5] // H) * us[3] + c0 * L * us[4]
            at_g = b * gs[1] + h * gs[3] + 2 * c0
            at_s = b * ss[1] + h * ss[2] + c0 * L * ss[4]
            at_d = b * ds[1] + h * ds[2] + c0 * L * ds[4]
            blocks(borders, start, at_s, ss, R, columns, width, L)
            blocks(d, ends, at_d, ds, R, columns, width, L)
            long = False
            for chunk in range(chunks - 1):
                for i in range(CHUNK):
                    t = chunk * CHUNK + i
                    unpack(xb, i * pad, x, at_x + t * xs[2], xs[4], R)
                    unpack(wb, i * width, w, at_w + t * ws[2], ws[4], columns)
                    blank(wb, i * width + columns, width - columns)
                    gb[i] = a[at_a + t * As[2]]
                    ab[i] = exp(gb[i])
                    if t + AHEAD < T:
                        ask(x, at_x + (t + AHEAD) * xs[2], R)
                        ask(w, at_w + (t + AHEAD) * ws[2], columns)
                before, long = long, lasts(gb, CHUNK)
                if long and not before:
                    blank(rest, 0, block)
                for i in range(CHUNK // QUAD):
                    products(ab, i * QUAD, m, i * TOLD)
                    if long:
                        low(gb, i * QUAD, m, i * TOLD)
                for c in range(c1 - c0):
                    after = (chunk + 1) * block + c * R * L
                    for i in range(CHUNK // QUAD):
                        came = after - block if i == 0 else after
                        onward(borders, came, borders, after, R, L, xb, i * QUAD * pad, pad,
                                wb, i * QUAD * width + c * L, width, m, i * TOLD,
                                rest, c * R * L, long)  # fmt: skip
            for chunk in range(chunks - 1, -1, -1):
                begin = chunk * CHUNK
                many = min(CHUNK, T - begin)
                for i in range(many):
                    t = begin + i
                    if t + AHEAD < T:
                        ask(x, at_x + (t + AHEAD) * xs[2], R)
                        ask(z, at_z + (t + AHEAD) * zs[2], R)
                        ask(w, at_w + (t + AHEAD) * ws[2], columns)
                        ask(p, at_p + (t + AHEAD) * ps[2], columns)
                    unpack(xb, i * pad, x, at_x + t * xs[2], xs[4], R)
                    unpack(zb, i * pad, z, at_z + t * zs[2], zs[4], R)
                    unpack(wb, i * width, w, at_w + t * ws[2], ws[4], columns)
                    unpack(pb, i * width, p, at_p + t * ps[2], ps[4], columns)
                    blank(xb, i * pad + R, pad - R)
                    blank(zb, i * pad + R, pad - R)
                    blank(wb, i * width + columns, width - columns)
                    blank(pb, i * width + columns, width - columns)
                    gb[i] = a[at_a + t * As[2]]
                    ab[i] = exp(gb[i])
                quads = -(-many // QUAD)
                for i in range(many, quads * QUAD):  # positions that change nothing
                    blank(xb, i * pad, pad)
                    blank(zb, i * pad, pad)
                    blank(wb, i * width, width)
                    blank(pb, i * width, width)
                    ab[i], gb[i] = 1.0, 0.0
                for i in range(quads):
                    scores(xb, zb, i * QUAD * pad, pad, L // 2, ab, i * QUAD, m, i * TOLD)
                for c in range(c1 - c0):
                    for i in range(quads):
                        there = s if i else borders
                        at = i * R * L if i else chunk * block + c * R * L
                        four(there, at, L, s, (i + 1) * R * L, L, R, xb, zb, i * QUAD * pad, pad,
                             wb, yb, old, i * QUAD * width + c * L, width, m, i * TOLD,
                             s, 0, L, False)  # fmt: skip
                    for i in range(quads - 1, -1, -1):
                        there = s if i else borders
                        at = i * R * L if i else chunk * block + c * R * L
                        for half in range(2):
                            aside = half * (L // 2)
                            backward(
                                there, at + aside, d, c * R * L + aside, R, L, xb, zb,
                                i * QUAD * pad, pad, wb, pb, old, kb,
                                i * QUAD * width + c * L + aside, width, m, i * TOLD, db,
                            )  # fmt: skip
                            for j in range(min(QUAD, many - i * QUAD)):
                                t = begin + i * QUAD + j
                                da[at_g + t * gs[2] + 2 * c + half] = db[j]
                for i in range(many):
                    t = begin + i
                    # the first head of those that share a gradient writes it, the others add
                    first_o, first_u = h % (H // os[5]) == 0, h % (H // us[5]) == 0
                    pack(out, at_o + t * os[2], os[4], yb, i * width, columns, first_o)
                    pack(keys, at_u + t * us[2], us[4], kb, i * width, columns, first_u)
