"""Weighted means on a CPU: a row of channels has a peak, a total and a weight, all in float64.

With d the distance of a score from the peak before it, one exponential e = exp(-|d|) is enough::

    d > 0     the score is the new peak    kept = e    now = 1
    else                                   kept = 1    now = e
    total = kept total + now x             weight = kept weight + now             y = total / weight

On the way back let G and S be the gradients of total and weight, and P that of the peak, which
belongs to the position where the peak came from. From the last position to the first::

    r = dy / weight
    dx = now (G + r)          ds = now (r (x - y) + G x + S), and P on top where d > 0
    G = kept (G + r)          S = kept (S - r y)

At the end P is the gradient of the last peak less that of the sums, which are divided by exp(peak).

The sums before each tile are kept, and those inside are computed again, one tile at a time. Where
channels share x or s, each tile has its own share of the gradient, so threads change no bit.
"""

from functools import partial
from typing import Any, NamedTuple

from numba import types

from ...machine.compiler import Kernel, inner
from ...machine.loop import arguments
from ...simd.elements import decode
from ...simd.exponential import exp
from ...simd.places import laid, row, skip
from ...simd.vector import lanes, load, store, sum_lanes, where_above, where_equal, zeros
from ..recurrence.channels import channels_of, fetch_tile, pack_tile
from ..recurrence.sequences import blank, chunk_of

TIME, CHANNELS = 16, 64  # positions and channels of a tile
LANES = lanes(types.float64, 2)
LEAST = -1.7976931348623157e308  # the peak where nothing has counted: less than any other score


class Forward(NamedTuple):
    """The places of `FORWARD`."""

    x: int  # and y
    s: int
    sums: int  # peaks, totals and weights, each a row


class Backward(NamedTuple):
    """The places of `BACKWARD`."""

    x: int  # and dx
    s: int  # and ds
    r: int  # dy before it is divided
    y: int
    d: int
    e: int
    sums: int
    seeds: int  # the gradients of peak, total and weight, each a row
    borders: int  # the sums before each tile


class Sizes(NamedTuple):
    """What a launch is about."""

    T: Any
    channels: Any
    packed: Any  # whether there are documents


class Tile(NamedTuple):
    """Some channels of row b, and how many numbers they take in scratch memory."""

    b: Any
    left: Any
    right: Any
    width: Any


FORWARD_PLACES = [*[TIME * CHANNELS] * 2, 3 * CHANNELS]


