"""A causal convolution where time is last in memory: vectors of positions, channel by channel.

With u = (state, x), position t takes the numbers u_t ... u_{t+W-1}. A span of positions is unpacked
with the W - 1 numbers before it. `low` says how many of the earliest numbers a position leaves out.
"""

from functools import partial
from typing import Any, NamedTuple

from ...machine.compiler import Kernel, inner
from ...simd.places import laid, numbers, row, skip
from ...simd.vector import load, store, sum_lanes, where_above, zeros
from ..recurrence.channels import move
from ..recurrence.sequences import blank, encoded, pack, unpack
from .tile import Sizes, bend, bent, signature

SPAN = 512  # positions, whole vectors of any machine


class Forward(NamedTuple):
    """The places of the scratch memory of `FORWARD`."""

    u: int
    z: int
    low: int


class Backward(NamedTuple):
    """The places of `BACKWARD`."""

    u: int
    z: int
    low: int
    dz: int


class Taps(NamedTuple):
    """The kernel of a channel, `across` apart, its bias, and how many numbers are left out."""

    kernel: Any
    across: Any
    bias: Any
    low: Any
    W: Any
    lanes: Any
    packed: Any


def forward_places(W: int, _lanes: int) -> list[int]:
    """How many numbers each place of `FORWARD` has."""
    return [W - 1 + SPAN, SPAN, W - 1 + SPAN]


def backward_places(W: int, _lanes: int) -> list[int]:
    """How many numbers each place of `BACKWARD` has."""
    return [W - 1 + SPAN, SPAN, W - 1 + SPAN, W - 1 + SPAN]


