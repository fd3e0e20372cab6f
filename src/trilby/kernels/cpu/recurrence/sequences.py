"""Tensors in compiled code: their addresses and strides, and how chunks are read and written.

Sequences come in four dtypes and any strides. A chunk of positions is unpacked into scratch memory
in the nearest cache, one position below the other in rows that are whole vectors long. Results are
packed from there. Inside a chunk positions are counted in the order in which they are visited.
"""

from math import exp
from typing import Any, NamedTuple

from numba.extending import overload, register_jitable

from ...machine.compiler import INNER, inner
from ...simd.elements import decode, encode, prefetch
from ...simd.places import row, skip

AHEAD = 8  # positions that are asked for before they are unpacked
LINE = 16  # numbers of float32 in a line of the cache


class Part(NamedTuple):
    """What a head has of a sequence, in the columns of a piece."""

    line: Any  # a pointer to its first number
    time: Any
    step: Any
    n: Any  # numbers of a position
    width: Any  # and how many it takes in scratch memory
    first: Any  # whether the head is the first of those that share this


class StatePart(NamedTuple):
    """What a head has of a state, in the columns of a piece."""

    line: Any
    row: Any
    step: Any


class Size(NamedTuple):
    """What a launch is about: T positions, H heads in groups, states [rows, columns]."""

    T: Any
    heads: Any
    groups: Any
    rows: Any
    columns: Any
    lanes: Any  # numbers in a block of columns, two registers wide


class Piece(NamedTuple):
    """The part of a launch that one thread takes: heads of some groups, blocks of columns."""

    first: Any
    end: Any
    left: Any
    right: Any


class Shape(NamedTuple):
    """A state as a piece has it: `rows` down, `columns` from `left` on; whole vectors long."""

    rows: Any
    columns: Any
    left: Any
    height: Any
    width: Any
    lanes: Any
    blocks: Any
    block: Any  # numbers in a block of columns


class Chunk(NamedTuple):
    """Positions first, first + step ... of T: `many`, in place of `whole` that a walk takes."""

    first: Any
    step: Any
    many: Any
    whole: Any
    T: Any


PARTS: dict[Any, Any] = {}
"""Record -> what makes the parts of a head."""


def parts_of(place, kinds, tensors, size, shape, b, h):
    """What head h of row b has of each tensor, by the record that the places are of."""


@overload(parts_of, jit_options=INNER)
def _parts_of(place, kinds, tensors, size, shape, b, h):
    of = PARTS[place.instance_class]

    def found(place, kinds, tensors, size, shape, b, h):
        return of(kinds, tensors, size, shape, b, h)

    found.__qualname__ = f"{of.py_func.__module__}.{of.py_func.__qualname__}"
    return found


@register_jitable(**INNER)
def shape_of(size, piece):
    """What a piece takes of a state."""
    L = size.lanes
    blocks, left = piece.right - piece.left, piece.left * L
    columns = min(size.columns, piece.right * L) - left
    height = (size.rows + L - 1) // L * L
    return Shape(size.rows, columns, left, height, blocks * L, L, blocks, size.rows * L)


@inner()
def chunk_of(begin, span, T, together, back):
    """The positions from `begin` on, at most `span`; counted from the end where `back`."""
    many = min(span, T - begin)
    whole = (many + together - 1) // together * together
    return Chunk(T - 1 - begin, -1, many, whole, T) if back else Chunk(begin, 1, many, whole, T)


