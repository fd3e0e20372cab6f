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
from ..machine.compiler import Kernel, inner
from ..machine.loop import arguments
from ..machine.memory import empty_like
from ..simd.elements import ELEMENT, decode, divide, encode
from ..simd.places import skip

SMALL = 1 << 15  # elements, below which starting a thread costs more than it saves


def packed_mean(
    x: Tensor, total: Tensor, count: Tensor, first: Tensor, *, back: bool
) -> tuple[Tensor, Tensor]:
    """Forward: the means of x, and the last total. Back: the transpose of that, for x = dy."""
    y = empty_like(x)
    total = total.detach().clone(memory_format=torch.contiguous_format)
    B, T, C = x.shape
    if not x.numel():
        return y, total
    program = _PACKED.of(ELEMENT[x.dtype])
    count, first = count.contiguous(), first.contiguous()
    places = (x.data_ptr(), *x.stride(), y.data_ptr(), *y.stride(), total.data_ptr())
    told = (*places, count.data_ptr(), first.data_ptr(), T, C, back)
    wanted = threads.count() if x.numel() >= SMALL else 1
    parts = threads.grid(B, C, wanted, wanted)
    threads.spread(program, told, parts, wanted, alive=(x, y, total, count, first))
    return y, total


def _signature(element: Any) -> tuple[Any, ...]:
    line, strides = types.CPointer(element), types.UniTuple(types.int64, 3)
    total, count = types.CPointer(types.float64), types.CPointer(types.int64)
    sizes = types.UniTuple(types.int64, 3)
    return arguments((line, strides, line, strides, total, count, count, sizes), 4)


@partial(Kernel, signature=_signature)
def _PACKED(told, part, _scratch):
    x, xs, y, ys, total, count, first, (T, channels, back) = told[0]
    b0, b1, c0, c1 = part[0]
    C = c1 - c0
    for b in range(b0, b1):
        sums, since_of = skip(total, b * channels + c0), skip(first, b * T)
        for step in range(T):
            t = T - 1 - step if back else step
            since = since_of[t]
            n = float(t + 1 - since + (count[b] if since == 0 else 0))
            i, j = b * xs[0] + t * xs[1] + c0 * xs[2], b * ys[0] + t * ys[1] + c0 * ys[2]
            if since == t and t > 0 and not back:
                blank(sums, C)
            for c in range(C):
                now = x[i + c * xs[2]]
                value = decode(now)
                sums[c] += divide(value, n, 1.0 / n, now) if back else value
                value = sums[c] if back else divide(sums[c], n, 1.0 / n, now)
                y[j + c * ys[2]] = encode(value, now)
            if since == t and t > 0 and back:
                blank(sums, C)


@inner()
def blank(sums, n):
    for c in range(n):
        sums[c] = 0.0
