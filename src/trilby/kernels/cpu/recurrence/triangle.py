"""What four positions have of each other: the products of their rows, a triangle of ten numbers."""

from typing import Any, NamedTuple

from ...machine.compiler import inner
from ...simd.vector import load, sum_lanes, zeros


class Triangle(NamedTuple):
    """Ten products of rows: p21 is of row 2 of one with row 1 of the other."""

    p00: Any
    p10: Any
    p11: Any
    p20: Any
    p21: Any
    p22: Any
    p30: Any
    p31: Any
    p32: Any
    p33: Any


@inner()
def triangle(z, x, height, half):
    """z_t . x_s of four positions, for s <= t; each row is `height` long."""
    p00 = p10 = p11 = p20 = p21 = p22 = p30 = p31 = p32 = p33 = zeros(x, 1)
    for j in range(0, height, half):
        x0, x1 = load(x, j, 1), load(x, j + height, 1)
        x2, x3 = load(x, j + 2 * height, 1), load(x, j + 3 * height, 1)
        z0, z1 = load(z, j, 1), load(z, j + height, 1)
        z2, z3 = load(z, j + 2 * height, 1), load(z, j + 3 * height, 1)
        p00 += z0 * x0
        p10 += z1 * x0
        p11 += z1 * x1
        p20 += z2 * x0
        p21 += z2 * x1
        p22 += z2 * x2
        p30 += z3 * x0
        p31 += z3 * x1
        p32 += z3 * x2
        p33 += z3 * x3
    return Triangle(
        sum_lanes(p00), sum_lanes(p10), sum_lanes(p11), sum_lanes(p20), sum_lanes(p21),
        sum_lanes(p22), sum_lanes(p30), sum_lanes(p31), sum_lanes(p32), sum_lanes(p33),
    )  # fmt: skip
