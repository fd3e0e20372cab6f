"""The program of the gradients of what ran down the rows of a memory that fades, and of its gates.

The state is transposed here: x = v and w = k write it, z = dy comes back where p = q read. A first
pass keeps the state at the beginning of each chunk. The second goes through the chunks from the
last to the first: the states inside are computed again, then the gradient of the state goes back.
"""

from functools import partial
from typing import NamedTuple

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, read, skip, write
from ..recurrence.record import (
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
from ..recurrence.sequences import (
    Piece,
    Size,
    blank,
    chunk_of,
    fetch_gates,
    fetch_rows,
    fetch_state,
    pack_rows,
    shape_of,
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

QUADS = CHUNK // QUAD


class Backward(NamedTuple):
    """What the program works with: sequences, the state at the start, gradients."""

    x: down()
    w: along()
    z: down()
    p: along()
    g: single()
    start: state()
    dend: state()  # the gradient of the state at the end
    dp: along(RESULT)
    dw: along(RESULT)
    dg: shares()  # one of each half of a block of columns
    old: scratch(lambda span, size, shape: span * shape.width)  # of dp, from before each four
    a: positions()
    decays: scratch(lambda span, size, shape: QUADS * DECAYS)
    scores: scratch(lambda span, size, shape: QUADS * SCORES)
    d: blocks()  # the gradient of the state
    borders: scratch(  # the states at the beginnings of chunks
        lambda span, size, shape: (size.T + CHUNK - 1) // CHUNK * shape.rows * shape.width
    )
    rest: blocks()  # what rounding has left
    inside: scratch(lambda span, size, shape: (QUADS + 1) * shape.block)  # states, of one block


backward_places, backward_parts, backward_signature = record(Backward, lambda T: CHUNK)


@partial(Kernel, signature=backward_signature)
def BACKWARD(told, part, address):
    tensors, sizes, starts, _back, kinds = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    place, shape = laid(address, kinds[2], starts, Backward), shape_of(size, piece)
    together = size.heads // size.groups  # heads that add up in one result
    for item in range(piece.first, piece.end):
        b, first = item // size.groups, item % size.groups * together
        for h in range(first, first + together):
            head_back(backward_parts(kinds, tensors, size, shape, b, h), place, shape, size.T)


@inner()
def head_back(at, place, shape, T):
    """All positions of one head."""
    fetch_state(place.borders, at.start, shape)
    fetch_state(place.d, at.dend, shape)
    there, long = (T + CHUNK - 1) // CHUNK - 1, False
    for number in range(there):
        long = to_border(at, place, shape, number, T, long)
    for number in range(there, -1, -1):
        chunk = chunk_of(number * CHUNK, CHUNK, T, QUAD, False)
        fetch_rows(place.x, at.x, chunk)
        fetch_rows(place.z, at.z, chunk)
        fetch_rows(place.w, at.w, chunk)
        fetch_rows(place.p, at.p, chunk)
        fetch_gates(place.g, place.a, at.g, chunk, False)
        tell(place, shape, chunk, False)
        for c in range(shape.blocks):
            inside_again(place, shape, chunk, number, c)
            block_back(at.dg, place, shape, chunk, number, c)
        pack_rows(at.dp, place.dp, chunk)
        pack_rows(at.dw, place.dw, chunk)


@inner()
def to_border(at, place, shape, number, T, lasted):
    """The state at the end of a chunk from that at its beginning; whether it lasts."""
    chunk = chunk_of(number * CHUNK, CHUNK, T, QUAD, False)
    fetch_rows(place.x, at.x, chunk)
    fetch_rows(place.w, at.w, chunk)
    fetch_gates(place.g, place.a, at.g, chunk, False)
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
def block_back(dg, place, shape, chunk, number, c):
    """The gradient of the state from the end of a chunk to its beginning, in one block."""
    half = shape.lanes // 2
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
                skip(dg.line, t * dg.time + 2 * c + side)[0] = found[j]
