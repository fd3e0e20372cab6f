"""A tile: some positions of some channels, unpacked one position below the other.

With u = (state, x), position t takes the numbers u_t ... u_{t+W-1}, so a tile of positions has
W - 1 rows more of u. They are the last rows of the tile before. A row is whole vectors long, and
zeros stand beside its channels. `low` says how many of the earliest numbers a position leaves out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types

from ...machine.compiler import inner
from ...machine.loop import arguments
from ...simd.exponential import sigmoid
from ...simd.places import row
from ...simd.vector import load, store, zeros
from ..recurrence.channels import add_to

TIME, CHANNELS = 32, 256  # positions and channels of a tile
QUAD = 4  # positions that are computed side by side; what follows has them written out


class Sizes(NamedTuple):
    """What a launch is about, and how numbers are stored."""

    T: Any
    W: Any
    lanes: Any  # channels in a vector of two registers
    across: Any  # channels in a row of taps, whole vectors
    silu: Any
    packed: Any  # whether there are documents
    ready: Any  # whether x and y are rows of the numbers to compute with, and whole vectors


class Rows(NamedTuple):
    """Numbers to compute with, one position below the other: of a place, or of a tensor itself."""

    line: Any
    apart: Any  # numbers from a row to the next


class Taps(NamedTuple):
    """The kernel, W rows of `across`, the bias, and how many numbers each position leaves out."""

    kernel: Any
    bias: Any
    low: Any
    across: Any
    width: Any
    lanes: Any
    W: Any
    packed: Any
    silu: Any


def signature(tensors: int, places: int) -> Callable[[Any], tuple[Any, ...]]:
    """The types of what a program is told.

    Those are addresses and strides of the tensors; the addresses of the kernel, the bias, `low` and
    the sums; the sizes; where places begin; and a zero of each kind of number.
    """

    def of(element: Any) -> tuple[Any, ...]:
        acc = types.float64 if element == types.float64 else types.float32
        told = types.UniTuple(types.UniTuple(types.int64, 4), tensors)
        tuples = (types.UniTuple(types.int64, n) for n in (4, len(Sizes._fields), places))
        zeros_of = types.Tuple((element, acc, types.int64, types.float64))
        return arguments((told, *tuples, zeros_of), 4)

    return of


@inner()
def taps_of(lines, size, kinds, b, left, right):
    """What is multiplied with the channels from `left` to `right` of row b."""
    width = (right - left + size.lanes - 1) // size.lanes * size.lanes
    kernel, bias = row(lines[0], kinds[1], left), row(lines[1], kinds[1], left)
    low = row(lines[2], kinds[2], b * (size.T + 1))
    return Taps(
        kernel, bias, low, size.across, width, size.lanes, size.W, size.packed != 0, size.silu != 0
    )


@inner()
def whole(taps, t0, t1):
    """Whether the positions t0 ... t1 - 1 leave nothing out."""
    if taps.packed:
        for t in range(max(t0, 0), t1):
            if taps.low[t] > 0:
                return False
    return True


@inner()
def convolve(z, u, taps, begin, many, silu):
    """Row i of z, of position begin + i, from rows i ... i + W - 1 of u; `silu`: and silu of it."""
    i = 0
    while i < many:
        if i + QUAD <= many and whole(taps, begin + i, begin + i + QUAD):
            four(z, u, taps, i, silu)
            i += QUAD
        else:
            one(z, u, taps, i, taps.low[begin + i] if taps.packed else 0, silu)
            i += 1


@inner()
def four(z, u, taps, i, silu):
    """Rows i ... i + 3."""
    for c in range(0, taps.width, taps.lanes):
        z0 = z1 = z2 = z3 = load(taps.bias, c, 2)
        at = i * u.apart + c
        for j in range(taps.W):
            k = load(taps.kernel, j * taps.across + c, 2)
            z0 += k * load(u.line, at, 2)
            z1 += k * load(u.line, at + u.apart, 2)
            z2 += k * load(u.line, at + 2 * u.apart, 2)
            z3 += k * load(u.line, at + 3 * u.apart, 2)
            at += u.apart
        at = i * z.apart + c
        store(z.line, at, bent(z0, silu))
        store(z.line, at + z.apart, bent(z1, silu))
        store(z.line, at + 2 * z.apart, bent(z2, silu))
        store(z.line, at + 3 * z.apart, bent(z3, silu))


@inner()
def one(z, u, taps, i, low, silu):
    """Row i, without the earliest `low` numbers."""
    for c in range(0, taps.width, taps.lanes):
        found = load(taps.bias, c, 2)
        for j in range(low, taps.W):
            found += load(taps.kernel, j * taps.across + c, 2) * load(
                u.line, (i + j) * u.apart + c, 2
            )
        store(z.line, i * z.apart + c, bent(found, silu))


@inner()
def bent(z, silu):
    """z, or silu of it."""
    return z * sigmoid(z) if silu else z


@inner()
def bend(dz, z, n, lanes):
    """The gradient of n numbers before silu: that after it, times the slope."""
    for c in range(0, n, lanes):
        now = load(z, c, 2)
        s = sigmoid(now)
        store(dz, c, load(dz, c, 2) * (s * (1.0 + now * (1.0 - s))))


@inner()
def add_shares(shares, spare, dz, u, taps, begin, many):
    """The shares of a tile in the gradients of the kernel and of the bias, added up in float64.

    Row i of dz belongs to rows i ... i + W - 1 of u.
    """
    width = taps.width
    for c in range(0, width, taps.lanes):
        for j in range(taps.W):
            found = zeros(dz, 2)
            for i in range(many):
                if not taps.packed or taps.low[begin + i] <= j:
                    found += load(dz, i * width + c, 2) * load(u, (i + j) * width + c, 2)
            store(spare, 0, found)
            add_to(shares, j * taps.across + c, spare, taps.lanes)
        found = zeros(dz, 2)
        for i in range(many):
            found += load(dz, i * width + c, 2)
        store(spare, 0, found)
        add_to(shares, taps.W * taps.across + c, spare, taps.lanes)


@inner()
def spread(du, dz, taps, begin, many):
    """The gradient of `many` rows of u from row `begin` on: what each of W positions took of it.

    Row i of u was taken by the positions of rows i ... i + W - 1 of dz, the last of them first.
    """
    i, W = 0, taps.W
    while i < many:
        if i + QUAD <= many and whole(taps, begin + i - W + 1, begin + i + QUAD):
            four_back(du, dz, taps, i)
            i += QUAD
        else:
            one_back(du, dz, taps, i, begin + i, 0)
            i += 1


@inner()
def four_back(du, dz, taps, i):
    """Rows i ... i + 3 of u."""
    width = taps.width
    for c in range(0, width, taps.lanes):
        d0 = d1 = d2 = d3 = zeros(dz, 2)
        at = (i + taps.W - 1) * width + c
        for j in range(taps.W):
            k = load(taps.kernel, j * taps.across + c, 2)
            d0 += k * load(dz, at, 2)
            d1 += k * load(dz, at + width, 2)
            d2 += k * load(dz, at + 2 * width, 2)
            d3 += k * load(dz, at + 3 * width, 2)
            at -= width
        at = i * width + c
        store(du, at, d0)
        store(du, at + width, d1)
        store(du, at + 2 * width, d2)
        store(du, at + 3 * width, d3)


@inner()
def one_back(du, dz, taps, i, p, first):
    """Row i of a tile, row p of u, as its number `first` and later ones of W positions."""
    for c in range(0, taps.width, taps.lanes):
        found = zeros(dz, 2)
        for j in range(first, taps.W):
            t = p - j
            if t >= 0 and (not taps.packed or taps.low[t] <= j):
                at = (i + taps.W - 1 - j) * taps.width + c
                found += load(taps.kernel, j * taps.across + c, 2) * load(dz, at, 2)
        store(du, i * taps.width + c, found)
