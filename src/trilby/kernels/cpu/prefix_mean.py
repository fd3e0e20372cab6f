"""Prefix sums over prefix counts on a CPU: x is read once, y is written once.

Two loops, picked by the strides: `rows` walks over time and takes all channels of a position in
one vector loop; `series` walks along each channel by itself, for channels that do not lie side by
side. Sums stay in float64, in the array of totals itself.

A series adds up in three steps, so that vectors and threads have something to do at once: inside
a group, the groups inside a segment, the segments. Where groups and segments begin depends on the
position alone, so neither the threads nor the other rows nor where memory lies touch a bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from numba import types
from torch import Tensor, contiguous_format

from ..machine import threads
from ..machine.compiler import Kernel
from ..machine.loop import arguments
from ..machine.memory import empty_like
from ..simd.elements import ELEMENT, decode, divide, encode, prefetch
from ..simd.places import skip
from ..simd.wide import (
    LANES,
    divided,
    fence,
    last_lane,
    misaligned,
    narrowed,
    prefix_sums,
    quotients,
    ramp,
    reversed_lanes,
    streamed,
    sum_of_prefix,
    widened,
)
from .prefix_mean_documents import packed_mean

SEGMENT = 1 << 14  # positions of a series; a multiple of a group, which is as long as a vector
SMALL = 1 << 15  # elements, below which starting a thread costs more than it saves
LARGE = 1 << 20  # elements, from which on pieces of the work cost nothing
AHEAD = 4  # rows asked for in advance on the way back
WIDE = 128  # channels, below which the asking costs more than the waiting
LINE = 16  # elements of float32 in a line of the cache
GRAIN = 1024  # channels per thread at least: shorter pieces of a row defeat the prefetcher
PAST = 1 << 24  # bytes of a result that no cache keeps anyway, so it is written past them


def prefix_mean(
    x: Tensor, total: Tensor, count: Tensor, first: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::prefix_mean` on a CPU."""
    if first is not None:
        return packed_mean(x, total, count, first, back=False)
    return _launch(False, x, total, count)


