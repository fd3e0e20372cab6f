"""The gated delta rule on a CPU, a recurrence outside of the package, one position at a time.

S_t = a_t S_{t-1} + beta_t k_t e_t^T with e_t = v_t - a_t S_{t-1}^T k_t and a_t = exp(g_t), read as
y_t = S_t^T q_t. S is [K, V]. What position t + 1 finds at its key is read in the walk that writes
position t, so each number of S is loaded and stored once.

Let D_t be the gradient of S_t without the share of y_t, and F_t = D_t + q_t dy_t^T that with it.
Then dv_t = beta_t F_t^T k_t and D_{t-1} = a_t (F_t - k_t dv_t^T): the same walk from the end, in
`COLUMNS`. The gradients of q, k, g and beta sum along V. `ROWS` has S and D transposed, so that V
runs down, and computes S again: from the start to the beginnings of chunks, then inside a chunk.
Each chunk ends with an empty position, of zeros, which leaves a state as it is.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from trilby.kernels.cpu.recurrence.launch import fresh, gates, launch, size_of
from trilby.kernels.cpu.recurrence.record import (
    NUMBER,
    RESULT,
    along,
    blocks,
    down,
    positions,
    record,
    scratch,
    shares,
    single,
    state,
)
from trilby.kernels.cpu.recurrence.sequences import (
    Piece,
    Size,
    chunk_of,
    fetch_gates,
    fetch_rows,
    fetch_state,
    pack_rows,
    pack_state,
    shape_of,
)
from trilby.kernels.machine.compiler import Kernel, inner
from trilby.kernels.simd.places import laid, skip
from trilby.kernels.simd.vector import load, store, sum_lanes, zeros

CHUNK = 32  # positions that are unpacked at a time, and between kept states on the way back


class Columns(NamedTuple):
    """What `COLUMNS` works with; on the way back v is dy, y is dv, and the end is the start."""

    q: down()
    k: down()
    v: along()
    y: along(RESULT)
    e: along(NUMBER)  # on the way there
    g: single()
    beta: single()
    start: state()
    end: state()
    a: positions()
    S: blocks()


columns_places, columns_parts, columns_signature = record(Columns, lambda T: CHUNK + 1)


@partial(Kernel, signature=columns_signature)
def COLUMNS(told, part, address):
    tensors, sizes, starts, back, kinds = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    place, shape = laid(address, kinds[2], starts, Columns), shape_of(size, piece)
    for item in range(piece.first, piece.end):
        b, h = item // size.heads, item % size.heads
        columns(columns_parts(kinds, tensors, size, shape, b, h), place, shape, size.T, back != 0)


@inner()
def columns(at, place, shape, T, back):
    """All positions of one head, in some columns of its state."""
    fetch_state(place.S, at.start, shape)
    for begin in range(0, T, CHUNK):
        chunk = chunk_of(begin, CHUNK, T, CHUNK + 1, back)
        fetch_rows(place.q, at.q, chunk)
        fetch_rows(place.k, at.k, chunk)
        fetch_rows(place.v, at.v, chunk)
        fetch_rows(place.beta, at.beta, chunk)
        fetch_gates(place.g, place.a, at.g, chunk, False)
        for c in range(shape.blocks):
            if back:
                returning(place, shape, chunk, c)
            else:
                onward(place, shape, chunk, c)
        pack_rows(at.y, place.y, chunk)
        if not back:
            pack_rows(at.e, place.e, chunk)
    pack_state(at.end, place.S, shape, 1.0)


@inner()
def onward(place, shape, chunk, c):
    """A chunk of positions in one block of columns: y, e and the state after them."""
    S, L = skip(place.S, c * shape.block), shape.lanes
    found = zeros(S, 2)  # at the key of the next position
    for i in range(-1, chunk.many):
        here = i if i >= 0 else CHUNK
        q, k = skip(place.q, here * shape.height), skip(place.k, here * shape.height)
        after, at = skip(place.k, (i + 1) * shape.height), here * shape.width + c * L
        a, e = place.a[here], load(place.v, at, 2) - place.a[here] * found
        w = place.beta[here] * e
        y = found = zeros(S, 2)
        for r in range(shape.rows):
            s = a * load(S, r * L, 2) + k[r] * w
            store(S, r * L, s)
            y += q[r] * s
            found += after[r] * s
        store(place.e, at, e)
        store(place.y, at, y)


@inner()
def returning(place, shape, chunk, c):
    """A chunk of positions from its end, in one block of columns: dv and D before them."""
    D, L = skip(place.S, c * shape.block), shape.lanes
    found = zeros(D, 2)
    for i in range(-1, chunk.many):
        here = i if i >= 0 else CHUNK
        k, at = skip(place.k, here * shape.height), (i + 1) * shape.width + c * L
        q, after = skip(place.q, (i + 1) * shape.height), skip(place.k, (i + 1) * shape.height)
        a, dy, dv = place.a[here], load(place.v, at, 2), place.beta[here] * found
        found = zeros(D, 2)
        for r in range(shape.rows):
            d = a * (load(D, r * L, 2) - k[r] * dv) + q[r] * dy
            store(D, r * L, d)
            found += after[r] * d
        store(place.y, here * shape.width + c * L, dv)


class Rows(NamedTuple):
    """What `ROWS` works with; states are transposed."""

    q: along()
    k: along()
    e: down(NUMBER)
    dy: down()
    dv: down(NUMBER)
    g: single()
    beta: single()
    start: state()
    dend: state()
    dq: along(RESULT)
    dk: along(RESULT)
    shares: shares()  # of dg and dbeta
    a: positions()
    D: blocks()
    borders: scratch(lambda span, size, shape: (size.T // CHUNK + 2) * shape.rows * shape.width)
    inside: scratch(lambda span, size, shape: CHUNK * shape.block)


rows_places, rows_parts, rows_signature = record(Rows, lambda T: CHUNK)


@partial(Kernel, signature=rows_signature)
def ROWS(told, part, address):
    tensors, sizes, starts, _back, kinds = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    place, shape = laid(address, kinds[2], starts, Rows), shape_of(size, piece)
    for item in range(piece.first, piece.end):
        b, h = item // size.heads, item % size.heads
        rows(rows_parts(kinds, tensors, size, shape, b, h), place, shape, size.T)


@inner()
def rows(at, place, shape, T):
    """All positions of one head, in some rows of its state: first to the borders, then back."""
    fetch_state(place.borders, at.start, shape)
    fetch_state(place.D, at.dend, shape)
    last, numbers = (T - 1) // CHUNK, shape.rows * shape.width
    for visit in range(2 * last + 1):
        number = min(visit, 2 * last - visit)
        chunk = fetched(at, place, number, T)
        for c in range(shape.blocks):
            border = skip(place.borders, number * numbers + c * shape.block)
            if visit < last:
                again(place, shape, chunk, c, border, skip(border, numbers), 0)
            else:
                again(place, shape, chunk, c, border, place.inside, shape.block)
                gradients(at, place, shape, chunk, c, border)
        if visit >= last:
            pack_rows(at.dq, place.dq, chunk)
            pack_rows(at.dk, place.dk, chunk)


@inner()
def fetched(at, place, number, T):
    """A chunk of the sequences in scratch memory."""
    chunk = chunk_of(number * CHUNK, CHUNK, T, 1, False)
    fetch_rows(place.q, at.q, chunk)
    fetch_rows(place.k, at.k, chunk)
    fetch_rows(place.e, at.e, chunk)
    fetch_rows(place.dy, at.dy, chunk)
    fetch_rows(place.dv, at.dv, chunk)
    fetch_rows(place.beta, at.beta, chunk)
    fetch_gates(place.g, place.a, at.g, chunk, False)
    return chunk


@inner()
def again(place, shape, chunk, c, first, then, step):
    """The states after each position of a chunk, `step` numbers apart, and dq."""
    for i in range(chunk.many):
        at, L = i * shape.width + c * shape.lanes, shape.lanes
        before, after = first if i == 0 else skip(then, (i - 1) * step), skip(then, i * step)
        e, dy = skip(place.e, i * shape.height), skip(place.dy, i * shape.height)
        a, w, dq = place.a[i], place.beta[i] * load(place.k, at, 2), zeros(place.dq, 2)
        for r in range(shape.rows):
            s = a * load(before, r * L, 2) + e[r] * w
            store(after, r * L, s)
            dq += dy[r] * s
        store(place.dq, at, dq)


@inner()
def gradients(at, place, shape, chunk, c, first):
    """D back through a chunk in one block of columns: dk, and shares of dg and dbeta."""
    D, L = skip(place.D, c * shape.block), shape.lanes
    for i in range(chunk.many - 1, -1, -1):
        before = first if i == 0 else skip(place.inside, (i - 1) * shape.block)
        down, along = i * shape.height, i * shape.width + c * L
        e, dy, dv = skip(place.e, down), skip(place.dy, down), skip(place.dv, down)
        a, q, k = place.a[i], load(place.q, along, 2), load(place.k, along, 2)
        written = erased = faded = zeros(D, 2)
        for r in range(shape.rows):
            s, d = load(before, r * L, 2), load(D, r * L, 2) + dy[r] * q
            written += e[r] * d
            erased += dv[r] * s
            d = a * (d - dv[r] * k)
            faded += d * s
            store(D, r * L, d)
        store(place.dk, along, place.beta[i] * written - a * erased)
        share = skip(at.shares.line, (chunk.first + i) * at.shares.time + 2 * c)
        share[0], share[1] = sum_lanes(faded), sum_lanes(written * k)


class GatedDelta(torch.autograd.Function):
    """q, k [B, T, H, K], v [B, T, H, V], g, beta [B, T, H], state [B, H, K, V] -> y, state.

    `state` is float64 beside float64, else float32. There are no gradients of gradients.
    """

    @staticmethod
    def forward(ctx, q, k, v, g, beta, state):
        y, e, end = fresh(v, v.shape), fresh(state, v.shape), fresh(state, state.shape)
        gates_ = gates(g, state), gates(beta, state)
        size = size_of(state, v.shape[1], v.shape[2])
        launch(COLUMNS, (q, k, v, y, e, *gates_, state, end), (q, y, state), size, columns_places)
        ctx.save_for_backward(q, k, e, *gates_, state)
        ctx.dtypes = g.dtype, beta.dtype
        return y, end

    @staticmethod
    @once_differentiable
    def backward(ctx, dy, dend):
        q, k, e, g, beta, state = ctx.saved_tensors
        dv, dstate, dend = fresh(state, e.shape), fresh(state, state.shape), dend.to(state.dtype)
        tensors, size = (q, k, dy, dv, e, g, beta, dend, dstate), size_of(state, *q.shape[1:3])
        launch(COLUMNS, tensors, (q, dv, state), size, columns_places, back=True)
        dq, dk, size = fresh(q, q.shape), fresh(k, k.shape), size_of(state.mT, *q.shape[1:3])
        shares = fresh(state, (*q.shape[:3], -(-size.columns // size.lanes) * 2))
        tensors = (q, k, e, dy, dv, g, beta, state.mT, dend.mT, dq, dk, shares)
        launch(ROWS, tensors, (q, dq, state), size, rows_places)
        dg, dbeta = shares.unflatten(3, (-1, 2)).sum(3).unbind(3)
        return dq, dk, dv.to(q.dtype), dg.to(ctx.dtypes[0]), dbeta.to(ctx.dtypes[1]), dstate
