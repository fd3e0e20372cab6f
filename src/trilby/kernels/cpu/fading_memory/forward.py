"""The program that writes and reads a memory that fades: forward, and back for what was written."""

from functools import partial
from math import exp
from typing import NamedTuple

from numba.extending import register_jitable

from ...machine.compiler import INNER, Kernel, inner
from ...simd.places import laid, read, skip
from ..recurrence.record import (
    RESULT,
    along,
    blocks,
    down,
    positions,
    record,
    scratch,
    single,
    state,
)
from ..recurrence.sequences import (
    Piece,
    Size,
    blank,
    chunk_of,
    fetch_gates,
    fetch_rows,
    fetch_state,
    pack_rows,
    pack_state,
    shape_of,
)
from .walks import (
    CHUNK,
    DECAYS,
    QUAD,
    SCORES,
    Columns,
    Decays,
    Scores,
    Strip,
    four,
    lasting,
    one,
    rows_of,
    tell,
)


class Forward(NamedTuple):
    """What the program works with: x and w are written, z reads."""

    x: down()
    w: along()
    z: down()
    g: single()
    start: state()
    end: state()
    y: along(RESULT)
    old: scratch(lambda span, size, shape: span * shape.width)  # of y, from before each four
    a: positions()
    decays: scratch(lambda span, size, shape: span // QUAD * DECAYS)
    scores: scratch(lambda span, size, shape: span // QUAD * SCORES)
    state: blocks()
    rest: blocks()  # what rounding has left


@register_jitable(**INNER)
def span_of(T):
    """How many positions a chunk has."""
    return min(CHUNK, (T + QUAD - 1) // QUAD * QUAD)


forward_places, forward_parts, forward_signature = record(Forward, span_of)


@partial(Kernel, signature=forward_signature)
def FORWARD(told, part, address):
    tensors, sizes, starts, back, kinds = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    place, shape = laid(address, kinds[2], starts, Forward), shape_of(size, piece)
    together = size.heads // size.groups  # heads that add up in one result
    for item in range(piece.first, piece.end):
        b, first = item // size.groups, item % size.groups * together
        for h in range(first, first + together):
            at = forward_parts(kinds, tensors, size, shape, b, h)
            head(at, place, shape, size.T, back != 0)


@inner()
def head(at, place, shape, T, back):
    """All positions of one head."""
    span = span_of(T)
    # A state whose rows are whole vectors side by side is read and left where it lies.
    whole, side_by_side = shape.columns == shape.width, at.start.step == at.end.step == 1
    straight, long = whole and side_by_side and not back, False
    if not straight:
        fetch_state(place.state, at.start, shape)
    for begin in range(0, T, span):
        chunk = chunk_of(begin, span, T, QUAD, back)
        fetch_rows(place.x, at.x, chunk)
        fetch_rows(place.z, at.z, chunk)
        fetch_rows(place.w, at.w, chunk)
        fetch_gates(place.g, place.a, at.g, chunk, back)
        before, long = long, span < T and lasting(place.g, chunk.whole)
        if long and not before:
            blank(place.rest, 0, shape.rows * shape.width)
        if T > 1:
            tell(place, shape, chunk, long)
        for c in range(shape.blocks):
            walk(place, shape, chunk, (at.start, at.end), c, straight, long)
        pack_rows(at.y, place.y, chunk)
    if not straight:
        pack_state(at.end, place.state, shape, exp(at.g.line[0]) if back else 1.0)


@inner()
def strip_of(state, c, shape):
    """A block of columns of a state that is read or left where it lies."""
    return Strip(skip(state.line, c * shape.lanes), state.row)


@inner()
def walk(place, shape, chunk, ends, c, straight, long):
    """A chunk of positions in one block of columns."""
    L, at, quads = shape.lanes, c * shape.block, chunk.whole // QUAD
    here, rest = Strip(skip(place.state, at), L), Strip(skip(place.rest, at), L)
    for i in range(quads):
        before = after = here
        if straight and chunk.first == 0 and i == 0:
            before = strip_of(ends[0], c, shape)
        if straight and chunk.first + chunk.many == chunk.T and i == quads - 1:
            after = strip_of(ends[1], c, shape)
        rows = rows_of(place, shape, i * QUAD)
        along = i * QUAD * shape.width + c * L
        columns = Columns(place.w, place.y, place.old, along, shape.width)
        if chunk.T == 1:
            one(before, after, rows, columns, place.a[0])
        else:
            d, p = read(place.decays, i, Decays), read(place.scores, i, Scores)
            four(before, after, rest, rows, columns, d, p, long)
