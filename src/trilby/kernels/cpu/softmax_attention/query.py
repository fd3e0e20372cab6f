"""One query against many keys: each key and value is read once, for all query heads that share it.

A part is a piece of time of some groups of heads. Keys come in tiles: the scores of a tile, then
its largest one, then exp of the differences, then the values, each times its weight. What a part
leaves is its largest score, the sum of its weights and the sum of the weighted values. How time is
cut does not depend on the number of threads, so no bit does.
"""

import math
from functools import partial
from typing import Any, NamedTuple

from numba import types

from ...machine.compiler import Kernel, inner
from ...machine.loop import arguments
from ...simd.exponential import exp
from ...simd.places import laid, row, skip
from ...simd.vector import load, store, sum_lanes, zeros
from ..recurrence.sequences import AHEAD, ask, blank, chunk_of, fetch_rows, part_of

TILE = 32  # keys


class Sizes(NamedTuple):
    """What a launch is about, and how numbers are stored."""

    N: Any  # keys
    groups: Any
    each: Any  # query heads of a group
    K: Any
    V: Any
    wide_k: Any  # numbers of a key, in whole vectors
    wide_v: Any
    pieces: Any  # of time
    span: Any  # keys in a piece
    lanes: Any
    slopes: Any  # whether there are any
    cap: Any  # whether there is one
    placed: Any  # whether some keys may not be seen
    direct: Any  # whether keys and values are read where they are


class Lines(NamedTuple):
    """Addresses: of what is contiguous, in the dtype to compute in but for places."""

    q: Any  # [B, H, wide_k], in units, times the scale
    unit: Any  # [B, H]
    slopes: Any  # [H]
    cap: Any  # [1]
    place: Any  # [B, N] int64
    low: Any  # [B] int64
    out: Any  # [B, pieces, groups, each, wide_v + 2]: values, then the largest score, then the sum


class Rows(NamedTuple):
    """The keys or the values of a tile."""

    line: Any
    time: Any
    n: Any  # numbers of a row that are asked for before they are read; 0 in scratch memory


class Places(NamedTuple):
    """The places of scratch memory."""

    k: int
    v: int
    z: int
    y: int


def places(size: Sizes) -> list[int]:
    """How many numbers each place has."""
    return [
        TILE * size.wide_k,
        TILE * size.wide_v,
        size.each * TILE,
        size.groups * size.each * (size.wide_v + 2),
    ]


def signature(element: Any) -> tuple[Any, ...]:
    """The types of what the program is told: k and v, lines, sizes, places, zeros."""
    acc = types.float64 if element == types.float64 else types.float32
    told = types.UniTuple(types.UniTuple(types.int64, 6), 2)
    counts = (len(Lines._fields), len(Sizes._fields), len(Places._fields))
    tuples = (types.UniTuple(types.int64, n) for n in counts)
    return arguments((told, *tuples, types.Tuple((element, acc, types.int64))), 4)


@partial(Kernel, signature=signature)
def QUERY(told, part, address):
    tensors, lines, sizes, starts, kinds = told[0]
    b, piece, g0, g1 = part[0]
    size, line, place = Sizes(*sizes), Lines(*lines), laid(address, kinds[1], starts, Places)
    wide = size.each * (size.wide_v + 2)
    begin = piece * size.span
    end = min(begin + size.span, size.N)
    blank(place.y, 0, (g1 - g0) * wide)
    for i in range((g1 - g0) * size.each):
        place.y[i * (size.wide_v + 2) + size.wide_v] = -math.inf
    for first in range(begin, end, TILE):
        chunk = chunk_of(first, TILE, end, TILE, False)
        for g in range(g0, g1):  # side by side in memory
            k = rows_of(place.k, tensors[0], kinds, size, chunk, (b, g, size.K, size.wide_k))
            v = rows_of(place.v, tensors[1], kinds, size, chunk, (b, g, size.V, size.wide_v))
            head = (b * size.groups + g) * size.each
            y = skip(place.y, (g - g0) * wide)
            score(place.z, row(line.q, kinds[1], head * size.wide_k), k, v, chunk.many, size)
            bend(place.z, line, kinds, size, (b, head, first, chunk.many))
            for r in range(size.each):
                unit = row(line.unit, kinds[1], head + r)[0]
                weigh(skip(place.z, r * TILE), skip(y, r * (size.wide_v + 2)), unit, size)
            read(y, place.z, v, chunk.many, size)
    out = ((b * size.pieces + piece) * size.groups + g0) * wide
    for i in range((g1 - g0) * wide):
        row(line.out, kinds[1], out)[i] = place.y[i]


