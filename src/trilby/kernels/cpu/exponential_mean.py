"""Exponential moving averages on a CPU: h_t = a h + g x_t, w_t = a w + g, y_t = h_t / w_t.

h and w are rows of channels in float64, whatever the dtype of x. Once w is 1 everywhere it stays
1, where the gain g is 1 - a, and is looked at no more.

On the way back let G be the gradient of h and S that of w, from the last position to the first::

    G += dy_t / w_t          S -= dy_t y_t / w_t
    dx_t = g G               da += G h_{t-1} + S w_{t-1}, and - G x_t - S where g is 1 - a
    G = a G                  S = a S

h and w before each position are wanted there: they are kept at the borders of tiles, and computed
again inside one tile at a time. Each row has its own share of da, so threads change no bit.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from numba import types
from torch import Tensor

from ..machine import threads
from ..machine.compiler import Kernel, inner
from ..machine.loop import arguments
from ..machine.memory import empty_like
from ..simd.elements import ELEMENT, decode, encode
from ..simd.places import gaps, laid, skip
from .recurrence.launch import run, starts_of
from .recurrence.sequences import blank

TIME, CHANNELS = 16, 64  # positions and channels of a tile on the way back
GRAIN = 64  # channels of a part at least
SMALL = 1 << 15  # elements, below which starting a thread costs more than it saves
LARGE = 1 << 20  # elements, from which on pieces of the work cost nothing


class Backward(NamedTuple):
    """The places of `BACKWARD`."""

    h: int  # before each position of a tile
    w: int
    G: int
    S: int
    share: int
    borders: int  # h and w before each tile


def exponential_mean(
    x: Tensor, a: Tensor, total: Tensor, weight: Tensor, begins: Tensor | None, adjust: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator `trilby::exponential_mean` on a CPU."""
    y, h, w = empty_like(x), *_copies(total, weight)
    if x.numel():
        _launch(FORWARD, (x, y), (a, h, w), begins, adjust, [0])
    return y, h.to(total.dtype), w.to(weight.dtype)


