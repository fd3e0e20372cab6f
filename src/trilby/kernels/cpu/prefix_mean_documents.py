"""Prefix sums over prefix counts that start anew with every document of a row, on a CPU.

As in `prefix_mean`, with one loop for any strides: the channels of a position are one vector loop
where they lie side by side. Sums stay in float64, in the array of totals itself.
"""

from functools import partial
from typing import Any

import torch
from numba import types
from torch import Tensor

from ..machine import threads
from ..machine.compiler import Kernel
from ..machine.memory import empty_like
from ..simd.elements import ELEMENT, decode, divide, encode, flat

SMALL = 1 << 15  # elements, below which starting a thread costs more than it saves


def packed_mean(
    x: Tensor, total: Tensor, count: Tensor, first: Tensor, *, back: bool
) -> tuple[Tensor, Tensor]:
    """Forward: the means of x, and the last total. Back: the transpose of that, for x = dy."""
    y = empty_like(x)
    total = total.detach().clone(memory_format=torch.contiguous_format)
    B, _, C = x.shape
    if not x.numel():
        return y, total
    program = _PACKED.of(ELEMENT[x.dtype])
    counts = count.contiguous().numpy(), first.contiguous().numpy()
    given = flat(x), x.stride(), flat(y), y.stride(), total.numpy(), *counts
    wanted = threads.count() if x.numel() >= SMALL else 1
    parts = threads.grid(B, C, wanted, wanted)
    threads.spread([partial(program, *given, part, back) for part in parts], wanted)
    return y, total


def _signature(element: Any) -> tuple[Any, ...]:
    line, strides = types.Array(element, 1, "C"), types.UniTuple(types.int64, 3)
    table, counts = (lambda kind: types.Array(kind, 2, "C")), types.Array(types.int64, 1, "C")
    return (
        line, strides, line, strides, table(types.float64), counts, table(types.int64),
        types.UniTuple(types.int64, 4), types.boolean,
    )  # fmt: skip


@partial(Kernel, signature=_signature)
def _PACKED(x, xs, y, ys, total, count, first, part, back):
    b0, b1, c0, c1 = part
    C, T = c1 - c0, first.shape[1]
    for b in range(b0, b1):
        sums = total[b, c0:c1]
        for step in range(T):
            t = T - 1 - step if back else step
            since = first[b, t]
            n = float(t + 1 - since + (count[b] if since == 0 else 0))
            i, j = b * xs[0] + t * xs[1] + c0 * xs[2], b * ys[0] + t * ys[1] + c0 * ys[2]
            if since == t and t > 0 and not back:
                sums[:] = 0.0
            for c in range(C):
                now = x[i + c * xs[2]]
                value = decode(now)
                sums[c] += divide(value, n, 1.0 / n, now) if back else value
                value = sums[c] if back else divide(sums[c], n, 1.0 / n, now)
                y[j + c * ys[2]] = encode(value, now)
            if since == t and t > 0 and back:
                sums[:] = 0.0
