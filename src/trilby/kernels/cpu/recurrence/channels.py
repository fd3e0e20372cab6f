"""Tensors [B, T, C] in compiled code: some channels of a row, one position below the other.

Where time varies fastest in memory, squares of channels and positions are turned over in registers.
"""

from ...machine.compiler import inner
from ...simd.elements import prefetch
from ...simd.places import row, skip
from ...simd.turn import SIDE, turn
from .sequences import LINE, Part, blank, fetch_rows, pack, pack_rows, unpack


@inner()
def channels_of(told, like, b, left, right, width):
    """What a part has of a tensor [B, T, C]: the channels from `left` to `right` of row b.

    A position takes `width` numbers in scratch memory, and zeros stand beside the channels.
    """
    address, batch, time, step = told
    return Part(row(address, like, b * batch + left * step), time, step, right - left, width, True)


@inner()
def fetch_row(place, part, t):
    """Position t of a tensor, and zeros beside it."""
    unpack(place, skip(part.line, t * part.time), part.step, part.n)
    blank(place, part.n, part.width - part.n)


@inner()
def pack_row(part, t, place):
    """A row of a place into position t of a tensor."""
    pack(skip(part.line, t * part.time), part.step, place, part.n, True)


@inner()
def fetch_tile(place, part, chunk):
    """A chunk of positions, and zeros beside them."""
    if part.time != 1 or part.step == 1:
        fetch_rows(place, part, chunk)
        return
    squares, width = part.n // SIDE * SIDE, part.width
    for c in range(0, squares, SIDE):
        ask_on(skip(part.line, c * part.step), part.step, SIDE, chunk)
        fetch_squares(skip(place, c), skip(part.line, c * part.step + chunk.first), part, chunk)
    ask_on(skip(part.line, squares * part.step), part.step, part.n - squares, chunk)
    for i in range(chunk.many):
        line = skip(part.line, squares * part.step + chunk.first + i)
        unpack(skip(place, i * width + squares), line, part.step, part.n - squares)
        blank(place, i * width + part.n, width - part.n)


@inner()
def ask_on(line, step, n, chunk):
    """Ask for what n channels have in the next chunk."""
    after = chunk.first + chunk.many
    if after + chunk.many <= chunk.T:
        for c in range(n):
            for t in range(after, after + chunk.many, LINE):
                prefetch(line, c * step + t)


@inner()
def fetch_squares(place, line, part, chunk):
    """As many channels as a square has."""
    i, width = 0, part.width
    while i + SIDE <= chunk.many:
        turn(skip(line, i), part.step, skip(place, i * width), width)
        i += SIDE
    while i < chunk.many:
        unpack(skip(place, i * width), skip(line, i), part.step, SIDE)
        i += 1


@inner()
def pack_tile(part, place, chunk):
    """A chunk of positions of a place into a tensor."""
    if part.time != 1 or part.step == 1:
        pack_rows(part, place, chunk)
        return
    squares, width = part.n // SIDE * SIDE, part.width
    for c in range(0, squares, SIDE):
        pack_squares(skip(part.line, c * part.step + chunk.first), skip(place, c), part, chunk)
    for i in range(chunk.many):
        line = skip(part.line, squares * part.step + chunk.first + i)
        pack(line, part.step, skip(place, i * width + squares), part.n - squares, True)


@inner()
def pack_squares(line, place, part, chunk):
    """As many channels as a square has."""
    i, width = 0, part.width
    while i + SIDE <= chunk.many:
        turn(skip(place, i * width), width, skip(line, i), part.step)
        i += SIDE
    while i < chunk.many:
        pack(skip(line, i), part.step, skip(place, i * width), SIDE, True)
        i += 1


@inner()
def move(place, source, n):
    """n numbers from `source` on to the beginning."""
    for i in range(n):
        place[i] = place[source + i]


@inner()
def add_to(sums, at, spare, n):
    """n numbers of a place on top of sums in float64."""
    for i in range(n):
        sums[at + i] += spare[i]
