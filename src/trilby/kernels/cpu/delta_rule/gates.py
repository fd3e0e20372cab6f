"""One gate for each position, or a gate for each channel of its key: all that differs between them.

With one gate a program has a place `a`, a decay for each position, and a state fades by a number.
By channel its place `g` holds the decays as a sequence holds its numbers, and where the channels
run down the rows of a state, a place `whole` has what each four positions leave of a row. The
compiler picks the function by the record of the program, so neither way costs the other anything.
"""

from numba import types
from numba.extending import overload

from ...machine.compiler import INNER, inner
from ...simd.exponential import exp
from ...simd.places import skip
from ...simd.vector import load, store, sum_lanes
from ..recurrence.record import scratch
from ..recurrence.sequences import fetch_gates, fetch_rows, pack_rows

CHUNK = 64  # positions that are unpacked at a time, and between kept states on the way back
QUAD = 4  # positions in one walk down the rows; what follows has them written out

WHOLE = scratch(lambda span, size, shape: span // QUAD * shape.height)  # of a chunk


def by_channel(names, **others):
    """The fields of the record of a program, as they are where gates are by channel."""
    return [
        (name, entry) for name, entry in (names.__annotations__ | others).items() if name != "a"
    ]


def has(place, name):
    """Whether scratch memory has a place of that name, by its type."""
    return name in place.instance_class._fields


def fetch_decays(place, part, chunk, half):
    """The decays of a chunk; 1 where there is no position."""


@overload(fetch_decays, jit_options=INNER)
def _fetch_decays(place, part, chunk, half):
    def one(place, part, chunk, half):
        fetch_gates(place.g, place.a, part, chunk, False)

    def each(place, part, chunk, half):
        fetch_rows(place.g, part, chunk)
        for j in range(0, chunk.whole * part.width, half):
            store(place.g, j, exp(load(place.g, j, 1)))

    return one if has(place, "a") else each


def decays(place, i, j, width, registers):
    """The decays of four positions from number i on: numbers, or vectors from channel j on."""


@overload(decays, jit_options=INNER, prefer_literal=True)
def _decays(place, i, j, width, registers):
    def one(place, i, j, width, registers):
        return place.a[i], place.a[i + 1], place.a[i + 2], place.a[i + 3]

    if has(place, "a"):
        return one
    many = registers.literal_value

    def each(place, i, j, width, registers):
        at = i * width + j
        return (
            load(place.g, at, many), load(place.g, at + width, many),
            load(place.g, at + 2 * width, many), load(place.g, at + 3 * width, many),
        )  # fmt: skip

    return each


def keep(place, i, j, height, whole):
    """Note what four positions from number i on leave of some rows from j on."""


@overload(keep, jit_options=INNER)
def _keep(place, i, j, height, whole):
    def one(place, i, j, height, whole):
        pass

    def each(place, i, j, height, whole):
        store(place.whole, i // QUAD * height + j, whole)

    return each if has(place, "whole") else one


def left(place, i, height):
    """What four positions from number i on leave of the rows of a state: a number, or a place."""


@overload(left, jit_options=INNER)
def _left(place, i, height):
    def one(place, i, height):
        return place.a[i] * place.a[i + 1] * place.a[i + 2] * place.a[i + 3]

    def each(place, i, height):
        return skip(place.whole, i // QUAD * height)

    return one if has(place, "a") else each


def left_by_first(place):
    """What the first position leaves of the rows of a state: a number, or a place."""


@overload(left_by_first, jit_options=INNER)
def _left_by_first(place):
    def one(place):
        return place.a[0]

    def each(place):
        return place.g

    return one if has(place, "a") else each


def of_row(whole, r):
    """What is left of row r: a number for all rows, a vector along each of them, or a place."""


@overload(of_row, jit_options=INNER)
def _of_row(whole, r):
    def same(whole, r):
        return whole

    def each(whole, r):
        return whole[r]

    return each if isinstance(whole, types.CPointer) else same


def gates_back(dg, place, shape, chunk, i, c, four):
    """The gradients of the gates of four positions from number i on, in a block of columns."""


@overload(gates_back, jit_options=INNER)
def _gates_back(dg, place, shape, chunk, i, c, four):
    def one(dg, place, shape, chunk, i, c, four):
        sums = sum_lanes(four[0]), sum_lanes(four[1]), sum_lanes(four[2]), sum_lanes(four[3])
        shared(dg, chunk, i, c, sums)

    def each(dg, place, shape, chunk, i, c, four):
        at, width = i * shape.width + c * shape.lanes, shape.width
        store(place.dg, at, four[0])
        store(place.dg, at + width, four[1])
        store(place.dg, at + 2 * width, four[2])
        store(place.dg, at + 3 * width, four[3])

    return one if has(place, "a") else each


def pack_gates(dg, place, chunk):
    """The gradients of the gates of a chunk, where they have not been written yet."""


@overload(pack_gates, jit_options=INNER)
def _pack_gates(dg, place, chunk):
    def one(dg, place, chunk):
        pass

    def each(dg, place, chunk):
        pack_rows(dg, place.dg, chunk)

    return one if has(place, "a") else each


@inner()
def shared(into, chunk, i, c, sums):
    """Four sums over a block of columns, into the shares of the positions from number i on."""
    for j in range(min(QUAD, chunk.many - i)):
        skip(into.line, (chunk.first + i + j) * into.time + c)[0] = sums[j]
