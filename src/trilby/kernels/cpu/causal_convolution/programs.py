"""The programs of a causal convolution: all tiles of a part, from the start to the end."""

from functools import partial
from typing import NamedTuple

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, numbers, row, skip
from ..recurrence.channels import (
    channels_of,
    fetch_row,
    fetch_tile,
    move,
    pack_row,
    pack_tile,
)
from ..recurrence.sequences import blank, chunk_of
from .tile import (
    CHANNELS,
    TIME,
    Rows,
    Sizes,
    add_shares,
    bend,
    convolve,
    one_back,
    signature,
    spread,
    taps_of,
)


class Forward(NamedTuple):
    """The places of the scratch memory of `FORWARD`."""

    u: int
    z: int


class Backward(NamedTuple):
    """The places of `BACKWARD`; rows of dz are as many as those of u."""

    u: int
    z: int
    dz: int
    spare: int


def forward_places(W: int, _lanes: int) -> list[int]:
    """How many numbers each place of `FORWARD` has."""
    return [(W - 1 + TIME) * CHANNELS, TIME * CHANNELS]


def backward_places(W: int, lanes: int) -> list[int]:
    """How many numbers each place of `BACKWARD` has."""
    rows = (W - 1 + TIME) * CHANNELS
    return [rows, TIME * CHANNELS, rows, lanes]


@partial(Kernel, signature=signature(4, 2))
def FORWARD(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(address, kinds[1], starts, Forward)
    for b in range(b0, b1):
        for left in range(c0, c1, CHANNELS):
            right = min(left + CHANNELS, c1)
            forward(tensors, lines, size, place, kinds, (b, left, right))


@inner()
def forward(tensors, lines, size, place, kinds, at):
    """All positions of some channels of a row."""
    b, left, right = at
    taps = taps_of(lines, size, kinds, b, left, right)
    width, before = taps.width, taps.W - 1
    x, y = (
        channels_of(tensors[0], kinds[0], b, left, right, width),
        channels_of(tensors[1], kinds[0], b, left, right, width),
    )
    state, after = (
        channels_of(tensors[2], kinds[0], b, left, right, width),
        channels_of(tensors[3], kinds[0], b, left, right, width),
    )
    for j in range(before):
        fetch_row(skip(place.u, j * width), state, j)
    in_place = (before + TIME - 1) // TIME * TIME if size.ready else size.T
    for begin in range(0, size.T, TIME):
        chunk = chunk_of(begin, TIME, size.T, 1, False)
        if begin >= in_place:  # all that is read stands in x as it is needed
            rows = rows_of(x, begin - before, place.u)
            convolve(rows_of(y, begin, place.z), rows, taps, begin, chunk.many, taps.silu)
        else:
            fetch_tile(skip(place.u, before * width), x, chunk)
            rows = Rows(place.u, width)
            convolve(Rows(place.z, width), rows, taps, begin, chunk.many, taps.silu)
            pack_tile(y, place.z, chunk)
            move(place.u, chunk.many * width, before * width)
    for j in range(before):
        if in_place < size.T:
            fetch_row(skip(place.u, j * width), x, size.T - before + j)
        if taps.packed and taps.low[size.T] > j:
            blank(place.u, j * width, width)
        pack_row(after, j, skip(place.u, j * width))


@inner()
def rows_of(part, t, place):
    """Rows of a tensor from position t on; they are numbers as those of the place are."""
    return Rows(numbers(skip(part.line, t * part.time), place), part.time)


@partial(Kernel, signature=signature(6, 4))
def BACKWARD(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(address, kinds[1], starts, Backward)
    for b in range(b0, b1):
        for left in range(c0, c1, CHANNELS):
            right = min(left + CHANNELS, c1)
            backward(tensors, lines, size, place, kinds, (b, left, right))


@inner()
def backward(tensors, lines, size, place, kinds, at):
    """All positions of some channels of a row, and then what was read as the state after them."""
    b, left, right = at
    taps = taps_of(lines, size, kinds, b, left, right)
    width, before = taps.width, taps.W - 1
    x, dy = (
        channels_of(tensors[0], kinds[0], b, left, right, width),
        channels_of(tensors[1], kinds[0], b, left, right, width),
    )
    du = (
        channels_of(tensors[2], kinds[0], b, left, right, width),
        channels_of(tensors[3], kinds[0], b, left, right, width),
    )
    state, dafter = (
        channels_of(tensors[4], kinds[0], b, left, right, width),
        channels_of(tensors[5], kinds[0], b, left, right, width),
    )
    shares = row(lines[3], kinds[3], b * (taps.W + 1) * taps.across + left)
    now = skip(place.dz, before * width)
    for j in range(before):
        fetch_row(skip(place.u, j * width), state, j)
    blank(place.dz, 0, before * width)
    for begin in range(0, size.T, TIME):
        chunk = chunk_of(begin, TIME, size.T, 1, False)
        fetch_tile(skip(place.u, before * width), x, chunk)
        fetch_tile(now, dy, chunk)
        if taps.silu:
            rows = Rows(place.u, width)
            convolve(Rows(place.z, width), rows, taps, begin, chunk.many, False)
            bend(now, place.z, chunk.many * width, taps.lanes)
        add_shares(shares, place.spare, now, place.u, taps, begin, chunk.many)
        spread(place.z, place.dz, taps, begin, chunk.many)
        early = min(max(before - begin, 0), chunk.many)  # rows that are of the state
        for i in range(early):
            pack_row(du[0], begin + i, skip(place.z, i * width))
        rest = chunk_of(begin + early - before, chunk.many - early, size.T, 1, False)
        pack_tile(du[1], skip(place.z, early * width), rest)
        move(place.u, chunk.many * width, before * width)
        move(place.dz, chunk.many * width, before * width)
    read_last(du, dafter, place, taps, size.T)


@inner()
def leave(du, p, before, place):
    """Row p of the gradient of u, which is one of the state, or one of x."""
    if p < before:
        pack_row(du[0], p, place)
    else:
        pack_row(du[1], p - before, place)


@inner()
def read_last(du, dafter, place, taps, T):
    """The last rows of u: what the last positions took of them, and the state after them."""
    width, before = taps.width, taps.W - 1
    for i in range(before):
        kept = skip(place.u, i * width)
        fetch_row(kept, dafter, i)
        if taps.packed and taps.low[T] > i:
            blank(kept, 0, width)
        one_back(place.z, skip(place.dz, i * width), taps, 0, T + i, i + 1)
        for c in range(width):
            kept[c] += place.z[c]
        leave(du, T + i, before, kept)