@inner()
def part_of(like, told, b, h, heads, left, n, width):
    """What head h of row b has of a sequence; heads of it that are fewer are shared evenly."""
    address, batch, time, head, step, few = told
    at = b * batch + (h * few // heads) * head + left * step
    return Part(row(address, like, at), time, step, n, width, h % (heads // few) == 0)


@inner()
def down_of(like, told, b, h, heads, shape):
    return part_of(like, told, b, h, heads, 0, shape.rows, shape.height)


@inner()
def along_of(like, told, b, h, heads, shape):
    return part_of(like, told, b, h, heads, shape.left, shape.columns, shape.width)


@inner()
def single_of(like, told, b, h, heads, shape):
    return part_of(like, told, b, h, heads, 0, 1, 1)


@inner()
def shares_of(like, told, b, h, heads, shape):
    return part_of(like, told, b, h, heads, 2 * (shape.left // shape.lanes), 2 * shape.blocks, 0)


@inner()
def share_of(like, told, b, h, heads, shape):
    return part_of(like, told, b, h, heads, shape.left // shape.lanes, shape.blocks, 0)


@inner()
def state_of(like, told, b, h, heads, shape):
    address, batch, head, down, step, _ = told
    return StatePart(row(address, like, b * batch + h * head + shape.left * step), down, step)


@inner()
def decoded(element):
    return decode(element)


@inner()
def encoded(value, like):
    return encode(value, like)


@inner()
def blank(place, at, n):
    for j in range(at, at + n):
        place[j] = 0


@inner()
def ask(line, n):
    """Ask for n numbers that are read soon: a head is a short piece of a long row of memory."""
    for j in range(0, n, LINE):
        prefetch(line, j)


@inner()
def unpack(place, line, step, n):
    """n numbers of a sequence, in the dtype of the place."""
    if step == 1:
        for j in range(n):
            place[j] = decoded(line[j])
    else:
        for j in range(n):
            place[j] = decoded(line[j * step])


@inner()
def fetch_rows(place, part, chunk):
    """A chunk of a sequence; zeros beside the numbers of a position and below the last."""
    n, width = part.n, part.width
    for i in range(chunk.many):
        t = chunk.first + i * chunk.step
        ahead = t + AHEAD * chunk.step
        if 0 <= ahead < chunk.T:
            ask(skip(part.line, ahead * part.time), n)
        unpack(skip(place, i * width), skip(part.line, t * part.time), part.step, n)
        blank(place, i * width + n, width - n)
    blank(place, chunk.many * width, (chunk.whole - chunk.many) * width)


@inner()
def fetch_gates(g, a, part, chunk, later):
    """The gates of a chunk, and the decays exp(g); `later`: of the position after each.

    A gate after the last position is 0, and so are those that fill up the chunk.
    """
    for i in range(chunk.whole):
        t = chunk.first + i * chunk.step + (1 if later else 0)
        g[i] = part.line[t * part.time] if i < chunk.many and t < chunk.T else 0.0
        a[i] = exp(g[i])


@inner()
def pack(line, step, place, n, first):
    """n numbers of a place into a result, or on top of what is there already."""
    if step == 1 and first:
        for j in range(n):
            line[j] = encoded(place[j], line[j])
    elif step == 1:
        for j in range(n):
            line[j] = encoded(decoded(line[j]) + place[j], line[j])
    else:
        for j in range(n):
            before = 0.0 if first else decoded(line[j * step])
            line[j * step] = encoded(before + place[j], line[j * step])


@inner()
def pack_rows(part, place, chunk):
    """A chunk of a place into a result, or on top of what other heads of a group left there."""
    for i in range(chunk.many):
        line = skip(part.line, (chunk.first + i * chunk.step) * part.time)
        pack(line, part.step, skip(place, i * part.width), part.n, part.first)


@inner()
def fetch_state(place, state, shape):
    """A state [rows, columns] as blocks of columns, each row after row, zeros beside it."""
    L = shape.lanes
    for c in range(shape.blocks):
        n = min(L, shape.columns - c * L)
        for r in range(shape.rows):
            at = c * shape.block + r * L
            line = skip(state.line, r * state.row + c * L * state.step)
            unpack(skip(place, at), line, state.step, n)
            blank(place, at + n, L - n)


@inner()
def pack_state(state, place, shape, fade):
    """Blocks of columns back into a state [rows, columns], each number times `fade`."""
    L = shape.lanes
    for c in range(shape.blocks):
        n = min(L, shape.columns - c * L)
        for r in range(shape.rows):
            at = c * shape.block + r * L
            line = skip(state.line, r * state.row + c * L * state.step)
            if state.step == 1:
                for j in range(n):
                    line[j] = place[at + j] * fade
            else:
                for j in range(n):
                    line[j * state.step] = place[at + j] * fade
