"""Prefix sums over prefix counts on a CPU: x is read once, y is written once.

Two loops, picked by the strides: `rows` walks over time and takes all channels of a position in
one vector loop; `series` walks along each channel by itself, for channels that do not lie side by
side. Sums stay in float64, in the array of totals itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from numba import types
from torch import Tensor, contiguous_format

from .numba_jit import Kernel
from .numba_lanes import ELEMENT, decode, divide, encode, fetch, flat
from .numba_packed import packed_mean
from .pages import empty_like
from .threads import count as threads
from .threads import shares, spread

BLOCK = 8  # positions of one channel that are added up beside the running sum, not behind it
SMALL = 1 << 15  # elements, below which starting a thread costs more than it saves
AHEAD = 4  # rows asked for in advance on the way back
WIDE = 128  # channels, below which the asking costs more than the waiting
LINE = 16  # elements of float32 in a line of the cache
GRAIN = 1024  # channels per thread at least: shorter pieces of a row defeat the prefetcher


def prefix_mean(
    x: Tensor, total: Tensor, count: Tensor, first: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::prefix_mean` on a CPU."""
    if first is not None:
        return packed_mean(x, total, count, first, back=False)
    return _launch(_prefix_rows, _prefix_series, x, total, count)


def prefix_mean_backward(
    dy: Tensor, dtotal: Tensor, count: Tensor, first: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::prefix_mean_backward` on a CPU."""
    if first is not None:
        return packed_mean(dy, dtotal, count, first, back=True)
    return _launch(_suffix_rows, _suffix_series, dy, dtotal, count)


def _launch(
    rows: Kernel, series: Kernel, x: Tensor, total: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:
    y = empty_like(x)
    total = total.detach().clone(memory_format=contiguous_format)
    B, T, C = x.shape
    if not x.numel():
        return y, total
    together = C > 1 and x.stride(2) == 1 and y.stride(2) == 1
    program = (rows if together else series).of(ELEMENT[x.dtype])
    arguments = (
        flat(x),
        x.stride(),
        flat(y),
        y.stride(),
        total.numpy(),
        count.contiguous().numpy(),
    )
    parts = _parts(B, C, x.numel())
    if len(parts) == 1:
        program(*arguments, T, *parts)
    else:
        spread([partial(program, *arguments, T, part) for part in parts])
    return y, total


def _parts(B: int, C: int, elements: int) -> list[tuple[int, int, int, int]]:
    """(b0, b1, c0, c1) for each thread: whole rows where there are enough of them."""
    wanted = threads() if elements >= SMALL else 1
    rows = shares(B, wanted)
    return [(*b, *c) for b in rows for c in shares(C, wanted // len(rows), GRAIN)]


def _signature(element: Any) -> tuple[Any, ...]:
    line, strides = types.Array(element, 1, "C"), types.UniTuple(types.int64, 3)
    total, count = types.Array(types.float64, 2, "C"), types.Array(types.int64, 1, "C")
    return (line, strides, line, strides, total, count, types.int64, types.UniTuple(types.int64, 4))


def _kernel(source: Callable[..., None]) -> Kernel:
    return Kernel(source, _signature)


@_kernel
def _prefix_rows(x, xs, y, ys, total, count, T, part):
    b0, b1, c0, c1 = part
    C = c1 - c0
    for b in range(b0, b1):
        sums = total[b, c0:c1]
        i, j = b * xs[0] + c0, b * ys[0] + c0
        for t in range(T):
            n = float(count[b] + t + 1)
            part_of_n = 1.0 / n
            now, out = x[i : i + C], y[j : j + C]  # as slices, so that the loop below is a vector's
            for c in range(C):
                sums[c] += decode(now[c])
                out[c] = encode(divide(sums[c], n, part_of_n, out[c]), out[c])
            i += xs[1]
            j += ys[1]


@_kernel
def _suffix_rows(dy, ys, dx, xs, total, count, T, part):
    b0, b1, c0, c1 = part
    C = c1 - c0
    for b in range(b0, b1):
        sums = total[b, c0:c1]
        i, j = b * ys[0] + (T - 1) * ys[1] + c0, b * xs[0] + (T - 1) * xs[1] + c0
        for t in range(T - 1, -1, -1):
            n = float(count[b] + t + 1)
            part_of_n = 1.0 / n
            now, out = dy[i : i + C], dx[j : j + C]
            if t >= AHEAD and WIDE <= C:  # no processor foresees a walk back over rows
                for c in range(0, C, LINE):
                    fetch(dy, i - AHEAD * ys[1] + c)
                    fetch(dx, j - AHEAD * xs[1] + c)
            for c in range(C):
                sums[c] += divide(decode(now[c]), n, part_of_n, now[c])
                out[c] = encode(sums[c], out[c])
            i -= ys[1]
            j -= xs[1]


@_kernel
def _prefix_series(x, xs, y, ys, total, count, T, part):
    b0, b1, c0, c1 = part
    for b in range(b0, b1):
        for c in range(c0, c1):
            sums = total[b, c]
            i, j = b * xs[0] + c * xs[2], b * ys[0] + c * ys[2]
            for t in range(0, T, BLOCK):
                inside = 0.0
                for k in range(min(BLOCK, T - t)):
                    n = float(count[b] + t + k + 1)
                    inside += decode(x[i])
                    y[j] = encode(divide(sums + inside, n, 1.0 / n, y[j]), y[j])
                    i += xs[1]
                    j += ys[1]
                sums += inside
            total[b, c] = sums


@_kernel
def _suffix_series(dy, ys, dx, xs, total, count, T, part):
    b0, b1, c0, c1 = part
    for b in range(b0, b1):
        for c in range(c0, c1):
            sums = total[b, c]
            i, j = b * ys[0] + c * ys[2] + (T - 1) * ys[1], b * xs[0] + c * xs[2] + (T - 1) * xs[1]
            for t in range(0, T, BLOCK):
                inside = 0.0
                for k in range(min(BLOCK, T - t)):
                    n = float(count[b] + T - t - k)
                    inside += divide(decode(dy[i]), n, 1.0 / n, dy[i])
                    dx[j] = encode(sums + inside, dx[j])
                    i -= ys[1]
                    j -= xs[1]
                sums += inside
            total[b, c] = sums
