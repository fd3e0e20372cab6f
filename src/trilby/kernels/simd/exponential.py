"""exp of a vector, by a polynomial: within one unit in the last place over the whole range.

x = n log 2 + r with |r| <= log(2) / 2, so exp(x) = 2^n exp(r). The series of exp(r) ends where the
next term is below half a unit. n may be larger than an exponent can be, so 2^n is multiplied in two
halves: a result too large becomes infinite, and one below the normal numbers is rounded once.
"""

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine.compiler import inner
from .elements import F32, F64, I32, I64, alike, filled
from .vector import Vector


class _Format(NamedTuple):
    """What depends on the kind of number."""

    real: Any
    whole: Any
    least: float  # exp of it is 0
    most: float  # exp of it is infinite
    magic: float  # adding it rounds to a whole number, which then stands in the lowest bits
    bits: int  # of the magic number
    high: float  # log 2 is high + low, and n times high is exact
    low: float
    degree: int  # of the series
    bias: int
    digits: int


_FORMATS = {
    types.float32: _Format(
        F32, I32, -104.0, 89.0, 1.5 * 2**23, 0x4B400000, 0.693359375, -2.1219444005469057e-4, 7,
        127, 23,
    ),
    types.float64: _Format(
        F64, I64, -746.0, 710.0, 1.5 * 2**52, 0x4338000000000000, 0.693145751953125,
        1.4286068203094172e-6, 13, 1023, 52,
    ),
}  # fmt: skip


@intrinsic
def exp(context, vector):
    """exp of each lane; of -inf it is 0, of NaN NaN."""
    if not isinstance(vector, Vector):
        return None
    form = _FORMATS[vector.element]

    def generate(_context, build, _signature, args):
        return _exp(build, form, args[0])

    return vector(vector), generate


def _exp(build, form, x):
    def real(number):
        return filled(x, form.real, number)

    def whole(number):
        kind = alike(x, form.whole)
        return ir.Constant(kind, [form.whole(number)] * kind.count)

    def times(a, b, more):
        return build.fadd(build.fmul(a, b, ("contract",)), more, ("contract",))

    x = build.select(build.fcmp_ordered(">", x, real(form.most)), real(form.most), x)
    x = build.select(build.fcmp_ordered("<", x, real(form.least)), real(form.least), x)
    moved = times(x, real(1 / math.log(2)), real(form.magic))
    n = build.fsub(moved, real(form.magic))
    r = times(n, real(-form.low), times(n, real(-form.high), x))
    series = real(1 / math.factorial(form.degree))
    for k in range(form.degree - 1, 1, -1):
        series = times(series, r, real(1 / math.factorial(k)))
    value = build.fadd(real(1.0), times(build.fmul(r, r), series, r))
    count = build.sub(build.bitcast(moved, alike(x, form.whole)), whole(form.bits))
    half = build.ashr(count, whole(1))
    for power in (half, build.sub(count, half)):
        power = build.shl(build.add(power, whole(form.bias)), whole(form.digits))
        value = build.fmul(value, build.bitcast(power, alike(x, form.real)))
    return value


@inner()
def sigmoid(z):
    """1 / (1 + exp(-z)) of each lane."""
    return 1.0 / (1.0 + exp(0.0 - z))
