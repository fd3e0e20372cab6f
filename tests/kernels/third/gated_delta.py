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
from typing import Any, NamedTuple

import torch
from numba.extending import register_jitable
from torch import Tensor
from torch.autograd.function import once_differentiable

from trilby.kernels.cpu.recurrence.launch import fresh, launch, size_of
from trilby.kernels.cpu.recurrence.program import signature
from trilby.kernels.cpu.recurrence.sequences import (
    Piece,
    Sequence,
    Size,
    State,
    chunk_of,
    fetch_gates,
    fetch_rows,
    fetch_state,
    head_of,
    pack_rows,
    pack_state,
    part_of,
    shape_of,
    state_of,
)
from trilby.kernels.machine.compiler import Kernel, inner
from trilby.kernels.simd.places import laid, row, skip
from trilby.kernels.simd.vector import load, store, sum_lanes, zeros

CHUNK = 32  # positions that are unpacked at a time, and between kept states on the way back
FULL = CHUNK + 1  # with the empty one


class Columns(NamedTuple):
    """What `COLUMNS` is told; on the way back v is dy, y is dv, and the end is where it starts."""

    q: Any
    k: Any
    v: Any
    y: Any
    e: Any  # a result on the way there, given on the way back
    g: Any
    beta: Any
    start: Any
    end: Any


class ColumnsPlaces(NamedTuple):
    """Scratch memory of `COLUMNS`: a chunk of the sequences, a state."""

    q: Any
    k: Any
    v: Any
    y: Any
    e: Any
    g: Any
    a: Any
    beta: Any
    state: Any


@register_jitable
def columns_places(size, piece):
    """How many numbers each place has."""
    shape = shape_of(size, piece)
    down, along = FULL * shape.height, FULL * shape.width
    return ColumnsPlaces(
        q=down, k=down, v=along, y=along, e=along, g=FULL, a=FULL, beta=FULL,
        state=shape.rows * shape.width,
    )  # fmt: skip


