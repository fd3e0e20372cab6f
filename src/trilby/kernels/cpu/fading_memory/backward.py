"""The program of the gradients of what ran down the rows of a memory that fades, and of its gates.

The state is transposed here: x = v and w = k write it, z = dy comes back where p = q read. A first
pass keeps the state at the beginning of each chunk. The second goes through the chunks from the
last to the first: the states inside are computed again, then the gradient of the state goes back.
"""

from functools import partial
from typing import Any, NamedTuple

from numba.extending import register_jitable

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, read, row, skip, write
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
    Returned,
    Scores,
    Strip,
    backward,
    decays_of,
    four,
    lasting,
    onward,
    rows_of,
    tell,
)


class Given(NamedTuple):
    """What the program is told: sequences, the state at the start, gradients."""

    x: Any
    w: Any
    z: Any
    p: Any
    g: Any
    start: Any
    dend: Any  # the gradient of the state at the end
    dp: Any
    dw: Any
    dg: Any  # a share for each half of a block of columns


class Places(NamedTuple):
    """Scratch memory: a chunk of the sequences, what its positions tell each other, states."""

    x: Any
    z: Any
    w: Any
    p: Any
    dp: Any
    old: Any  # the share of dp that was there before each four positions
    dw: Any
    a: Any
    g: Any
    decays: Any
    scores: Any
    d: Any  # the gradient of the state
    borders: Any  # the states at the beginnings of chunks
    rest: Any  # what rounding has left of them
    inside: Any  # the states inside of a chunk, of one block of columns


class At(NamedTuple):
    """Where the head begins that is worked on, in each of the sequences."""

    x: Any
    w: Any
    z: Any
    p: Any
    g: Any
    dp: Any
    dw: Any
    dg: Any


@register_jitable
def backward_places(size, piece):
    """How many numbers each place has."""
    shape, quads = shape_of(size, piece), CHUNK // QUAD
    down, along, state = CHUNK * shape.height, CHUNK * shape.width, shape.rows * shape.width
    return Places(
        x=down, z=down, w=along, p=along, dp=along, old=along, dw=along, a=CHUNK, g=CHUNK,
        decays=quads * DECAYS, scores=quads * SCORES, d=state,
        borders=(size.T + CHUNK - 1) // CHUNK * state, rest=state,
        inside=(quads + 1) * shape.block,
    )  # fmt: skip


@partial(Kernel, signature=signature(10))
def BACKWARD(told, part, address):
    tensors, sizes, _back, (element, result, number) = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    x, w, z, p, g, start, dend, dp, dw, dg = tensors
    given = Given(
        Sequence(element, *x), Sequence(element, *w), Sequence(element, *z), Sequence(element, *p),
        Sequence(number, *g), State(number, *start), State(number, *dend),
        Sequence(result, *dp), Sequence(result, *dw), Sequence(number, *dg),
    )  # fmt: skip
    place, shape = laid(address, number, backward_places(size, piece)), shape_of(size, piece)
    together = size.heads // size.groups  # heads that add up in one result
    for item in range(piece.first, piece.end):
        b, first = item // size.groups, item % size.groups * together
        for h in range(first, first + together):
            head_back(given, place, size, shape, b, h)


