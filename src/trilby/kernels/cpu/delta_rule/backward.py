"""The program of the gradients of q, of k and of the gates.

The state is transposed here: what was written and the gradients along V run down the rows, q and k
along the columns. A first pass keeps the state at the beginning of each chunk. The second goes
through the chunks from the last to the first: the states inside are computed again, then the
gradient of the state goes back. Shares of a gradient are added up and never subtracted again.
"""

from functools import partial
from typing import NamedTuple

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, read, skip, write
from ..recurrence.record import (
    NUMBER,
    RESULT,
    along,
    blocks,
    down,
    positions,
    record,
    scratch,
    share,
    single,
    state,
)
from ..recurrence.sequences import (
    Piece,
    Size,
    chunk_of,
    fetch_rows,
    fetch_state,
    pack_rows,
    parts_of,
    shape_of,
)
from ..recurrence.triangle import Triangle, triangle
from .gates import CHUNK, QUAD, by_channel, decays, fetch_decays, gates_back, pack_gates
from .walks import (
    found,
    found_with,
    loaded,
    scaled,
    seen,
    stored,
    subtracted,
    written,
)

QUADS = CHUNK // QUAD
SCORES = len(Triangle._fields)
COLUMNS = scratch(lambda span, size, shape: span * shape.width)  # of a chunk


class Rows(NamedTuple):
    """What the program works with."""

    q: along()
    k: along()
    dy: down()
    u: down(NUMBER)  # e, times beta as soon as it is here
    de: down(NUMBER)
    beta: single()
    g: single()
    start: state()
    dend: state()  # the gradient of the state at the end
    dq: along(RESULT)
    dk: along(RESULT)
    dg: share()
    early_q: COLUMNS
    early_k: COLUMNS
    late: COLUMNS
    a: positions()
    of_q: scratch(lambda span, size, shape: QUADS * SCORES)  # the gradients of the scores of q
    of_k: scratch(lambda span, size, shape: QUADS * SCORES)
    d: blocks()  # the gradient of the state
    borders: scratch(  # the states at the beginnings of chunks
        lambda span, size, shape: (size.T + CHUNK - 1) // CHUNK * shape.rows * shape.width
    )
    inside: scratch(lambda span, size, shape: QUADS * shape.block)  # states, of one block


RowsByChannel = NamedTuple("RowsByChannel", by_channel(Rows, g=along(NUMBER), dg=along(NUMBER)))

rows_places, _, _signature = record(Rows, lambda T: CHUNK)
channel_rows_places, _, _channel_signature = record(RowsByChannel, lambda T: CHUNK)


@partial(Kernel, signature=_signature)
def ROWS(told, part, address):
    rows(told[0], part[0], laid(address, told[0][4][2], told[0][2], Rows))


@partial(Kernel, signature=_channel_signature)
def CHANNEL_ROWS(told, part, address):
    rows(told[0], part[0], laid(address, told[0][4][2], told[0][2], RowsByChannel))


@inner()
def rows(told, part, place):
    """The heads of a piece."""
    tensors, sizes, _starts, _back, kinds = told
    size, piece = Size(*sizes), Piece(*part)
    shape = shape_of(size, piece)
    together = size.heads // size.groups  # heads that add up in one result
    for item in range(piece.first, piece.end):
        b, first = item // size.groups, item % size.groups * together
        for h in range(first, first + together):
            head(parts_of(place, kinds, tensors, size, shape, b, h), place, shape, size.T)


@inner()
def head(at, place, shape, T):
    """All positions of one head."""
    fetch_state(place.borders, at.start, shape)
    fetch_state(place.d, at.dend, shape)
    last, numbers = (T - 1) // CHUNK, shape.rows * shape.width
    for number in range(last):
        chunk = chunk_of(number * CHUNK, CHUNK, T, QUAD, False)
        fetched(at, place, shape, chunk)
        for c in range(shape.blocks):
            before = skip(place.borders, number * numbers + c * shape.block)
            for i in range(QUADS):
                after = skip(place.borders, (number + 1) * numbers + c * shape.block)
                onward(place, shape, i, c, before, after)
                before = after
    for number in range(last, -1, -1):
        chunk = chunk_of(number * CHUNK, CHUNK, T, QUAD, False)
        fetched(at, place, shape, chunk)
        fetch_rows(place.dy, at.dy, chunk)
        fetch_rows(place.de, at.de, chunk)
        scores(place, shape, chunk)
        for c in range(shape.blocks):
            border = skip(place.borders, number * numbers + c * shape.block)
            block_back(at.dg, place, shape, chunk, c, border)
        pack_rows(at.dq, place.dq, chunk)
        pack_rows(at.dk, place.dk, chunk)
        pack_gates(at.dg, place, chunk)


