"""A square of numbers turned over, so that what lies below each other comes to lie side by side."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .elements import decoded, encoded
from .vector import address, shuffled

SIDE = 16  # numbers on each side of a square


@intrinsic
def turn(context, source, apart, place, width):
    """place[j * width + i] = source[i * apart + j] for a square, in the type of the place."""

    def generate(context, build, signature, args):
        kinds, (line, step, into, wide) = signature.args, args
        rows = []
        for i in range(SIDE):
            at = build.mul(step, ir.Constant(step.type, i))
            there = address(context, build, kinds[0], line, at, SIDE)
            rows.append(build.load(there, align=kinds[0].dtype.bitwidth // 8))
        for i, row in enumerate(_turned(build, rows)):
            at = build.mul(wide, ir.Constant(wide.type, i))
            there = address(context, build, kinds[2], into, at, SIDE)
            build.store(_converted(build, kinds, row), there, align=kinds[2].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(source, types.int64, place, types.int64), generate


def _turned(build, rows):
    """Interleave the first half of the rows with the second, as often as 2 divides their number."""
    low = [x for i in range(SIDE // 2) for x in (i, SIDE + i)]
    high = [x + SIDE // 2 for x in low]
    for _ in range(SIDE.bit_length() - 1):
        pairs = zip(rows[: SIDE // 2], rows[SIDE // 2 :], strict=True)
        rows = [shuffled(build, *pair, order) for pair in pairs for order in (low, high)]
    return rows


def _converted(build, kinds, row):
    one, other = kinds[0].dtype, kinds[2].dtype
    return row if one == other else encoded(build, other, decoded(build, one, row))
