"""One position of a selective scan on a CPU, as a decoder calls it: the state is written in place.

A memory of a channel is a row of N numbers, side by side in vectors of one register. All channels
are walked once: a row is loaded, fades, takes what is new, is read and stored.
"""

from functools import partial
from typing import Any, NamedTuple

from numba import types

from ...machine.compiler import Kernel, inner
from ...machine.loop import arguments
from ...simd.exponential import exp
from ...simd.places import row, skip
from ...simd.vector import load, store, sum_lanes, zeros


class Sizes(NamedTuple):
    """What a launch is about."""

    H: Any
    P: Any  # channels of a head
    heads: Any  # that share one row of B and C
    N: Any
    lanes: Any
    one: Any  # whether a channel has one rate for all its N memories


def signature(element: Any) -> tuple[Any, ...]:
    """The types of what the program is told: addresses with three strides, sizes, and a zero."""
    tensors = types.UniTuple(types.UniTuple(types.int64, 4), 8)
    sizes = types.UniTuple(types.int64, len(Sizes._fields))
    return arguments((tensors, sizes, types.Tuple((element,))), 4)


@partial(Kernel, signature=signature)
def POSITION(told, part, scratch):
    """y_c = C . h_c + D_c x_c with h_c = exp(dt_c A_c) h_c + dt_c x_c B for channels c of rows."""
    tensors, sizes, kinds = told[0]
    x, dt, A, B, C, D, state, y = tensors
    r0, r1, p0, p1 = part[0]
    size, like = Sizes(*sizes), kinds[0]
    for r in range(r0, r1):
        b, h = r // size.H, r % size.H
        now = row(x[0], like, b * x[1] + h * x[2])
        length = row(dt[0], like, b * dt[1] + h * dt[2])
        rates, past = row(A[0], like, h * A[1]), row(D[0], like, h * D[2])
        write = row(B[0], like, b * B[1] + h // size.heads * B[2])
        read = row(C[0], like, b * C[1] + h // size.heads * C[2])
        memory, out = row(state[0], like, r * size.P * size.N), row(y[0], like, r * size.P)
        for p in range(p0, p1):
            channel = now[p * x[3]], length[p * dt[3]], past[p * D[3]]
            own = skip(memory, p * size.N)
            out[p] = moved(own, skip(rates, p * A[2]), write, read, channel, size)


@inner()
def moved(memory, rates, write, read, channel, size):
    """One channel: its memories are moved on, and read."""
    now, length, past = channel
    u = length * now
    total = zeros(memory, 1)
    fade = exp(total + length * rates[0]) if size.one else total
    for n in range(0, size.N, size.lanes):
        if not size.one:
            fade = exp(length * load(rates, n, 1))
        new = fade * load(memory, n, 1) + u * load(write, n, 1)
        store(memory, n, new)
        total += load(read, n, 1) * new
    return sum_lanes(total) + past * now