def prefix_mean_backward(
    dy: Tensor, dtotal: Tensor, count: Tensor, first: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::prefix_mean_backward` on a CPU."""
    if first is not None:
        return packed_mean(dy, dtotal, count, first, back=True)
    return _launch(True, dy, dtotal, count)


def _launch(back: bool, x: Tensor, total: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    y = empty_like(x)
    total = total.detach().clone(memory_format=contiguous_format)
    B, T, C = x.shape
    if not x.numel():
        return y, total
    count = count.contiguous()
    past = y.numel() * y.element_size() >= PAST
    given = (x.data_ptr(), *x.stride(), y.data_ptr(), *y.stride())
    sizes = (count.data_ptr(), T, C, past)
    wanted = threads.count() if x.numel() >= SMALL else 1
    pieces = threads.pieces(wanted, x.numel(), LARGE)
    parts = threads.grid(B, C, wanted, pieces, GRAIN)
    alive = (x, y, total, count)
    if C > 1 and x.stride(2) == 1 and y.stride(2) == 1:
        program = (_suffix_rows if back else _prefix_rows).of(ELEMENT[x.dtype])
        threads.spread(program, (*given, total.data_ptr(), *sizes), parts, wanted, alive=alive)
        return y, total
    times = _times(T, wanted // len(parts))
    bases = total
    if len(times) > 1:
        adds = (_suffix_sums if back else _prefix_sums).of(ELEMENT[x.dtype])
        sums = total.new_empty(B, C, -(-T // SEGMENT))  # of each segment
        told = (*given, sums.data_ptr(), *sizes)
        rows = [(*part, *when, 0) for when in times for part in parts]
        threads.spread(adds, told, rows, wanted, alive=(*alive, sums))
        bases = _bases(total, sums, times, back)
    program = (_suffix_series if back else _prefix_series).of(ELEMENT[x.dtype])
    rows = [(*part, *when, i * B * C) for i, when in enumerate(times) for part in parts]
    told = (*given, bases.data_ptr(), *sizes)
    threads.spread(program, told, rows, wanted, alive=(*alive, bases))
    if bases is not total:
        total.copy_(bases[0 if back else -1])
    return y, total


def _times(T: int, wanted: int) -> list[tuple[int, int]]:
    """(t0, t1) for each thread: whole segments."""
    cut = threads.shares(-(-T // SEGMENT), wanted)
    return [(first * SEGMENT, min(end * SEGMENT, T)) for first, end in cut]


def _bases(total: Tensor, sums: Tensor, times: list[tuple[int, int]], back: bool) -> Tensor:
    """The totals that each range of time starts from, added up as one thread would."""
    order = slice(None, None, -1 if back else 1)
    found, base = [], total
    for t0, t1 in times[order]:
        found.append(base)
        for segment in range(t0 // SEGMENT, -(-t1 // SEGMENT))[order]:
            base = base + sums[:, :, segment]
    return torch.stack(found[order])


def _told(element: Any) -> tuple[Any, ...]:
    """x, its strides, y, its strides, totals, counts, and T, C, whether y goes past the caches."""
    line, strides = types.CPointer(element), types.UniTuple(types.int64, 3)
    total, count = types.CPointer(types.float64), types.CPointer(types.int64)
    return (line, strides, line, strides, total, count, types.UniTuple(types.int64, 3))


def _rows(element: Any) -> tuple[Any, ...]:
    return arguments(_told(element), 4)


def _series(element: Any) -> tuple[Any, ...]:
    return arguments(_told(element), 7)


def _kernel(signature: Callable[..., tuple[Any, ...]]) -> Callable[..., Kernel]:
    return lambda source: Kernel(source, signature)


@_kernel(_rows)
def _prefix_rows(told, part, _scratch):
    x, xs, y, ys, total, count, (T, channels, past) = told[0]
    b0, b1, c0, c1 = part[0]
    C = c1 - c0
    wide = C // LANES * LANES
    for b in range(b0, b1):
        sums = skip(total, b * channels + c0)
        rest = skip(sums, wide)
        i, j = b * xs[0] + c0, b * ys[0] + c0
        streams = past != 0 and ys[1] % LANES == 0 and misaligned(y, j) == 0
        for t in range(T):
            n = float(count[b] + t + 1)
            part_of_n = 1.0 / n
            for c in range(0, wide, LANES):
                now = widened(sums, c) + widened(x, i + c)
                narrowed(sums, c, now)
                if streams:
                    streamed(y, j + c, divided(now, n, part_of_n, y))
                else:
                    narrowed(y, j + c, divided(now, n, part_of_n, y))
            given, out = skip(x, i + wide), skip(y, j + wide)
            for c in range(C - wide):
                rest[c] += decode(given[c])
                out[c] = encode(divide(rest[c], n, part_of_n, out[c]), out[c])
            i += xs[1]
            j += ys[1]
    fence()


@_kernel(_rows)
def _suffix_rows(told, part, _scratch):
    dy, ys, dx, xs, total, count, (T, channels, past) = told[0]
    b0, b1, c0, c1 = part[0]
    C = c1 - c0
    wide = C // LANES * LANES
    for b in range(b0, b1):
        sums = skip(total, b * channels + c0)
        rest = skip(sums, wide)
        i, j = b * ys[0] + (T - 1) * ys[1] + c0, b * xs[0] + (T - 1) * xs[1] + c0
        streams = past != 0 and xs[1] % LANES == 0 and misaligned(dx, j) == 0
        for t in range(T - 1, -1, -1):
            n = float(count[b] + t + 1)
            part_of_n = 1.0 / n
            if t >= AHEAD and WIDE <= C:  # no processor foresees a walk back over rows
                for f in range(0, C, LINE):
                    prefetch(dy, i - AHEAD * ys[1] + f)
                    if not streams:
                        prefetch(dx, j - AHEAD * xs[1] + f)
            for c in range(0, wide, LANES):
                now = widened(sums, c) + divided(widened(dy, i + c), n, part_of_n, dy)
                narrowed(sums, c, now)
                if streams:
                    streamed(dx, j + c, now)
                else:
                    narrowed(dx, j + c, now)
            given, out = skip(dy, i + wide), skip(dx, j + wide)
            for c in range(C - wide):
                rest[c] += divide(decode(given[c]), n, part_of_n, given[c])
                out[c] = encode(rest[c], out[c])
            i -= ys[1]
            j -= xs[1]
    fence()


@_kernel(_series)
def _prefix_series(told, part, _scratch):
    x, xs, y, ys, totals, count, (_T, channels, past) = told[0]
    b0, b1, c0, c1, t0, t1, base_of = part[0]
    total = skip(totals, base_of)
    for b in range(b0, b1):
        for c in range(c0, c1):
            base = total[b * channels + c]
            for start in range(t0, t1, SEGMENT):
                inside, t, end = 0.0, start, min(start + SEGMENT, t1)
                i = b * xs[0] + c * xs[2] + t * xs[1]
                j = b * ys[0] + c * ys[2] + t * ys[1]
                if xs[1] == 1 and ys[1] == 1:
                    n = float(count[b] + t + 1) + ramp()
                    streams = past != 0 and misaligned(y, j) == 0
                    while t + LANES <= end:
                        sums = prefix_sums(widened(x, i)) + inside
                        mean = quotients(base + sums, n, y)
                        if streams:
                            streamed(y, j, mean)
                        else:
                            narrowed(y, j, mean)
                        inside = last_lane(sums)
                        n = n + float(LANES)
                        t, i, j = t + LANES, i + LANES, j + LANES
                while t < end:
                    group = 0.0
                    for k in range(min(LANES, end - t)):
                        n1 = float(count[b] + t + k + 1)
                        group += decode(x[i])
                        mean1 = divide(base + (inside + group), n1, 1.0 / n1, y[j])
                        y[j] = encode(mean1, y[j])
                        i += xs[1]
                        j += ys[1]
                    inside += group
                    t += LANES
                base += inside
            total[b * channels + c] = base
    fence()


@_kernel(_series)
def _prefix_sums(told, part, _scratch):
    """Of each segment, added up as `_prefix_series` does it."""
    x, xs, _y, _ys, sums, _count, (T, channels, _past) = told[0]
    b0, b1, c0, c1, t0, t1, _ = part[0]
    segments = (T + SEGMENT - 1) // SEGMENT
    for b in range(b0, b1):
        for c in range(c0, c1):
            for start in range(t0, t1, SEGMENT):
                inside, t, end = 0.0, start, min(start + SEGMENT, t1)
                i = b * xs[0] + c * xs[2] + t * xs[1]
                while xs[1] == 1 and t + LANES <= end:
                    inside = sum_of_prefix(widened(x, i)) + inside
                    t, i = t + LANES, i + LANES
                while t < end:
                    group = 0.0
                    for _ in range(min(LANES, end - t)):
                        group += decode(x[i])
                        i += xs[1]
                    inside += group
                    t += LANES
                sums[(b * channels + c) * segments + start // SEGMENT] = inside


@_kernel(_series)
def _suffix_series(told, part, _scratch):
    dy, ys, dx, xs, totals, count, (_T, channels, past) = told[0]
    b0, b1, c0, c1, t0, t1, base_of = part[0]
    total = skip(totals, base_of)
    first, end = t0 // SEGMENT, (t1 + SEGMENT - 1) // SEGMENT
    for b in range(b0, b1):
        for c in range(c0, c1):
            base = total[b * channels + c]
            for s in range(end - 1, first - 1, -1):
                inside, t, stop = 0.0, min((s + 1) * SEGMENT, t1), s * SEGMENT
                i = b * ys[0] + c * ys[2] + t * ys[1]
                j = b * xs[0] + c * xs[2] + t * xs[1]
                if ys[1] == 1 and xs[1] == 1:
                    n = float(count[b] + t) - ramp()
                    streams = past != 0 and misaligned(dx, j) == 0
                    while t - LANES >= stop:
                        t, i, j = t - LANES, i - LANES, j - LANES
                        now = quotients(reversed_lanes(widened(dy, i)), n, dy)
                        sums = prefix_sums(now) + inside
                        if streams:
                            streamed(dx, j, reversed_lanes(base + sums))
                        else:
                            narrowed(dx, j, reversed_lanes(base + sums))
                        inside = last_lane(sums)
                        n = n - float(LANES)
                while t > stop:
                    group = 0.0
                    for k in range(min(LANES, t - stop)):
                        i -= ys[1]
                        j -= xs[1]
                        n1 = float(count[b] + t - k)
                        group += divide(decode(dy[i]), n1, 1.0 / n1, dy[i])
                        dx[j] = encode(base + (inside + group), dx[j])
                    inside += group
                    t -= LANES
                base += inside
            total[b * channels + c] = base
    fence()


@_kernel(_series)
def _suffix_sums(told, part, _scratch):
    """Of each segment, added up as `_suffix_series` does it."""
    dy, ys, _y, _ys, sums, count, (T, channels, _past) = told[0]
    b0, b1, c0, c1, t0, t1, _ = part[0]
    segments = (T + SEGMENT - 1) // SEGMENT
    for b in range(b0, b1):
        for c in range(c0, c1):
            for s in range(t0 // SEGMENT, (t1 + SEGMENT - 1) // SEGMENT):
                inside, t, stop = 0.0, min((s + 1) * SEGMENT, t1), s * SEGMENT
                i = b * ys[0] + c * ys[2] + t * ys[1]
                n = float(count[b] + t) - ramp()
                while ys[1] == 1 and t - LANES >= stop:
                    t, i = t - LANES, i - LANES
                    now = quotients(reversed_lanes(widened(dy, i)), n, dy)
                    inside = sum_of_prefix(now) + inside
                    n = n - float(LANES)
                while t > stop:
                    group = 0.0
                    for k in range(min(LANES, t - stop)):
                        i -= ys[1]
                        n1 = float(count[b] + t - k)
                        group += divide(decode(dy[i]), n1, 1.0 / n1, dy[i])
                    inside += group
                    t -= LANES
                sums[(b * channels + c) * segments + s] = inside