@inner()
def head_back(given, place, size, shape, b, h):
    """All positions of one head."""
    H, left, T = size.heads, shape.left, size.T
    at = At(
        head_of(given.x, b, h, H), part_of(given.w, b, h, H, left),
        head_of(given.z, b, h, H), part_of(given.p, b, h, H, left),
        head_of(given.g, b, h, H), part_of(given.dp, b, h, H, left),
        part_of(given.dw, b, h, H, left), part_of(given.dg, b, h, H, left // shape.lanes * 2),
    )  # fmt: skip
    fetch_state(place.borders, given.start, state_of(given.start, b, h, shape), shape)
    fetch_state(place.d, given.dend, state_of(given.dend, b, h, shape), shape)
    there, long = (T + CHUNK - 1) // CHUNK - 1, False
    for number in range(there):
        long = to_border(given, place, shape, at, number, T, long)
    for number in range(there, -1, -1):
        chunk = chunk_of(number * CHUNK, CHUNK, T, QUAD, False)
        fetch_rows(place.x, shape.height, given.x, at.x, shape.rows, chunk)
        fetch_rows(place.z, shape.height, given.z, at.z, shape.rows, chunk)
        fetch_rows(place.w, shape.width, given.w, at.w, shape.columns, chunk)
        fetch_rows(place.p, shape.width, given.p, at.p, shape.columns, chunk)
        fetch_gates(place.g, place.a, given.g, at.g, chunk, False)
        tell(place, shape, chunk, False)
        for c in range(shape.blocks):
            inside_again(place, shape, chunk, number, c)
            block_back(given, place, shape, chunk, at, number, c)
        pack_rows(given.dp, at.dp, place.dp, shape, chunk, is_first(given.dp, h, H))
        pack_rows(given.dw, at.dw, place.dw, shape, chunk, is_first(given.dw, h, H))


@inner()
def to_border(given, place, shape, at, number, T, lasted):
    """The state at the end of a chunk from that at its beginning; whether it lasts."""
    chunk = chunk_of(number * CHUNK, CHUNK, T, QUAD, False)
    fetch_rows(place.x, shape.height, given.x, at.x, shape.rows, chunk)
    fetch_rows(place.w, shape.width, given.w, at.w, shape.columns, chunk)
    fetch_gates(place.g, place.a, given.g, at.g, chunk, False)
    long = lasting(place.g, CHUNK)
    if long and not lasted:
        blank(place.rest, 0, shape.rows * shape.width)
    for i in range(CHUNK // QUAD):
        write(place.decays, i, decays_of(place.a, place.g, i * QUAD, long))
    for c in range(shape.blocks):
        came = border_of(place, shape, number, c)
        after = border_of(place, shape, number + 1, c)
        rest = Strip(skip(place.rest, c * shape.block), shape.lanes)
        for i in range(CHUNK // QUAD):
            rows = rows_of(place, shape, i * QUAD)
            along = i * QUAD * shape.width + c * shape.lanes
            columns = Columns(place.w, place.dp, place.old, along, shape.width)
            d = read(place.decays, i, Decays)
            onward(after if i else came, after, rest, rows, columns, d, long)
    return long


@inner()
def border_of(place, shape, number, c):
    """A block of columns of the state at the beginning of a chunk."""
    at = (number * shape.blocks + c) * shape.block
    return Strip(skip(place.borders, at), shape.lanes)


@inner()
def before_four(place, shape, number, c, i):
    """A block of columns of the state before the four positions number i of a chunk."""
    if i == 0:
        return border_of(place, shape, number, c)
    return Strip(skip(place.inside, i * shape.block), shape.lanes)


@inner()
def inside_again(place, shape, chunk, number, c):
    """The states inside of a chunk in one block of columns, and what z reads of them."""
    rest = Strip(place.rest, shape.lanes)
    for i in range(chunk.whole // QUAD):
        before = before_four(place, shape, number, c, i)
        after = before_four(place, shape, number, c, i + 1)
        rows = rows_of(place, shape, i * QUAD)
        along = i * QUAD * shape.width + c * shape.lanes
        columns = Columns(place.w, place.dp, place.old, along, shape.width)
        d, p = read(place.decays, i, Decays), read(place.scores, i, Scores)
        four(before, after, rest, rows, columns, d, p, False)


@inner()
def block_back(given, place, shape, chunk, at, number, c):
    """The gradient of the state from the end of a chunk to its beginning, in one block."""
    half, dg = shape.lanes // 2, given.dg
    for i in range(chunk.whole // QUAD - 1, -1, -1):
        before = before_four(place, shape, number, c, i)
        rows = rows_of(place, shape, i * QUAD)
        d, p = read(place.decays, i, Decays), read(place.scores, i, Scores)
        for side in range(2):
            aside = side * half
            along = i * QUAD * shape.width + c * shape.lanes + aside
            columns = Returned(place.w, place.p, place.old, place.dw, along, shape.width)
            b = Strip(skip(place.d, c * shape.block + aside), shape.lanes)
            there = Strip(skip(before.line, aside), shape.lanes)
            found = backward(there, b, rows, columns, d, p)
            for j in range(min(QUAD, chunk.many - i * QUAD)):
                t = chunk.first + i * QUAD + j
                row(dg.address, dg.like, at.dg + t * dg.time + 2 * c + side)[0] = found[j]
