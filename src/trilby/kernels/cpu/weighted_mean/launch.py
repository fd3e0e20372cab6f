"""Weighted means on a CPU: from tensors to programs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...machine import threads
from ...machine.compiler import Kernel
from ...machine.memory import empty_like
from ...simd.elements import ELEMENT
from ...simd.places import gaps
from ..recurrence.launch import fresh, run, starts_of
from .programs import BACKWARD, CHANNELS, FORWARD, FORWARD_PLACES, LEAST, Sizes, backward_places

SMALL = 1 << 14  # elements, below which starting a thread costs more than it saves
LARGE = 1 << 20  # elements, from which on pieces of the work cost nothing


def weighted_mean(
    x: Tensor, s: Tensor, peak: Tensor, total: Tensor, weight: Tensor, begins: Tensor | None
) -> tuple[Tensor, ...]:
    """The operator `trilby::weighted_mean` on a CPU."""
    B, C = peak.shape
    y = empty_like(x) if x.shape[2] == C else fresh(x, (B, x.shape[1], C))
    sums = _copies(_lowest(peak, weight), total, weight)
    if y.numel():
        told = [_told(t, C) for t in (x, s, y)]
        _launch(FORWARD, (x, s, y), told, sums, begins, FORWARD_PLACES)
        sums[0].masked_fill_(sums[2] == 0, 0)
    else:
        sums[0].copy_(peak)
    return y, *(found.to(peak.dtype) for found in sums)


def weighted_mean_backward(
    dy: Tensor, dpeak: Tensor, dtotal: Tensor, dweight: Tensor, *inputs: Any
) -> tuple[Tensor, ...]:
    """The operator `trilby::weighted_mean_backward` on a CPU."""
    x, s, peak, total, weight, begins = inputs
    seeds = _copies(dpeak, dtotal, dweight)
    if not dy.numel():
        zero = (t.new_zeros(t.shape) for t in (x, s))
        return *zero, *(found.to(peak.dtype) for found in seeds)
    C, sums = peak.shape[1], _copies(_lowest(peak, weight), total, weight)
    found = [_unset(t, C) for t in (x, s)]
    dy = dy.to(x.dtype)
    told = [_told(t, C) for t in (x, s, dy)]
    told += [_told(d, C) if d.dim() == 3 else _share(d) for d in found]
    places = backward_places(x.shape[1])
    _launch(BACKWARD, (x, s, dy, *found), told, (*sums, *seeds), begins, places)
    empty = weight == 0
    states = (d.to(peak.dtype).masked_fill_(empty, 0) for d in seeds)
    dx, ds = (d if d.dim() == 3 else _added(d, t, C) for d, t in zip(found, (x, s), strict=True))
    return dx, ds, *states


def _copies(*states: Tensor) -> tuple[Tensor, ...]:
    """States [B, C] that may be written to, in float64."""
    layout = torch.contiguous_format
    return tuple(s.detach().double().clone(memory_format=layout) for s in states)


def _lowest(peak: Tensor, weight: Tensor) -> Tensor:
    """The peak, and one below all scores where nothing has counted."""
    return peak.detach().double().masked_fill(weight == 0, LEAST).clamp(min=LEAST)


def _told(t: Tensor, C: int) -> tuple[int, ...]:
    """The address of a tensor [B, T, n], its strides, and how many channels share one number."""
    return t.data_ptr(), *t.stride(), C // max(t.shape[2], 1)


def _groups(C: int, each: int) -> list[tuple[int, int]]:
    """The first group of channels that each tile has, and the one behind its last."""
    return [(c // each, (min(c + CHANNELS, C) - 1) // each + 1) for c in range(0, C, CHANNELS)]


def _unset(t: Tensor, C: int) -> Tensor:
    """Memory for the gradient of t [B, T, n]; where channels share, [B, tiles, T, groups]."""
    B, T, n = t.shape
    if n == C:
        return t.new_empty(t.shape)
    every = _groups(C, C // n)
    most = max(end - first for first, end in every)
    return t.new_empty(B, len(every), T, most, dtype=torch.float64)


def _share(d: Tensor) -> tuple[int, ...]:
    """Of the shares of a gradient: the address, and the strides of a row, a position and a tile."""
    return d.data_ptr(), d.stride(0), d.stride(2), d.stride(1), 0


def _added(shares: Tensor, t: Tensor, C: int) -> Tensor:
    """The gradient of t [B, T, n] from the shares of all tiles."""
    found = shares.new_zeros(t.shape)
    for i, (first, end) in enumerate(_groups(C, C // t.shape[2])):
        found[:, :, first:end] += shares[:, i, :, : end - first]
    return found.to(t.dtype)


def _launch(
    kernel: Kernel, tensors: Sequence[Tensor], told: Sequence[Sequence[int]],
    lines: Sequence[Tensor], begins: Tensor | None, places: list[int],
) -> None:  # fmt: skip
    """Run a program over all rows and channels; the first two of the tensors are x and s."""
    (x, s), (B, C) = tensors[:2], lines[0].shape
    where = None if begins is None else begins.to(torch.int64).contiguous()
    T, between = x.shape[1], gaps(places)
    numbers = [number for t in told for number in t]
    numbers += [line.data_ptr() for line in lines]
    numbers.append(0 if where is None else where.data_ptr())
    numbers += (*Sizes(T, C, where is not None), *starts_of(between), *[0] * 4)
    work = B * T * C
    wanted = threads.count() if work >= SMALL else 1
    parts = threads.grid(B, C, wanted, threads.pieces(wanted, work, LARGE), CHANNELS)
    program = kernel.of((ELEMENT[x.dtype], ELEMENT[s.dtype]))
    run(program, numbers, (parts, wanted), between, lines[0], (tensors, lines, where))