@partial(Kernel, signature=signature(4, 3))
def FORWARD(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(address, kinds[1], starts, Forward)
    for b in range(b0, b1):
        for c in range(c0, c1):
            forward(tensors, lines, size, place, kinds, (b, c))


@partial(Kernel, signature=signature(6, 4))
def BACKWARD(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(address, kinds[1], starts, Backward)
    for b in range(b0, b1):
        for c in range(c0, c1):
            backward(tensors, lines, size, place, kinds, (b, c))


@inner()
def forward(tensors, lines, size, place, kinds, at):
    """All positions of a channel of a row."""
    taps, before = taps_of(lines, size, kinds, at), size.W - 1
    x, y = series_of(tensors[0], kinds[0], at), series_of(tensors[1], kinds[0], at)
    state, after = series_of(tensors[2], kinds[0], at), series_of(tensors[3], kinds[0], at)
    unpack(place.u, state, tensors[2][2], before)
    for begin in range(0, size.T, SPAN):
        many = min(SPAN, size.T - begin)
        if size.ready and not taps.packed and begin >= before and many == SPAN:
            u, z = numbers(skip(x, begin - before), place.u), numbers(skip(y, begin), place.z)
            convolve(z, u, place.low, taps, many, size.silu != 0)
            unpack(place.u, skip(x, begin + SPAN - before), 1, before)
        else:
            fetch(place, x, taps, begin, many)
            convolve(place.z, place.u, skip(place.low, before), taps, many, size.silu != 0)
            pack(skip(y, begin), 1, place.z, many, True)
            move(place.u, many, before)
    blank(place.u, 0, left_out(taps, size.T))
    pack(after, tensors[3][2], place.u, before, True)


@inner()
def backward(tensors, lines, size, place, kinds, at):
    """All positions of a channel of a row, and then what was read as the state after them."""
    taps, before = taps_of(lines, size, kinds, at), size.W - 1
    x, dy = series_of(tensors[0], kinds[0], at), series_of(tensors[1], kinds[0], at)
    dstate, dx = series_of(tensors[2], kinds[0], at), series_of(tensors[3], kinds[0], at)
    state, dafter = series_of(tensors[4], kinds[0], at), series_of(tensors[5], kinds[0], at)
    shares = row(lines[3], kinds[3], at[0] * (size.W + 1) * size.across + at[1])
    unpack(place.u, state, tensors[4][2], before)
    blank(place.dz, 0, before)
    blank(place.low, 0, before)
    now = skip(place.dz, before)
    for begin in range(0, size.T, SPAN):
        many = min(SPAN, size.T - begin)
        fetch(place, x, taps, begin, many)
        unpack(now, skip(dy, begin), 1, many)
        blank(now, many, -many % taps.lanes)
        if size.silu:
            convolve(place.z, place.u, skip(place.low, before), taps, many, False)
            bend(now, place.z, many, taps.lanes)
        add_shares(shares, size.across, place, taps, many)
        spread(place, taps, many)
        early = min(max(before - begin, 0), many)  # numbers that are of the state
        step = tensors[2][2]
        pack(skip(dstate, begin * step), step, place.z, early, True)
        pack(skip(dx, begin + early - before), 1, skip(place.z, early), many - early, True)
        for line in (place.u, place.dz, place.low):
            move(line, many, before)
    unpack(place.u, dafter, tensors[5][2], before)
    blank(place.u, 0, left_out(taps, size.T))
    for i in range(before):
        p, found = size.T + i, encoded(place.u[i] + last(place, taps, i), dx[0])
        if p < before:
            dstate[p * tensors[2][2]] = found
        else:
            dx[p - before] = found


@inner()
def last(place, taps, i):
    """What the last positions took of number i of the W - 1 last numbers of u."""
    found = 0.0
    for j in range(i + 1, taps.W):
        at = i + taps.W - 1 - j
        if not taps.packed or place.low[at] <= j:
            found += taps.kernel[j * taps.across] * place.dz[at]
    return found


@inner()
def taps_of(lines, size, kinds, at):
    """What the numbers of channel c of row b are multiplied with."""
    b, c = at
    kernel, bias = row(lines[0], kinds[1], c), row(lines[1], kinds[1], c)
    low = row(lines[2], kinds[2], b * (size.T + 1))
    return Taps(kernel, size.across, bias[0], low, size.W, size.lanes, size.packed != 0)


@inner()
def series_of(told, like, at):
    """Channel c of row b of a tensor [B, T, C]."""
    address, batch, _, step = told
    return row(address, like, at[0] * batch + at[1] * step)


@inner()
def left_out(taps, t):
    """How many of the earliest numbers position t leaves out, of those that are the state."""
    return min(taps.low[t], taps.W - 1) if taps.packed else 0


@inner()
def fetch(place, x, taps, begin, many):
    """`many` positions behind the W - 1 numbers before them; what fills a last vector is 0."""
    u, low = skip(place.u, taps.W - 1), skip(place.low, taps.W - 1)
    unpack(u, skip(x, begin), 1, many)
    blank(u, many, -many % taps.lanes)
    if taps.packed:
        for i in range(many):
            low[i] = taps.low[begin + i]


@inner()
def convolve(z, u, low, taps, many, silu):
    """z of `many` positions; `silu`: and silu of it."""
    for i in range(0, many, taps.lanes):
        found = zeros(u, 2) + taps.bias
        for j in range(taps.W):
            more = found + taps.kernel[j * taps.across] * load(u, i + j, 2)
            found = kept(taps, more, found, low, i, j)
        store(z, i, bent(found, silu))


@inner()
def kept(taps, more, found, low, i, j):
    """A sum with number j of the positions from i on, or without it where it is left out."""
    return where_above(load(low, i, 2), 1.0 * j, found, more) if taps.packed else more


@inner()
def add_shares(shares, apart, place, taps, many):
    """The shares of a span in the gradients of the kernel and of the bias, added up in float64."""
    dz, low = skip(place.dz, taps.W - 1), skip(place.low, taps.W - 1)
    for j in range(taps.W):
        found = zeros(dz, 2)
        for i in range(0, many, taps.lanes):
            more = found + load(dz, i, 2) * load(place.u, i + j, 2)
            found = kept(taps, more, found, low, i, j)
        shares[j * apart] += sum_lanes(found)
    found = zeros(dz, 2)
    for i in range(0, many, taps.lanes):
        found += load(dz, i, 2)
    shares[taps.W * apart] += sum_lanes(found)


@inner()
def spread(place, taps, many):
    """The gradient of `many` numbers of u: what each of W positions took of it, in place of z."""
    for i in range(0, many, taps.lanes):
        found = zeros(place.dz, 2)
        for j in range(taps.W):
            at = i + taps.W - 1 - j  # the position of which it was number j
            more = found + taps.kernel[j * taps.across] * load(place.dz, at, 2)
            found = kept(taps, more, found, place.low, at, j)
        store(place.z, i, found)