@partial(Kernel, signature=signature(9))
def COLUMNS(kinds, tensors, sizes, piece, back, address):
    element, result, number = kinds
    size, piece = Size(*sizes), Piece(*piece)
    q, k, v, y, e, g, beta, start, end = tensors
    given = Columns(
        Sequence(element, *q), Sequence(element, *k), Sequence(element, *v), Sequence(result, *y),
        Sequence(number, *e), Sequence(number, *g), Sequence(number, *beta), State(number, *start),
        State(number, *end),
    )  # fmt: skip
    place, shape = laid(address, number, columns_places(size, piece)), shape_of(size, piece)
    for item in range(piece.first, piece.end):
        columns(given, place, size, shape, item // size.heads, item % size.heads, back)


@inner()
def columns(given, place, size, shape, b, h, back):
    """All positions of one head, in some columns of its state."""
    H, left = size.heads, shape.left
    q, k, g, beta = (
        head_of(given.q, b, h, H), head_of(given.k, b, h, H),
        head_of(given.g, b, h, H), head_of(given.beta, b, h, H),
    )  # fmt: skip
    v, y, e = (
        part_of(given.v, b, h, H, left), part_of(given.y, b, h, H, left),
        part_of(given.e, b, h, H, left),
    )  # fmt: skip
    fetch_state(place.state, given.start, state_of(given.start, b, h, shape), shape)
    for begin in range(0, size.T, CHUNK):
        chunk = chunk_of(begin, CHUNK, size.T, FULL, back)
        fetch_rows(place.q, shape.height, given.q, q, shape.rows, chunk)
        fetch_rows(place.k, shape.height, given.k, k, shape.rows, chunk)
        fetch_rows(place.v, shape.width, given.v, v, shape.columns, chunk)
        fetch_rows(place.beta, 1, given.beta, beta, 1, chunk)
        fetch_gates(place.g, place.a, given.g, g, chunk, False)
        for c in range(shape.blocks):
            if back:
                returning(place, shape, chunk, c)
            else:
                onward(place, shape, chunk, c)
        pack_rows(given.y, y, place.y, shape, chunk, True)
        if not back:
            pack_rows(given.e, e, place.e, shape, chunk, True)
    pack_state(given.end, state_of(given.end, b, h, shape), place.state, shape, 1.0)


@inner()
def onward(place, shape, chunk, c):
    """A chunk of positions in one block of columns: y, e and the state after them."""
    S, L = skip(place.state, c * shape.block), shape.lanes
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
    D, L = skip(place.state, c * shape.block), shape.lanes
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
    """What `ROWS` is told; states are transposed."""

    q: Any
    k: Any
    e: Any
    dy: Any
    dv: Any
    g: Any
    beta: Any
    start: Any
    dend: Any
    dq: Any
    dk: Any
    shares: Any  # of dg and dbeta, from each block of columns


class RowsPlaces(NamedTuple):
    """Scratch memory of `ROWS`: a chunk of the sequences, states."""

    q: Any
    k: Any
    dq: Any
    dk: Any
    e: Any
    dy: Any
    dv: Any
    g: Any
    a: Any
    beta: Any
    d: Any
    borders: Any  # the states at the beginnings of chunks
    inside: Any  # the states after each position of a chunk, of one block of columns


@register_jitable
def rows_places(size, piece):
    """How many numbers each place has."""
    shape = shape_of(size, piece)
    down, along, state = FULL * shape.height, FULL * shape.width, shape.rows * shape.width
    return RowsPlaces(
        q=along, k=along, dq=along, dk=along, e=down, dy=down, dv=down, g=FULL, a=FULL, beta=FULL,
        d=state, borders=(size.T // CHUNK + 2) * state, inside=CHUNK * shape.block,
    )  # fmt: skip


@partial(Kernel, signature=signature(12))
def ROWS(kinds, tensors, sizes, piece, _back, address):
    element, result, number = kinds
    size, piece = Size(*sizes), Piece(*piece)
    q, k, e, dy, dv, g, beta, start, dend, dq, dk, shares = tensors
    given = Rows(
        Sequence(element, *q), Sequence(element, *k), Sequence(number, *e), Sequence(element, *dy),
        Sequence(number, *dv), Sequence(number, *g), Sequence(number, *beta),
        State(number, *start), State(number, *dend), Sequence(result, *dq), Sequence(result, *dk),
        Sequence(number, *shares),
    )  # fmt: skip
    place, shape = laid(address, number, rows_places(size, piece)), shape_of(size, piece)
    for item in range(piece.first, piece.end):
        rows(given, place, size, shape, item // size.heads, item % size.heads)


@inner()
def rows(given, place, size, shape, b, h):
    """All positions of one head."""
    fetch_state(place.borders, given.start, state_of(given.start, b, h, shape), shape)
    fetch_state(place.d, given.dend, state_of(given.dend, b, h, shape), shape)
    H, last, state = size.heads, (size.T - 1) // CHUNK, shape.rows * shape.width
    dq, dk = part_of(given.dq, b, h, H, shape.left), part_of(given.dk, b, h, H, shape.left)
    shares = part_of(given.shares, b, h, H, shape.left // shape.lanes * 2)
    for number in range(last):
        chunk = fetched(given, place, size, shape, b, h, number)
        for c in range(shape.blocks):
            border = skip(place.borders, number * state + c * shape.block)
            again(place, shape, chunk, c, border, skip(border, state), 0)
    for number in range(last, -1, -1):
        chunk = fetched(given, place, size, shape, b, h, number)
        for c in range(shape.blocks):
            border = skip(place.borders, number * state + c * shape.block)
            again(place, shape, chunk, c, border, place.inside, shape.block)
            gradients(given, place, shape, chunk, c, border, shares)
        pack_rows(given.dq, dq, place.dq, shape, chunk, True)
        pack_rows(given.dk, dk, place.dk, shape, chunk, True)


@inner()
def fetched(given, place, size, shape, b, h, number):
    """A chunk of the sequences in scratch memory."""
    chunk, H = chunk_of(number * CHUNK, CHUNK, size.T, FULL, False), size.heads
    q, k = part_of(given.q, b, h, H, shape.left), part_of(given.k, b, h, H, shape.left)
    fetch_rows(place.q, shape.width, given.q, q, shape.columns, chunk)
    fetch_rows(place.k, shape.width, given.k, k, shape.columns, chunk)
    fetch_rows(place.e, shape.height, given.e, head_of(given.e, b, h, H), shape.rows, chunk)
    fetch_rows(place.dy, shape.height, given.dy, head_of(given.dy, b, h, H), shape.rows, chunk)
    fetch_rows(place.dv, shape.height, given.dv, head_of(given.dv, b, h, H), shape.rows, chunk)
    fetch_rows(place.beta, 1, given.beta, head_of(given.beta, b, h, H), 1, chunk)
    fetch_gates(place.g, place.a, given.g, head_of(given.g, b, h, H), chunk, False)
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
def gradients(given, place, shape, chunk, c, first, shares):
    """D back through a chunk in one block of columns: dk, and shares of dg and dbeta."""
    D, L, line = skip(place.d, c * shape.block), shape.lanes, given.shares
    for i in range(chunk.many - 1, -1, -1):
        before = first if i == 0 else skip(place.inside, (i - 1) * shape.block)
        down, at = i * shape.height, i * shape.width + c * L
        e, dy, dv = skip(place.e, down), skip(place.dy, down), skip(place.dv, down)
        a, q, k = place.a[i], load(place.q, at, 2), load(place.k, at, 2)
        written = erased = faded = zeros(D, 2)
        for r in range(shape.rows):
            s, d = load(before, r * L, 2), load(D, r * L, 2) + dy[r] * q
            written += e[r] * d
            erased += dv[r] * s
            d = a * (d - dv[r] * k)
            faded += d * s
            store(D, r * L, d)
        store(place.dk, at, place.beta[i] * written - a * erased)
        share = row(line.address, line.like, shares + (chunk.first + i) * line.time)
        share[2 * c], share[2 * c + 1] = sum_lanes(faded), sum_lanes(written * k)


class GatedDelta(torch.autograd.Function):
    """q, k [B, T, H, K], v [B, T, H, V], g, beta [B, T, H], state [B, H, K, V] -> y, the last state.

    `state` is float64 beside float64, else float32. There are no gradients of gradients.
    """

    @staticmethod
    def forward(ctx, q, k, v, g, beta, state):
        y, e, end = fresh(v, v.shape), fresh(state, v.shape), fresh(state, state.shape)
        gates = gates_of(g, state), gates_of(beta, state)
        size = size_of(state, v.shape[1], v.shape[2])
        launch(COLUMNS, (q, k, v, y, e, *gates, state, end), (q, y, state), size, columns_places)
        ctx.save_for_backward(q, k, e, *gates, state)
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


def gates_of(g: Tensor, state: Tensor) -> Tensor:
    """A number for each head, [B, T, H, 1], in the dtype of the state."""
    return g.detach().to(state.dtype)[..., None]