@inner()
def rows_of(place, told, kinds, size, chunk, what):
    """Where the rows of a tile are: in memory, or unpacked in scratch memory."""
    b, g, n, wide = what
    if size.direct != 0:
        address, batch, time, head, _, _ = told
        at = b * batch + chunk.first * time + g * head
        return Rows(row(address, kinds[1], at), time, n)
    fetch_rows(place, part_of(kinds[0], told, b, g, size.groups, 0, n, wide), chunk)
    return Rows(place, wide, 0)


@inner()
def score(z, q, k, v, many, size):
    """z [each, TILE]: the products of every query head with the keys of a tile."""
    r, wide = 0, size.wide_k
    while r + 4 <= size.each:
        line = skip(q, r * wide)
        for i in range(many):
            a0 = a1 = a2 = a3 = zeros(q, 2)
            now = skip(k.line, i * k.time)
            if r == 0:
                ask(skip(k.line, (i + AHEAD) * k.time), k.n)
                ask(skip(v.line, i * v.time), v.n)
            for c in range(0, wide, size.lanes):
                x = load(now, c, 2)
                a0 += x * load(line, c, 2)
                a1 += x * load(line, wide + c, 2)
                a2 += x * load(line, 2 * wide + c, 2)
                a3 += x * load(line, 3 * wide + c, 2)
            at = r * TILE + i
            z[at], z[at + TILE] = sum_lanes(a0), sum_lanes(a1)
            z[at + 2 * TILE], z[at + 3 * TILE] = sum_lanes(a2), sum_lanes(a3)
        r += 4
    while r < size.each:
        for i in range(many):
            a0, now = zeros(q, 2), skip(k.line, i * k.time)
            if r == 0:
                ask(skip(k.line, (i + AHEAD) * k.time), k.n)
                ask(skip(v.line, i * v.time), v.n)
            for c in range(0, wide, size.lanes):
                a0 += load(now, c, 2) * load(q, r * wide + c, 2)
            z[r * TILE + i] = sum_lanes(a0)
        r += 1


@inner()
def bend(scores, line, kinds, size, at):
    """The cap, the slopes, and -inf for what is not seen or not there."""
    b, head, first, many = at
    there, low = row(line.place, kinds[2], b * size.N + first), row(line.low, kinds[2], b)[0]
    for r in range(size.each):
        z, unit = skip(scores, r * TILE), row(line.unit, kinds[1], head + r)[0]
        if size.cap != 0:
            cap = row(line.cap, kinds[1], 0)[0]
            for i in range(many):
                z[i] = cap * math.tanh(z[i] * unit / cap) / unit
        if size.slopes != 0:
            slope = row(line.slopes, kinds[1], head - b * size.groups * size.each + r)[0] / unit
            for i in range(many):
                z[i] += slope * there[i]
        if size.placed != 0:
            for i in range(many):
                z[i] = z[i] if there[i] >= low else -math.inf
        for i in range(many, TILE):
            z[i] = -math.inf


@inner()
def weigh(z, y, unit, size):
    """The weights of a tile in place of its scores, and what was summed before in their measure."""
    before = most = y[size.wide_v]
    for i in range(TILE):
        most = z[i] if z[i] > most or z[i] != z[i] else most
    if most == -math.inf:  # nothing is seen yet, and -inf - -inf is NaN
        blank(z, 0, TILE)
        return
    less = math.exp((before - most) * unit)
    summed = zeros(z, 2)
    for c in range(0, TILE, size.lanes):
        e = exp((load(z, c, 2) - most) * unit)
        store(z, c, e)
        summed += e
    if less != 1.0:
        for c in range(0, size.wide_v, size.lanes):
            store(y, c, load(y, c, 2) * less)
    y[size.wide_v] = most
    y[size.wide_v + 1] = y[size.wide_v + 1] * less + sum_lanes(summed)


@inner()
def read(sums, weights, v, many, size):
    """The values of a tile, each times its weight, on top of what was summed before."""
    apart = size.wide_v + 2
    for c in range(0, size.wide_v, size.lanes):
        r = 0
        while r + 4 <= size.each:
            y, w = skip(sums, r * apart + c), skip(weights, r * TILE)
            a0, a1 = load(y, 0, 2), load(y, apart, 2)
            a2, a3 = load(y, 2 * apart, 2), load(y, 3 * apart, 2)
            for i in range(many):
                x = load(v.line, i * v.time + c, 2)
                a0 += w[i] * x
                a1 += w[TILE + i] * x
                a2 += w[2 * TILE + i] * x
                a3 += w[3 * TILE + i] * x
            store(y, 0, a0)
            store(y, apart, a1)
            store(y, 2 * apart, a2)
            store(y, 3 * apart, a3)
            r += 4
        while r < size.each:
            y, w = skip(sums, r * apart + c), skip(weights, r * TILE)
            a0 = load(y, 0, 2)
            for i in range(many):
                a0 += w[i] * load(v.line, i * v.time + c, 2)
            store(y, 0, a0)
            r += 1