def backward_places(T: int) -> list[int]:
    """How many numbers each place of `BACKWARD` has."""
    return [*[TIME * CHANNELS] * 6, *[3 * CHANNELS] * 2, -(-T // TIME) * 3 * CHANNELS]


def signature(tensors: int, lines: int, places: int) -> Any:
    """The types of what a program is told; at last a zero of each kind of number."""

    def of(elements: Any) -> tuple[Any, ...]:
        told = types.UniTuple(types.UniTuple(types.int64, 5), tensors)
        counts = lines, len(Sizes._fields), places
        tuples = (types.UniTuple(types.int64, n) for n in counts)
        return arguments((told, *tuples, types.Tuple((*elements, types.float64, types.int64))), 4)

    return of


@partial(Kernel, signature=signature(3, 4, len(Forward._fields)))
def FORWARD(told, part, scratch):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(scratch, kinds[2], starts, Forward)
    for b in range(b0, b1):
        begins = row(lines[3], kinds[3], b * size.T)
        for left in range(c0, c1, CHANNELS):
            forward(tensors, lines, begins, size, place, kinds, tile_of(b, left, c1))


@inner()
def tile_of(b, left, end):
    right = min(left + CHANNELS, end)
    return Tile(b, left, right, (right - left + LANES - 1) // LANES * LANES)


@inner()
def forward(tensors, lines, begins, size, place, kinds, tile):
    """All positions of a tile of channels."""
    bring(place.sums, lines[0], lines[1], lines[2], kinds[2], size, tile)
    for begin in range(0, size.T, TIME):
        chunk = chunk_of(begin, TIME, size.T, 1, False)
        fetch(place.x, tensors[0], kinds[0], tile, chunk)
        fetch(place.s, tensors[1], kinds[1], tile, chunk)
        for i in range(chunk.many):
            if size.packed != 0 and begins[begin + i] != 0:
                restart(place.sums, tile.width)
            for c in range(0, tile.width, LANES):
                at = i * tile.width + c
                x, s = load(place.x, at, 2), load(place.s, at, 2)
                _, _, total, weight = onward(place.sums, x, s, c, tile.width)
                store(place.x, at, where_equal(weight, 0.0, 0.0, total / weight))
        write(place.x, tensors[2], kinds[0], tile, chunk)
    take(lines[0], lines[1], lines[2], place.sums, kinds[2], size, tile)


@inner()
def onward(sums, x, s, c, width):
    """A position of a vector of channels: d, e, and the sums after it."""
    peak, total, weight = load(sums, c, 2), load(sums, width + c, 2), load(sums, 2 * width + c, 2)
    d = s - peak
    e = exp(where_above(d, 0.0, 0.0 - d, d))
    kept, now = parts_of_one(d, e, s)
    total, weight = kept * total + now * x, kept * weight + now
    store(sums, c, where_above(d, 0.0, s, peak))
    store(sums, width + c, total)
    store(sums, 2 * width + c, weight)
    return d, e, total, weight


@inner()
def parts_of_one(d, e, s):
    """What is kept of the past, and what the position counts; a score of +inf is NaN."""
    return where_above(d, 0.0, e, 1.0), where_above(d, 0.0, (s - s) + 1.0, e)


@inner()
def restart(sums, width):
    """Nothing has counted yet."""
    for c in range(width):
        sums[c] = LEAST
    blank(sums, width, 2 * width)


@inner()
def bring(place, one, two, three, like, size, tile):
    """Three states into a place, each a row; zeros beside them."""
    n, at = tile.right - tile.left, tile.b * size.channels + tile.left
    blank(place, 0, 3 * tile.width)
    for k, address in enumerate((one, two, three)):
        line = row(address, like, at)
        for c in range(n):
            place[k * tile.width + c] = line[c]


@inner()
def take(one, two, three, place, like, size, tile):
    """Three states from a place."""
    n, at = tile.right - tile.left, tile.b * size.channels + tile.left
    for k, address in enumerate((one, two, three)):
        line = row(address, like, at)
        for c in range(n):
            line[c] = place[k * tile.width + c]


@inner()
def fetch(place, told, like, tile, chunk):
    """A chunk of x or s for every channel of a tile; zeros beside them."""
    address, batch, time, step, each = told
    n, width = tile.right - tile.left, tile.width
    if each == 1:
        of = (address, batch, time, step)
        fetch_tile(place, channels_of(of, like, tile.b, tile.left, tile.right, width), chunk)
        return
    first = tile.b * batch + tile.left // each * step
    for i in range(chunk.many):
        line = row(address, like, first + (chunk.first + i) * time)
        c, end, g = 0, each - tile.left % each, 0
        while c < n:
            end = min(end, n)
            number = decode(line[g * step])
            for j in range(c, end):
                place[i * width + j] = number
            c, end, g = end, end + each, g + 1
        blank(place, i * width + n, width - n)


@inner()
def write(place, told, like, tile, chunk):
    """A chunk of a place into a tensor that has every channel."""
    address, batch, time, step, _ = told
    of = (address, batch, time, step)
    part = channels_of(of, like, tile.b, tile.left, tile.right, tile.width)
    pack_tile(part, place, chunk)


@inner()
def write_shares(place, told, each, like, tile, chunk):
    """The share of a tile in the gradient of what neighbouring channels share."""
    address, batch, time, block, _ = told
    n, width = tile.right - tile.left, tile.width
    first = tile.b * batch + tile.left // CHANNELS * block
    for i in range(chunk.many):
        line = row(address, like, first + (chunk.first + i) * time)
        c, end, g = 0, each - tile.left % each, 0
        if end >= n:
            sums = zeros(place, 2)
            for j in range(0, width, LANES):
                sums += load(place, i * width + j, 2)
            line[0] = sum_lanes(sums)
            c = n
        while c < n:
            end = min(end, n)
            total = 0.0
            for j in range(c, end):
                total += place[i * width + j]
            line[g] = total
            c, end, g = end, end + each, g + 1


@partial(Kernel, signature=signature(5, 7, len(Backward._fields)))
def BACKWARD(told, part, scratch):
    tensors, lines, sizes, starts, kinds = told[0]
    b0, b1, c0, c1 = part[0]
    size, place = Sizes(*sizes), laid(scratch, kinds[2], starts, Backward)
    for b in range(b0, b1):
        begins = row(lines[6], kinds[3], b * size.T)
        for left in range(c0, c1, CHANNELS):
            backward(tensors, lines, begins, size, place, kinds, tile_of(b, left, c1))


@inner()
def backward(tensors, lines, begins, size, place, kinds, tile):
    """All positions of a tile of channels: to the end for the borders, and back."""
    width, last, like = tile.width, (size.T - 1) // TIME, kinds[2]
    bring(place.borders, lines[0], lines[1], lines[2], like, size, tile)
    for i in range(last):
        chunk = chunk_of(i * TIME, TIME, size.T, 1, False)
        fetch(place.x, tensors[0], kinds[0], tile, chunk)
        fetch(place.s, tensors[1], kinds[1], tile, chunk)
        sums = skip(place.borders, (i + 1) * 3 * width)
        copy(sums, skip(place.borders, i * 3 * width), 3 * width)
        ahead(sums, place, begins, size, chunk, width)
    bring(place.seeds, lines[3], lines[4], lines[5], like, size, tile)
    for i in range(last, -1, -1):
        chunk = chunk_of(i * TIME, TIME, size.T, 1, False)
        fetch(place.x, tensors[0], kinds[0], tile, chunk)
        fetch(place.s, tensors[1], kinds[1], tile, chunk)
        fetch(place.r, tensors[2], kinds[0], tile, chunk)
        copy(place.sums, skip(place.borders, i * 3 * width), 3 * width)
        again(place, begins, size, chunk, width)
        if i == last:
            begin_at_the_end(place.seeds, place.sums, width)
        returning(place, begins, size, chunk, width)
        spread(place.x, tensors[3], tensors[0][4], kinds[0], like, tile, chunk)
        spread(place.s, tensors[4], tensors[1][4], kinds[1], like, tile, chunk)
    end_at_the_beginning(place.seeds, place.borders, width)
    take(lines[3], lines[4], lines[5], place.seeds, like, size, tile)


@inner()
def copy(place, source, n):
    for i in range(n):
        place[i] = source[i]


@inner()
def ahead(sums, place, begins, size, chunk, width):
    """The sums after a chunk."""
    for i in range(chunk.many):
        if size.packed != 0 and begins[chunk.first + i] != 0:
            restart(sums, width)
        for c in range(0, width, LANES):
            at = i * width + c
            onward(sums, load(place.x, at, 2), load(place.s, at, 2), c, width)


@inner()
def again(place, begins, size, chunk, width):
    """A chunk again: what its positions added, y, and dy over the weight."""
    for i in range(chunk.many):
        if size.packed != 0 and begins[chunk.first + i] != 0:
            restart(place.sums, width)
        for c in range(0, width, LANES):
            at = i * width + c
            x, s, dy = load(place.x, at, 2), load(place.s, at, 2), load(place.r, at, 2)
            d, e, total, weight = onward(place.sums, x, s, c, width)
            store(place.d, at, d)
            store(place.e, at, e)
            store(place.y, at, where_equal(weight, 0.0, 0.0, total / weight))
            store(place.r, at, where_equal(weight, 0.0, 0.0, dy / weight))


@inner()
def returning(place, begins, size, chunk, width):
    """A chunk from its end: gradients of x and s, and P, G and S before it."""
    seeds = place.seeds
    for i in range(chunk.many - 1, -1, -1):
        for c in range(0, width, LANES):
            at = i * width + c
            x, s, y = load(place.x, at, 2), load(place.s, at, 2), load(place.y, at, 2)
            d, r = load(place.d, at, 2), load(place.r, at, 2)
            P, G = load(seeds, c, 2), load(seeds, width + c, 2)
            S = load(seeds, 2 * width + c, 2)
            kept, now = parts_of_one(d, load(place.e, at, 2), s)
            ds = now * (r * (x - y) + (G * x + S))
            G = G + r
            store(place.x, at, now * G)
            store(place.s, at, ds + where_above(d, 0.0, P, 0.0))
            store(seeds, c, where_above(d, 0.0, 0.0, P))
            store(seeds, width + c, kept * G)
            store(seeds, 2 * width + c, kept * (S - r * y))
        if size.packed != 0 and begins[chunk.first + i] != 0:
            blank(seeds, 0, 3 * width)


@inner()
def begin_at_the_end(seeds, sums, width):
    """P takes what the sums are divided by."""
    for c in range(width):
        G, S = seeds[width + c], seeds[2 * width + c]
        seeds[c] -= G * sums[width + c] + S * sums[2 * width + c]


@inner()
def end_at_the_beginning(seeds, sums, width):
    """The gradient of the first peak, by which the first sums are multiplied."""
    for c in range(width):
        G, S = seeds[width + c], seeds[2 * width + c]
        seeds[c] += G * sums[width + c] + S * sums[2 * width + c]


@inner()
def spread(place, told, each, like, wide, tile, chunk):
    """A chunk of gradients into a tensor, or into the shares of a tile."""
    if each == 1:
        write(place, told, like, tile, chunk)
    else:
        write_shares(place, told, each, wide, tile, chunk)
