"""Walks over the positions of a tile: N memories for each channel, channels side by side.

h[n] is a row of channels: h_t[n] = exp(dt_t A[n]) h_{t-1}[n] + u_t B_t[n] with u = dt x, read as
y_t = sum of C_t[n] h_t[n], and D x_t more. Let G_t[n] be the gradient of h_t[n]. Then

    G_t = C_t dy_t + a_{t+1} G_{t+1}             with a_t = exp(dt_t A)
    du_t = sum of B_t[n] G_t[n]                  dB_t[n] = sum of u_t G_t[n] over channels
    dg_t = a_t h_{t-1} G_t                       the gradient of the logarithm dt_t A of a decay

Numbers of a position that do not depend on the memory are rows of the tile.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types

from ...machine.compiler import inner
from ...machine.loop import arguments
from ...simd.exponential import exp
from ...simd.places import row, skip
from ...simd.vector import load, store, sum_lanes, zeros
from ..recurrence.sequences import blank

TIME, CHANNELS = 16, 64  # positions and channels of a tile


class Sizes(NamedTuple):
    """What a launch is about, and how numbers are stored."""

    T: Any
    N: Any
    lanes: Any  # channels in a vector of two registers
    across: Any  # channels in a row of A, D and states: whole vectors
    blocks: Any  # tiles side by side, each with its own shares of the gradients of B and C
    packed: Any  # whether there are documents


class Lines(NamedTuple):
    """What a tile has of the arguments that are prepared for it."""

    A: Any  # N rows of `across`
    D: Any
    B: Any  # N numbers for each position
    C: Any
    begins: Any  # a number for each position: whether a document begins
    state: Any  # N rows of `across`, as all states
    after: Any
    N: Any
    lanes: Any
    across: Any
    width: Any
    packed: Any


def signature(tensors: int, lines: int, places: int) -> Callable[[Any], tuple[Any, ...]]:
    """The types of what a program is told.

    Those are addresses and strides of the tensors; the addresses of the lines; the sizes; where
    places begin; and a zero of each kind of number.
    """

    def of(element: Any) -> tuple[Any, ...]:
        acc = types.float64 if element == types.float64 else types.float32
        told = types.UniTuple(types.UniTuple(types.int64, 4), tensors)
        tuples = (types.UniTuple(types.int64, n) for n in (lines, len(Sizes._fields), places))
        zeros_of = types.Tuple((element, acc, types.int64, types.float64))
        return arguments((told, *tuples, zeros_of), 4)

    return of


@inner()
def lines_of(lines, size, kinds, b, left, right):
    """The lines of the channels from `left` to `right` of row b."""
    acc, N, across = kinds[1], size.N, size.across
    width = (right - left + size.lanes - 1) // size.lanes * size.lanes
    positions, states = b * size.T * N, b * N * across + left
    return Lines(
        row(lines[0], acc, left), row(lines[1], acc, left),
        row(lines[2], acc, positions), row(lines[3], acc, positions),
        row(lines[4], kinds[2], b * size.T),
        row(lines[5], acc, states), row(lines[6], acc, states),
        N, size.lanes, across, width, size.packed != 0,
    )  # fmt: skip


@inner()
def fetch_state(place, line, lines):
    """A state, its N rows below each other."""
    for n in range(lines.N):
        for c in range(lines.width):
            place[n * lines.width + c] = line[n * lines.across + c]


@inner()
def pack_state(line, place, lines):
    """A state back from a place."""
    for n in range(lines.N):
        for c in range(lines.width):
            line[n * lines.across + c] = place[n * lines.width + c]


@inner()
def onward(h, y, x, dt, lines, begin, many):
    """Positions from `begin` on: y, and the state after them in place of that before them."""
    width, N = lines.width, lines.N
    for i in range(many):
        t = begin + i
        B, C = skip(lines.B, t * N), skip(lines.C, t * N)
        if lines.packed and lines.begins[t] != 0:
            blank(h, 0, N * width)
        for c in range(0, width, lines.lanes):
            at = i * width + c
            length, now = load(dt, at, 2), load(x, at, 2)
            u, read = length * now, load(lines.D, c, 2) * now
            for n in range(N):
                a = exp(length * load(lines.A, n * lines.across + c, 2))
                s = a * load(h, n * width + c, 2) + u * B[n]
                store(h, n * width + c, s)
                read += C[n] * s
            store(y, at, read)


@inner()
def skipped(h, x, dt, lines, begin, many):
    """Positions from `begin` on of which only the state after them is wanted."""
    width, N = lines.width, lines.N
    for i in range(many):
        B = skip(lines.B, (begin + i) * N)
        if lines.packed and lines.begins[begin + i] != 0:
            blank(h, 0, N * width)
        for c in range(0, width, lines.lanes):
            at = i * width + c
            length = load(dt, at, 2)
            u = length * load(x, at, 2)
            for n in range(N):
                a = exp(length * load(lines.A, n * lines.across + c, 2))
                store(h, n * width + c, a * load(h, n * width + c, 2) + u * B[n])


@inner()
def again(place, lines, begin, many, shares):
    """The states of a tile again, each behind the one before; decays; the gradient of C.

    State number i is that before position i, and empty where a document begins.
    """
    width, N = lines.width, lines.N
    for i in range(many):
        t, before = begin + i, skip(place.h, i * N * width)
        after, a = skip(before, N * width), skip(place.a, i * N * width)
        if lines.packed and lines.begins[t] != 0:
            blank(before, 0, N * width)
        B = skip(lines.B, t * N)
        blank(place.sums, 0, N * lines.lanes)
        for c in range(0, width, lines.lanes):
            at = i * width + c
            length, dy = load(place.dt, at, 2), load(place.dy, at, 2)
            u = length * load(place.x, at, 2)
            for n in range(N):
                j, k = n * width + c, n * lines.lanes
                decay = exp(length * load(lines.A, n * lines.across + c, 2))
                s = decay * load(before, j, 2) + u * B[n]
                store(a, j, decay)
                store(after, j, s)
                store(place.sums, k, load(place.sums, k, 2) + dy * s)
        add_up(shares, t, place.sums, lines)


@inner()
def add_up(shares, t, sums, lines):
    """The share of a tile in the gradient of B or C at position t: the sum over its channels."""
    for n in range(lines.N):
        shares[t * lines.N + n] = sum_lanes(load(sums, n * lines.lanes, 2))


@inner()
def returning(place, lines, begin, many, shares):
    """A tile from its end: gradients of x, dt and B, those of A and D on top; and G before it."""
    width, N = lines.width, lines.N
    for i in range(many - 1, -1, -1):
        t = begin + i
        before, a = skip(place.h, i * N * width), skip(place.a, i * N * width)
        blank(place.sums, 0, N * lines.lanes)
        for c in range(0, width, lines.lanes):
            back(place, lines, before, a, t, i * width + c, c)
        add_up(shares, t, place.sums, lines)
        if lines.packed and lines.begins[t] != 0:
            blank(place.G, 0, N * width)


@inner()
def back(place, lines, before, a, t, at, c):
    """One position in one vector of channels."""
    width, N = lines.width, lines.N
    B, C = skip(lines.B, t * N), skip(lines.C, t * N)
    length, now, dy = load(place.dt, at, 2), load(place.x, at, 2), load(place.dy, at, 2)
    u = length * now
    du = dlength = zeros(place.G, 2)
    for n in range(N):
        j, k = n * width + c, n * lines.lanes
        g = load(place.G, j, 2) + C[n] * dy
        du += B[n] * g
        store(place.sums, k, load(place.sums, k, 2) + u * g)
        g = load(a, j, 2) * g
        store(place.G, j, g)
        log = g * load(before, j, 2)
        dlength += log * load(lines.A, n * lines.across + c, 2)
        store(place.dA, j, load(place.dA, j, 2) + log * length)
    store(place.dx, at, du * length + load(lines.D, c, 2) * dy)
    store(place.ddt, at, dlength + du * now)
    store(place.dD, c, load(place.dD, c, 2) + dy * now)