@inner()
def fetched(at, place, shape, chunk):
    """What the states of a chunk are made of."""
    fetch_rows(place.q, at.q, chunk)
    fetch_rows(place.k, at.k, chunk)
    fetch_rows(place.u, at.u, chunk)
    fetch_rows(place.beta, at.beta, chunk)
    half = shape.lanes // 2
    fetch_decays(place, at.g, chunk, half)
    for i in range(chunk.whole):
        scaled(skip(place.u, i * shape.height), shape.height, half, place.beta[i])
    for i in range(chunk.whole // QUAD):
        seen(place, i * QUAD, shape.width, half)


@inner()
def scores(place, shape, chunk):
    """The gradients of the scores that each four positions of a chunk have of each other."""
    for i in range(chunk.whole // QUAD):
        at, half = i * QUAD * shape.height, shape.lanes // 2
        u, height = skip(place.u, at), shape.height
        write(place.of_q, i, triangle(skip(place.dy, at), u, height, half))
        write(place.of_k, i, triangle(skip(place.de, at), u, height, half))


@inner()
def onward(place, shape, i, c, before, after):
    """The state after the four positions number i of a chunk, in one block of columns."""
    first = i * QUAD
    a0, a1, a2, a3 = decays(place, first, c * shape.lanes, shape.width, 2)
    whole = a0 * a1 * a2 * a3
    w = loaded(place.late, first * shape.width + c * shape.lanes, shape.width)
    written(before, after, skip(place.u, first * shape.height), w, whole, shape)


@inner()
def block_back(dg, place, shape, chunk, c, border):
    """A chunk from its end to its beginning, in one block of columns."""
    quads = chunk.whole // QUAD
    before = border
    for i in range(quads - 1):
        after = skip(place.inside, i * shape.block)
        onward(place, shape, i, c, before, after)
        before = after
    for i in range(quads - 1, -1, -1):
        before = skip(place.inside, (i - 1) * shape.block) if i else border
        four = four_back(place, shape, i, c, before)
        gates_back(dg, place, shape, chunk, i * QUAD, c, four)


@inner()
def four_back(place, shape, i, c, before):
    """Four positions back: the gradients of their q and k, and of the logarithms of the decays."""
    D, down = skip(place.d, c * shape.block), i * QUAD * shape.height
    at, width = i * QUAD * shape.width + c * shape.lanes, shape.width
    dy, de = skip(place.dy, down), skip(place.de, down)
    of_q, of_k = found(before, dy, shape), found(before, de, shape)
    of_late, both = found_with(D, skip(place.u, down), before, shape)
    a = decays(place, i * QUAD, c * shape.lanes, width, 2)
    whole = a[0] * a[1] * a[2] * a[3]
    early_q = loaded(place.early_q, at, width)
    early_k = loaded(place.early_k, at, width)
    written(D, D, dy, early_q, whole, shape)
    subtracted(D, de, early_k, shape)
    m0 = early_q[0] * of_q[0] - early_k[0] * of_k[0]
    m1 = early_q[1] * of_q[1] - early_k[1] * of_k[1]
    m2 = early_q[2] * of_q[2] - early_k[2] * of_k[2]
    m3 = early_q[3] * of_q[3] - early_k[3] * of_k[3]
    n, p = gradients(place, i, at, width, (of_q, of_k, of_late), a)
    z3 = whole * both + m3
    z2 = z3 + m2
    z1 = z2 + m1
    return (
        z1 + m0,
        z1 + n[0] + p[0] + p[1] + p[3],
        z2 + n[0] + n[1] + p[1] + p[2] + p[3] + p[4],
        z3 + n[0] + n[1] + n[2] + p[3] + p[4] + p[5],
    )


@inner()
def pair(score_q, score_k, q, k, k0, between):
    """What a later position (q, k) and an earlier one (k0) give each other.

    Returns the shares of dq and dk of the later one, that of dk of the earlier one, and that of
    every gate between them.
    """
    seen_k, back = between * k0, score_q * q - score_k * k
    return score_q * seen_k, score_k * seen_k, between * back, seen_k * back


@inner()
def gradients(place, i, at, width, of, a):
    """dq and dk, and what the gates have of them.

    Returns the share of each earlier position in every gate after it, and of each pair of positions
    in every gate between them.
    """
    of_q, of_k, of_late = of
    s, t = read(place.of_q, i, Triangle), read(place.of_k, i, Triangle)
    a0, a1, a2, a3 = a
    q0, q1, q2, q3 = loaded(place.q, at, width)
    k0, k1, k2, k3 = loaded(place.k, at, width)
    q10, k10, b10, m10 = pair(s.p10, t.p10, q1, k1, k0, a1)
    q20, k20, b20, m20 = pair(s.p20, t.p20, q2, k2, k0, a1 * a2)
    q21, k21, b21, m21 = pair(s.p21, t.p21, q2, k2, k1, a2)
    q30, k30, b30, m30 = pair(s.p30, t.p30, q3, k3, k0, a1 * a2 * a3)
    q31, k31, b31, m31 = pair(s.p31, t.p31, q3, k3, k1, a2 * a3)
    q32, k32, b32, m32 = pair(s.p32, t.p32, q3, k3, k2, a3)
    stored(place.dq, at, width, (
        a0 * of_q[0] + s.p00 * k0,
        (a0 * a1) * of_q[1] + s.p11 * k1 + q10,
        (a0 * a1 * a2) * of_q[2] + s.p22 * k2 + q20 + q21,
        (a0 * a1 * a2 * a3) * of_q[3] + s.p33 * k3 + q30 + q31 + q32,
    ))  # fmt: skip
    l0, l1 = (a1 * a2 * a3) * of_late[0], (a2 * a3) * of_late[1]
    l2, l3 = a3 * of_late[2], of_late[3]
    stored(place.dk, at, width, (
        l0 - a0 * of_k[0] + s.p00 * q0 + b10 + b20 + b30,
        l1 - (a0 * a1) * of_k[1] + s.p11 * q1 - k10 + b21 + b31,
        l2 - (a0 * a1 * a2) * of_k[2] + s.p22 * q2 - k20 - k21 + b32,
        l3 - (a0 * a1 * a2 * a3) * of_k[3] + s.p33 * q3 - k30 - k31 - k32,
    ))  # fmt: skip
    return (l0 * k0, l1 * k1, l2 * k2), (m10, m20, m21, m30, m31, m32)
