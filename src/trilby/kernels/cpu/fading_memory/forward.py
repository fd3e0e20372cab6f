"""The program that writes and reads a memory that fades: forward, and back for what was written."""

from functools import partial
from math import exp
from typing import Any, NamedTuple

from numba.extending import register_jitable

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, read, row, skip
from ..recurrence.program import signature
from ..recurrence.sequences import (
    Piece,
    Sequence,
    Size,
    State,
    blank,
    chunk_of,
    fetch_gates,
    fetch_rows,
    fetch_state,
    head_of,
    is_first,
    pack_rows,
    pack_state,
    part_of,
    shape_of,
    state_of,
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


class Given(NamedTuple):
    """What the program is told: x and w are written, z reads; the state at the start and end."""

    x: Any
    w: Any
    z: Any
    g: Any
    start: Any
    end: Any
    y: Any


class Places(NamedTuple):
    """Scratch memory: a chunk of the sequences, what its positions tell each other, the state."""

    x: Any
    z: Any
    w: Any
    y: Any
    old: Any  # the share of y that was there before each four positions
    a: Any
    g: Any
    decays: Any
    scores: Any
    state: Any
    rest: Any  # what rounding has left of the state


@register_jitable
def span_of(T):
    """How many positions a chunk has."""
    return min(CHUNK, (T + QUAD - 1) // QUAD * QUAD)


@register_jitable
def forward_places(size, piece):
    """How many numbers each place has."""
    shape, span = shape_of(size, piece), span_of(size.T)
    down, along, quads = span * shape.height, span * shape.width, span // QUAD
    state = shape.rows * shape.width
    return Places(
        x=down, z=down, w=along, y=along, old=along, a=span, g=span,
        decays=quads * DECAYS, scores=quads * SCORES, state=state, rest=state,
    )  # fmt: skip


@partial(Kernel, signature=signature(7))
def FORWARD(told, part, address):
    tensors, sizes, back, (element, result, number) = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    x, w, z, g, start, end, y = tensors
    given = Given(
        Sequence(element, *x), Sequence(element, *w), Sequence(element, *z), Sequence(number, *g),
        State(number, *start), State(number, *end), Sequence(result, *y),
    )  # fmt: skip
    place, shape = laid(address, number, forward_places(size, piece)), shape_of(size, piece)
    together = size.heads // size.groups  # heads that add up in one result
    for item in range(piece.first, piece.end):
        b, first = item // size.groups, item % size.groups * together
        for h in range(first, first + together):
            head(given, place, size, shape, b, h, back != 0)


@inner()
def head(given, place, size, shape, b, h, back):
    """All positions of one head."""
    T, span = size.T, span_of(size.T)
    x, z = head_of(given.x, b, h, size.heads), head_of(given.z, b, h, size.heads)
    w = part_of(given.w, b, h, size.heads, shape.left)
    y = part_of(given.y, b, h, size.heads, shape.left)
    g, ends = head_of(given.g, b, h, size.heads), (
        state_of(given.start, b, h, shape), state_of(given.end, b, h, shape)
    )  # fmt: skip
    # A state whose rows are whole vectors side by side is read and left where it lies.
    whole, side_by_side = shape.columns == shape.width, given.start.step == given.end.step == 1
    straight, long = whole and side_by_side and not back, False
    if not straight:
        fetch_state(place.state, given.start, ends[0], shape)
    for begin in range(0, T, span):
        chunk = chunk_of(begin, span, T, QUAD, back)
        fetch_rows(place.x, shape.height, given.x, x, shape.rows, chunk)
        fetch_rows(place.z, shape.height, given.z, z, shape.rows, chunk)
        fetch_rows(place.w, shape.width, given.w, w, shape.columns, chunk)
        fetch_gates(place.g, place.a, given.g, g, chunk, back)
        before, long = long, span < T and lasting(place.g, chunk.whole)
        if long and not before:
            blank(place.rest, 0, shape.rows * shape.width)
        if T > 1:
            tell(place, shape, chunk, long)
        for c in range(shape.blocks):
            walk(given, place, shape, chunk, ends, c, straight, long)
        pack_rows(given.y, y, place.y, shape, chunk, is_first(given.y, h, size.heads))
    if not straight:
        fade = exp(row(given.g.address, given.g.like, g)[0]) if back else 1.0
        pack_state(given.end, ends[1], place.state, shape, fade)


@inner()
def strip_of(state, at, c, shape):
    """A block of columns of a state that is read or left where it lies."""
    return Strip(row(state.address, state.like, at + c * shape.lanes), state.row)


@inner()
def walk(given, place, shape, chunk, ends, c, straight, long):
    """A chunk of positions in one block of columns."""
    L, at, quads = shape.lanes, c * shape.block, chunk.whole // QUAD
    here, rest = Strip(skip(place.state, at), L), Strip(skip(place.rest, at), L)
    for i in range(quads):
        before = after = here
        if straight and chunk.first == 0 and i == 0:
            before = strip_of(given.start, ends[0], c, shape)
        if straight and chunk.first + chunk.many == chunk.T and i == quads - 1:
            after = strip_of(given.end, ends[1], c, shape)
        rows = rows_of(place, shape, i * QUAD)
        along = i * QUAD * shape.width + c * L
        columns = Columns(place.w, place.y, place.old, along, shape.width)
        if chunk.T == 1:
            one(before, after, rows, columns, place.a[0])
        else:
            d, p = read(place.decays, i, Decays), read(place.scores, i, Scores)
            four(before, after, rest, rows, columns, d, p, long)
