"""Sixteen float64 as one value, so that a kernel says itself where its vectors are.

The compiler lowers them to what the processor has: two registers of AVX-512, four of AVX, eight of
SSE or NEON. Loads and stores convert between float64 and the element in memory.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .elements import F32, F64, I32, I64, alike, decoded, encoded, filled
from .vector import Vector, address, everywhere, shuffled

LANES = 16

_ALL = ir.VectorType(F64, LANES)


WIDE = Vector(types.float64, LANES)
"""The type of sixteen float64."""


@intrinsic
def widened(context, line, index):
    """line[index : index + 16]."""

    def generate(context, build, signature, args):
        kind, place = _place(context, build, signature, args)
        raw = build.load(place)
        raw.align = _size(kind)
        return decoded(build, kind.dtype, raw)

    return WIDE(line, types.int64), generate


@intrinsic
def narrowed(context, line, index, value):
    """line[index : index + 16] = value."""

    def generate(context, build, signature, args):
        kind, place = _place(context, build, signature, args)
        build.store(encoded(build, kind.dtype, args[2]), place).align = _size(kind)
        return context.get_dummy_value()

    return types.void(line, types.int64, WIDE), generate


@intrinsic
def streamed(context, line, index, value):
    """`narrowed` past the caches, where `misaligned` is 0; `fence` has to follow at last."""

    def generate(context, build, signature, args):
        kind, place = _place(context, build, signature, args)
        done = build.store(encoded(build, kind.dtype, args[2]), place)
        done.align = LANES * _size(kind)
        done.set_metadata("nontemporal", build.module.add_metadata([I32(1)]))
        return context.get_dummy_value()

    return types.void(line, types.int64, WIDE), generate


@intrinsic
def fence(context):
    """Wait until what was streamed can be seen by every thread."""

    def generate(context, build, signature, args):
        build.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def misaligned(context, line, index):
    """How many elements line[index] stands behind a multiple of sixteen of them in memory."""

    def generate(context, build, signature, args):
        kind, place = _place(context, build, signature, args)
        behind = build.and_(build.ptrtoint(place, I64), I64(LANES * _size(kind) - 1))
        return build.udiv(behind, I64(_size(kind)))

    return types.int64(line, types.int64), generate


@intrinsic
def ramp(context):
    """0, 1, 2 ... 15."""
    made = ir.Constant(_ALL, [F64(float(i)) for i in range(LANES)])
    return WIDE(), lambda _c, build, _s, args: made


@intrinsic
def divided(context, value, n, reciprocal, line):
    """value / n; where the elements of `line` are coarser than float64, value * reciprocal."""

    def generate(context, build, signature, args):
        value, n, reciprocal, _ = args
        if line.dtype == types.float64:
            return build.fdiv(value, everywhere(build, n, LANES))
        return build.fmul(value, everywhere(build, reciprocal, LANES))

    return WIDE(WIDE, types.float64, types.float64, line), generate


@intrinsic
def quotients(context, value, n, line):
    """value / n, each by its own; where `line` is coarser than float64, right to 2^-45.

    There 1 / n comes from float32 (24 bits) and one step of Newton's, which doubles them.
    """

    def generate(context, build, signature, args):
        value, n, _ = args
        if line.dtype == types.float64:
            return build.fdiv(value, n)
        near = build.fdiv(filled(n, F32, 1.0), build.fptrunc(n, alike(n, F32)))
        near = build.fpext(near, _ALL)
        mend = build.fsub(filled(n, F64, 2.0), build.fmul(n, near))
        return build.fmul(value, build.fmul(near, mend))

    return WIDE(WIDE, WIDE, line), generate


@intrinsic
def last_lane(context, value):
    """The sixteenth."""
    return types.float64(WIDE), lambda _c, build, _s, args: build.extract_element(
        args[0], I32(LANES - 1)
    )


@intrinsic
def reversed_lanes(context, value):
    """The last first."""
    order = list(range(LANES - 1, -1, -1))
    return WIDE(WIDE), lambda _c, build, _s, args: shuffled(build, args[0], args[0], order)


@intrinsic
def prefix_sums(context, value):
    """Prefix sums of the sixteen: of pairs, then fours, eights and all."""

    def generate(context, build, signature, args):
        sums, nothing = args[0], filled(args[0], F64, 0.0)
        for step in (1, 2, 4, 8):
            order = [LANES - 1] * step + list(range(LANES, 2 * LANES - step))
            sums = build.fadd(sums, shuffled(build, nothing, sums, order))
        return sums

    return WIDE(WIDE), generate


@intrinsic
def sum_of_prefix(context, value):
    """The last of `prefix_sums`, bit for bit, without the others."""

    def generate(context, build, signature, args):
        sums = args[0]
        while isinstance(sums.type, ir.VectorType) and sums.type.count > 1:
            count = sums.type.count
            odd = shuffled(build, sums, sums, range(1, count, 2))
            sums = build.fadd(odd, shuffled(build, sums, sums, range(0, count, 2)))
        return build.extract_element(sums, I32(0))

    return types.float64(WIDE), generate


def _place(context, build, signature, args):
    """The type of the line in args[0], and the address of its element args[1] as one of sixteen."""
    return signature.args[0], address(context, build, signature.args[0], *args[:2], LANES)


def _size(kind):
    return kind.dtype.bitwidth // 8
