"""The programs of a selective scan: all tiles of a part, and on the way back each of them twice.

States are kept at the borders of tiles and computed again inside one tile at a time.
"""

from functools import partial
from typing import NamedTuple

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, row, skip
from ..recurrence.channels import add_to, channels_of, fetch_tile, pack_tile
from ..recurrence.sequences import blank, chunk_of
from .walks import (
    CHANNELS,
    TIME,
    Sizes,
    again,
    fetch_state,
    lines_of,
    onward,
    pack_state,
    returning,
    signature,
    skipped,
)


class Forward(NamedTuple):
    """The places of the scratch memory of `FORWARD`."""

    x: int
    dt: int
    y: int
    h: int


class Backward(NamedTuple):
    """The places of `BACKWARD`."""

    x: int
    dt: int
    dy: int
    dx: int
    ddt: int
    h: int  # the states of a tile, from the one before it on
    a: int  # the decays of a tile
    G: int
    sums: int  # over channels, a vector for each memory
    dA: int
    dD: int
    borders: int  # the state before each tile


def forward_places(_T: int, N: int, _lanes: int) -> list[int]:
    """How many numbers each place of `FORWARD` has."""
    return [*[TIME * CHANNELS] * 3, N * CHANNELS]


def backward_places(T: int, N: int, lanes: int) -> list[int]:
    """How many numbers each place of `BACKWARD` has."""
    one = N * CHANNELS
    inside = [(TIME + 1) * one, TIME * one, one, N * lanes, one, CHANNELS]
    return [*[TIME * CHANNELS] * 5, *inside, -(-T // TIME) * one]


@partial(Kernel, signature=signature(3, 7, 4))
def FORWARD(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(address, kinds[1], starts, Forward)
    for b in range(b0, b1):
        for left in range(c0, c1, CHANNELS):
            forward(tensors, lines, size, place, kinds, (b, left, min(left + CHANNELS, c1)))


@inner()
def forward(tensors, addresses, size, place, kinds, at):
    """All positions of some channels of a row."""
    b, left, right = at
    lines = lines_of(addresses, size, kinds, b, left, right)
    x = channels_of(tensors[0], kinds[0], b, left, right, lines.width)
    dt = channels_of(tensors[1], kinds[1], b, left, right, lines.width)
    y = channels_of(tensors[2], kinds[0], b, left, right, lines.width)
    fetch_state(place.h, lines.state, lines)
    for begin in range(0, size.T, TIME):
        chunk = chunk_of(begin, TIME, size.T, 1, False)
        fetch_tile(place.x, x, chunk)
        fetch_tile(place.dt, dt, chunk)
        onward(place.h, place.y, place.x, place.dt, lines, begin, chunk.many)
        pack_tile(y, place.y, chunk)
    pack_state(lines.after, place.h, lines)


@partial(Kernel, signature=signature(5, 11, 12))
def BACKWARD(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(address, kinds[1], starts, Backward)
    for b in range(b0, b1):
        for left in range(c0, c1, CHANNELS):
            backward(tensors, lines, size, place, kinds, (b, left, min(left + CHANNELS, c1)))


@inner()
def backward(tensors, addresses, size, place, kinds, at):
    """All positions of some channels of a row: to the end for the borders, and back.

    `lines.after` is the gradient of the state after the last position.
    """
    b, left, right = at
    lines = lines_of(addresses, size, kinds, b, left, right)
    x = channels_of(tensors[0], kinds[0], b, left, right, lines.width)
    dt = channels_of(tensors[1], kinds[1], b, left, right, lines.width)
    number = (b * size.blocks + left // CHANNELS) * size.T * size.N
    shares = row(addresses[7], kinds[1], number), row(addresses[8], kinds[1], number)
    sums = row(addresses[9], kinds[3], b * (size.N + 1) * size.across + left)
    before = row(addresses[10], kinds[1], b * size.N * size.across + left)
    one, last = size.N * lines.width, (size.T - 1) // TIME
    fetch_state(place.borders, lines.state, lines)
    for i in range(last):
        chunk = chunk_of(i * TIME, TIME, size.T, 1, False)
        fetch_tile(place.x, x, chunk)
        fetch_tile(place.dt, dt, chunk)
        h = skip(place.borders, (i + 1) * one)
        copy(h, skip(place.borders, i * one), one)
        skipped(h, place.x, place.dt, lines, i * TIME, chunk.many)
    fetch_state(place.G, lines.after, lines)
    for i in range(last, -1, -1):
        chunk = chunk_of(i * TIME, TIME, size.T, 1, False)
        fetch_tile(place.x, x, chunk)
        fetch_tile(place.dt, dt, chunk)
        copy(place.h, skip(place.borders, i * one), one)
        tile(tensors, kinds, place, lines, chunk, shares, at)
        for n in range(size.N):
            add_to(sums, n * size.across, skip(place.dA, n * lines.width), lines.width)
        add_to(sums, size.N * size.across, place.dD, lines.width)
    pack_state(before, place.G, lines)


@inner()
def tile(tensors, kinds, place, lines, chunk, shares, at):
    """One tile back."""
    b, left, right = at
    dy = channels_of(tensors[2], kinds[0], b, left, right, lines.width)
    dx = channels_of(tensors[3], kinds[0], b, left, right, lines.width)
    ddt = channels_of(tensors[4], kinds[1], b, left, right, lines.width)
    fetch_tile(place.dy, dy, chunk)
    blank(place.dA, 0, lines.N * lines.width)
    blank(place.dD, 0, lines.width)
    again(place, lines, chunk.first, chunk.many, shares[1])
    returning(place, lines, chunk.first, chunk.many, shares[0])
    pack_tile(dx, place.dx, chunk)
    pack_tile(ddt, place.ddt, chunk)


@inner()
def copy(place, source, n):
    """n numbers."""
    for i in range(n):
        place[i] = source[i]
