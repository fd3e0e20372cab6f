"""The programs along the columns of a state: what is written and read, and the way back of both.

FORWARD leaves y, or e where e alone is wanted: v less what is found. BACK goes from the last four
positions to the first, and leaves the gradients of e, of beta and of the state at the start.
"""

from functools import partial
from typing import Any, NamedTuple

from numba.extending import register_jitable

from ...machine.compiler import INNER, Kernel, inner
from ...simd.places import laid, read, skip
from ...simd.vector import load, store, sum_lanes, zeros
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
    pack_state,
    parts_of,
    shape_of,
)
from .gates import (
    CHUNK,
    QUAD,
    WHOLE,
    by_channel,
    decays,
    fetch_decays,
    left,
    left_by_first,
    of_row,
    shared,
)
from .walks import (
    TOLD,
    Told,
    early,
    found,
    loaded,
    stored,
    subtracted,
    tell,
    written,
)

ROWS = scratch(lambda span, size, shape: span * shape.height)  # of a chunk


class Forward(NamedTuple):
    """What FORWARD works with."""

    q: down()
    k: down()
    v: along()
    beta: single()
    g: single()
    start: state()
    end: state()
    y: along(RESULT)
    e: along(NUMBER)
    early_q: ROWS
    early_k: ROWS
    late: ROWS
    a: positions()
    told: scratch(lambda span, size, shape: span // QUAD * TOLD)
    state: blocks()


class Back(NamedTuple):
    """What BACK works with."""

    q: down()
    k: down()
    dy: along()
    e: along(NUMBER)
    beta: single()
    g: single()
    dend: state()  # the gradient of the state at the end
    dstart: state()
    de: along(NUMBER)
    dbeta: share()
    early_q: ROWS
    early_k: ROWS
    late: ROWS
    a: positions()
    told: scratch(lambda span, size, shape: span // QUAD * TOLD)
    state: blocks()


@register_jitable(**INNER)
def span_of(T):
    """How many positions a chunk has."""
    return min(CHUNK, (T + QUAD - 1) // QUAD * QUAD)


def _by_channel(names):
    return by_channel(names, g=down(NUMBER), whole=WHOLE)


ForwardByChannel = NamedTuple("ForwardByChannel", _by_channel(Forward))
BackByChannel = NamedTuple("BackByChannel", _by_channel(Back))

forward_places, _, _signature = record(Forward, span_of)
back_places, _, _back_signature = record(Back, span_of)
channel_forward_places, _, _channel_signature = record(ForwardByChannel, span_of)
channel_back_places, _, _channel_back_signature = record(BackByChannel, span_of)


@partial(Kernel, signature=_signature)
def FORWARD(told, part, address):
    forward(told[0], part[0], laid(address, told[0][4][2], told[0][2], Forward))


@partial(Kernel, signature=_channel_signature)
def CHANNEL_FORWARD(told, part, address):
    forward(told[0], part[0], laid(address, told[0][4][2], told[0][2], ForwardByChannel))


@inner()
def forward(told, part, place):
    """The heads of a piece."""
    tensors, sizes, _starts, e_alone, kinds = told
    size, piece = Size(*sizes), Piece(*part)
    shape = shape_of(size, piece)
    for item in range(piece.first, piece.end):
        b, h = item // size.heads, item % size.heads
        at = parts_of(place, kinds, tensors, size, shape, b, h)
        if size.T == 1 and e_alone == 0:
            token(at, place, shape)
        else:
            head(at, place, shape, size.T, e_alone != 0)


@inner()
def fetched(at, place, shape, chunk):
    """What both programs know of a chunk."""
    fetch_rows(place.q, at.q, chunk)
    fetch_rows(place.k, at.k, chunk)
    fetch_rows(place.beta, at.beta, chunk)
    fetch_decays(place, at.g, chunk, shape.lanes // 2)


@inner()
def head(at, place, shape, T, e_alone):
    """All positions of one head."""
    span = span_of(T)
    fetch_state(place.state, at.start, shape)
    for begin in range(0, T, span):
        chunk = chunk_of(begin, span, T, QUAD, False)
        fetched(at, place, shape, chunk)
        fetch_rows(place.v, at.v, chunk)
        tell(place, shape, chunk)
        for c in range(shape.blocks):
            for i in range(chunk.whole // QUAD):
                four(place, shape, i, c, e_alone)
        if e_alone:
            pack_rows(at.e, place.e, chunk)
        else:
            pack_rows(at.y, place.y, chunk)
    pack_state(at.end, place.state, shape, 1.0)


@inner()
def four(place, shape, i, c, e_alone):
    """Four positions in one block of columns: what they find, write and read."""
    S, t = skip(place.state, c * shape.block), read(place.told, i, Told)
    first, at = i * QUAD * shape.height, i * QUAD * shape.width + c * shape.lanes
    f0, f1, f2, f3 = found(S, skip(place.early_k, first), shape)
    v0, v1, v2, v3 = loaded(place.v, at, shape.width)
    e0 = v0 - f0
    u0 = t.beta0 * e0
    e1 = v1 - f1 - t.k10 * u0
    u1 = t.beta1 * e1
    e2 = v2 - f2 - t.k20 * u0 - t.k21 * u1
    u2 = t.beta2 * e2
    e3 = v3 - f3 - t.k30 * u0 - t.k31 * u1 - t.k32 * u2
    u3 = t.beta3 * e3
    if e_alone:
        stored(place.e, at, shape.width, (e0, e1, e2, e3))
    else:
        y0, y1, y2, y3 = found(S, skip(place.early_q, first), shape)
        y0 += t.q00 * u0
        y1 += t.q10 * u0 + t.q11 * u1
        y2 += t.q20 * u0 + t.q21 * u1 + t.q22 * u2
        y3 += t.q30 * u0 + t.q31 * u1 + t.q32 * u2 + t.q33 * u3
        stored(place.y, at, shape.width, (y0, y1, y2, y3))
    whole = left(place, i * QUAD, shape.height)
    written(S, S, skip(place.late, first), (u0, u1, u2, u3), whole, shape)


class Strip(NamedTuple):
    """A block of columns of a state: row r begins at line[r * down]."""

    line: Any
    down: Any


@inner()
def token(at, place, shape):
    """One position alone, as a decoder has them: the state comes from far and is seen once.

    A state whose rows are whole vectors side by side is read and left where it lies; it may be left
    where it was read.
    """
    chunk = chunk_of(0, 1, 1, 1, False)
    fetched(at, place, shape, chunk)
    fetch_rows(place.v, at.v, chunk)
    there = shape.columns == shape.width and at.start.step == at.end.step == 1
    if not there:
        fetch_state(place.state, at.start, shape)
    for j in range(0, shape.height, shape.lanes // 2):
        early(place, j, decays(place, 0, j, shape.height, 1)[0])
    score = place.q[0] - place.q[0]
    for r in range(shape.rows):
        score += place.q[r] * place.k[r]
    for c in range(shape.blocks):
        if there:
            along = c * shape.lanes
            before = Strip(skip(at.start.line, along), at.start.row)
            one(place, shape, c, before, Strip(skip(at.end.line, along), at.end.row), score)
        else:
            strip = Strip(skip(place.state, c * shape.block), shape.lanes)
            one(place, shape, c, strip, strip, score)
    pack_rows(at.y, place.y, chunk)
    if not there:
        pack_state(at.end, place.state, shape, 1.0)


@inner()
def one(place, shape, c, before, after, score):
    """One position in one block of columns; two rows at a time, so that sums need not wait.

    It is written from the last row to the first: the rows that were read last are near.
    """
    q, k, n = place.early_q, place.early_k, shape.rows // 2 * 2
    a, at = left_by_first(place), c * shape.lanes
    f = f1 = y = y1 = zeros(place.v, 2)
    for r in range(0, n, 2):
        s = load(before.line, r * before.down, 2)
        s1 = load(before.line, (r + 1) * before.down, 2)
        f += k[r] * s
        y += q[r] * s
        f1 += k[r + 1] * s1
        y1 += q[r + 1] * s1
    for r in range(n, shape.rows):
        s = load(before.line, r * before.down, 2)
        f += k[r] * s
        y += q[r] * s
    u = place.beta[0] * (load(place.v, at, 2) - f - f1)
    store(place.y, at, y + y1 + score * u)
    for r in range(shape.rows - 1, -1, -1):
        s = of_row(a, r) * load(before.line, r * before.down, 2)
        store(after.line, r * after.down, s + place.k[r] * u)


@partial(Kernel, signature=_back_signature)
def BACK(told, part, address):
    back(told[0], part[0], laid(address, told[0][4][2], told[0][2], Back))


@partial(Kernel, signature=_channel_back_signature)
def CHANNEL_BACK(told, part, address):
    back(told[0], part[0], laid(address, told[0][4][2], told[0][2], BackByChannel))


@inner()
def back(told, part, place):
    """The heads of a piece, from the end."""
    tensors, sizes, _starts, _back, kinds = told
    size, piece = Size(*sizes), Piece(*part)
    shape = shape_of(size, piece)
    for item in range(piece.first, piece.end):
        b, h = item // size.heads, item % size.heads
        head_back(parts_of(place, kinds, tensors, size, shape, b, h), place, shape, size.T)


@inner()
def head_back(at, place, shape, T):
    """All positions of one head, from the end."""
    span = span_of(T)
    fetch_state(place.state, at.dend, shape)
    for number in range((T + span - 1) // span - 1, -1, -1):
        chunk = chunk_of(number * span, span, T, QUAD, False)
        fetched(at, place, shape, chunk)
        fetch_rows(place.dy, at.dy, chunk)
        fetch_rows(place.e, at.e, chunk)
        tell(place, shape, chunk)
        for c in range(shape.blocks):
            for i in range(chunk.whole // QUAD - 1, -1, -1):
                four_back(at.dbeta, place, shape, chunk, i, c)
        pack_rows(at.de, place.de, chunk)
    pack_state(at.dstart, place.state, shape, 1.0)


@inner()
def four_back(dbeta, place, shape, chunk, i, c):
    """Four positions from the last to the first, in one block of columns."""
    D, t = skip(place.state, c * shape.block), read(place.told, i, Told)
    first, at = i * QUAD * shape.height, i * QUAD * shape.width + c * shape.lanes
    u0, u1, u2, u3 = found(D, skip(place.late, first), shape)
    y0, y1, y2, y3 = y = loaded(place.dy, at, shape.width)
    u3 += t.q33 * y3
    e3 = t.beta3 * u3
    u2 += t.q22 * y2 + t.q32 * y3 - t.k32 * e3
    e2 = t.beta2 * u2
    u1 += t.q11 * y1 + t.q21 * y2 + t.q31 * y3 - t.k21 * e2 - t.k31 * e3
    e1 = t.beta1 * u1
    u0 += t.q00 * y0 + t.q10 * y1 + t.q20 * y2 + t.q30 * y3 - t.k10 * e1 - t.k20 * e2 - t.k30 * e3
    e0 = t.beta0 * u0
    stored(place.de, at, shape.width, (e0, e1, e2, e3))
    whole = left(place, i * QUAD, shape.height)
    written(D, D, skip(place.early_q, first), y, whole, shape)
    subtracted(D, skip(place.early_k, first), (e0, e1, e2, e3), shape)
    e = loaded(place.e, at, shape.width)
    sums = (
        sum_lanes(u0 * e[0]), sum_lanes(u1 * e[1]), sum_lanes(u2 * e[2]), sum_lanes(u3 * e[3])
    )  # fmt: skip
    shared(dbeta, chunk, i * QUAD, c, sums)