def exponential_mean_backward(
    dy: Tensor, dtotal: Tensor, dweight: Tensor, x: Tensor, a: Tensor, total: Tensor,
    weight: Tensor, begins: Tensor | None, adjust: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The operator `trilby::exponential_mean_backward` on a CPU."""
    dx, (dh, dw) = x.new_empty(x.shape), _copies(dtotal, dweight)
    da = torch.zeros_like(dh)
    if x.numel():
        lines = a, *_copies(total, weight), dh, dw, da
        one = TIME * CHANNELS
        places = [one, one, *[CHANNELS] * 3, -(-x.shape[1] // TIME) * 2 * CHANNELS]
        _launch(BACKWARD, (x, dy.to(x.dtype), dx), lines, begins, adjust, places)
    return dx, da.sum(0).to(a.dtype), dh.to(total.dtype), dw.to(weight.dtype)


def _copies(*states: Tensor) -> tuple[Tensor, ...]:
    """States [B, C] that may be written to, in float64."""
    layout = torch.contiguous_format
    return tuple(s.detach().double().clone(memory_format=layout) for s in states)


def _launch(
    kernel: Kernel, tensors: Sequence[Tensor], lines: Sequence[Tensor], begins: Tensor | None,
    adjust: bool, places: list[int],
) -> None:  # fmt: skip
    """Run a program over all rows and channels of x, the first of the tensors."""
    x = tensors[0]
    B, T, C = x.shape
    where = None if begins is None else begins.to(torch.int64).contiguous()
    ready = [line.detach().double().contiguous() for line in lines]
    between = gaps(places)
    told = [number for t in tensors for number in (t.data_ptr(), *t.stride())]
    told += [line.data_ptr() for line in ready]
    told += [0 if where is None else where.data_ptr(), T, C, adjust, where is not None]
    told += starts_of(between)
    wanted = threads.count() if x.numel() >= SMALL else 1
    pieces = threads.pieces(wanted, x.numel(), LARGE)
    parts = threads.grid(B, C, wanted, pieces, GRAIN)
    program = kernel.of(ELEMENT[x.dtype])
    run(program, told, (parts, wanted), between, ready[0], (tensors, ready, where))


def _signature(tensors: int, lines: int, places: int) -> Any:
    def of(element: Any) -> tuple[Any, ...]:
        one = types.Tuple((types.CPointer(element), types.UniTuple(types.int64, 3)))
        every = types.UniTuple(one, tensors)
        rows = types.UniTuple(types.CPointer(types.float64), lines)
        sizes, starts = types.UniTuple(types.int64, 4), types.UniTuple(types.int64, places)
        return arguments((every, rows, types.CPointer(types.int64), sizes, starts), 4)

    return of


@partial(Kernel, signature=_signature(2, 3, 1))
def FORWARD(told, part, _scratch):
    ((x, xs), (y, ys)), (a, h, w), begins, (T, channels, adjust, packed), _starts = told[0]
    b0, b1, c0, c1 = part[0]
    n, a = c1 - c0, skip(a, c0)
    for b in range(b0, b1):
        sums, weights = skip(h, b * channels + c0), skip(w, b * channels + c0)
        settled = False
        for t in range(T):
            begin = packed != 0 and begins[b * T + t] != 0
            line = skip(x, b * xs[0] + t * xs[1] + c0 * xs[2])
            out = skip(y, b * ys[0] + t * ys[1] + c0 * ys[2])
            if begin:
                blank(sums, 0, n)
                blank(weights, 0, n)
            if settled and not begin:
                onward(out, ys[2], line, xs[2], a, sums, n)
            else:
                averaged(out, ys[2], line, xs[2], a, sums, weights, n, adjust)
                settled = adjust == 0 and ones(weights, n)


@inner()
def gain_of(a, w, adjust):
    """How much a position counts beside a past of weight w."""
    return 1.0 if adjust != 0 or w == 0.0 else 1.0 - a


@inner()
def onward(y, to, x, step, a, h, n):
    """A position whose weights are 1 and stay so."""
    for c in range(n):
        now = x[c * step]
        h[c] = a[c] * h[c] + (1.0 - a[c]) * decode(now)
        y[c * to] = encode(h[c], now)


@inner()
def averaged(y, to, x, step, a, h, w, n, adjust):
    """A position whose weights count."""
    for c in range(n):
        now = x[c * step]
        gain = gain_of(a[c], w[c], adjust)
        h[c] = a[c] * h[c] + gain * decode(now)
        w[c] = a[c] * w[c] + gain
        y[c * to] = encode(h[c] / w[c], now)


@inner()
def ones(w, n):
    """Whether every weight is 1."""
    others = 0
    for c in range(n):
        others += w[c] != 1.0
    return others == 0


@partial(Kernel, signature=_signature(3, 6, 6))
def BACKWARD(told, part, scratch):
    tensors, lines, begins, (T, channels, adjust, packed), starts = told[0]
    b0, b1, c0, c1 = part[0]
    place = laid(scratch, lines[0][0], starts, Backward)
    for b in range(b0, b1):
        for left in range(c0, c1, CHANNELS):
            n, row = min(CHANNELS, c1 - left), b * channels + left
            backward(
                tensors, lines, skip(begins, b * T), place, (b, left, n, row, T, adjust, packed)
            )


@inner()
def backward(tensors, lines, begins, place, sizes):
    """Some channels of a row: to the last border, then back tile by tile."""
    b, left, n, row, T, adjust, packed = sizes
    (x, xs), (dy, ys), (dx, zs) = tensors
    x = skip(x, b * xs[0] + left * xs[2])
    dy, dx = skip(dy, b * ys[0] + left * ys[2]), skip(dx, b * zs[0] + left * zs[2])
    a, h, w = skip(lines[0], left), skip(lines[1], row), skip(lines[2], row)
    dh, dw, da = skip(lines[3], row), skip(lines[4], row), skip(lines[5], row)
    for t in range(T):
        if t % TIME == 0:
            border = skip(place.borders, t // TIME * 2 * CHANNELS)
            keep(border, skip(border, CHANNELS), h, w, n)
        ahead(skip(x, t * xs[1]), xs[2], a, h, w, n, adjust, packed != 0 and begins[t] != 0)
    keep(place.G, place.S, dh, dw, n)
    for last in range((T - 1) // TIME, -1, -1):
        begin, end = last * TIME, min(last * TIME + TIME, T)
        border = skip(place.borders, last * 2 * CHANNELS)
        keep(h, w, border, skip(border, CHANNELS), n)
        for t in range(begin, end):
            new = packed != 0 and begins[t] != 0
            at = (t - begin) * CHANNELS
            if new:
                blank(h, 0, n)
                blank(w, 0, n)
            keep(skip(place.h, at), skip(place.w, at), h, w, n)
            ahead(skip(x, t * xs[1]), xs[2], a, h, w, n, adjust, False)
        for t in range(end - 1, begin - 1, -1):
            at, new = (t - begin) * CHANNELS, packed != 0 and begins[t] != 0
            before = skip(place.h, at), skip(place.w, at)
            one = skip(x, t * xs[1]), xs[2], skip(dy, t * ys[1]), ys[2], skip(dx, t * zs[1]), zs[2]
            back(one, before, place, a, da, n, adjust)
            if new:
                blank(place.G, 0, n)
                blank(place.S, 0, n)
    keep(dh, dw, place.G, place.S, n)


@inner()
def keep(h, w, from_h, from_w, n):
    """Two rows from two others."""
    for c in range(n):
        h[c] = from_h[c]
        w[c] = from_w[c]


@inner()
def ahead(x, step, a, h, w, n, adjust, begin):
    """h and w after a position."""
    if begin:
        blank(h, 0, n)
        blank(w, 0, n)
    for c in range(n):
        gain = gain_of(a[c], w[c], adjust)
        h[c] = a[c] * h[c] + gain * decode(x[c * step])
        w[c] = a[c] * w[c] + gain


@inner()
def back(one, before, place, a, da, n, adjust):
    """One position back; a loop for each result, since one for all would not be made of vectors."""
    (x, xs, dy, ys, dx, zs), (h, w), (G, S, share) = one, before, (place.G, place.S, place.share)
    for c in range(n):
        share[c] = decode(dy[c * ys]) / (a[c] * w[c] + gain_of(a[c], w[c], adjust))
        G[c] += share[c]
    for c in range(n):
        gain = gain_of(a[c], w[c], adjust)
        y = (a[c] * h[c] + gain * decode(x[c * xs])) / (a[c] * w[c] + gain)
        S[c] -= share[c] * y
    for c in range(n):
        fixed = adjust != 0 or w[c] == 0.0  # the gain does not depend on a
        through_gain = 0.0 if fixed else G[c] * decode(x[c * xs]) + S[c]
        da[c] += G[c] * h[c] + S[c] * w[c] - through_gain
    for c in range(n):
        dx[c * zs] = encode(gain_of(a[c], w[c], adjust) * G[c], dx[c * zs])
    for c in range(n):
        G[c] *= a[c]
        S[c] *= a[c]
