"""Short causal convolutions on a CPU: from tensors to programs.

A part is some rows and some channels, and no part shares a sum with another: the gradients of the
kernel and of the bias are added up for each row by itself, piece by piece, and over the rows at
last. So threads change no bit. Where time is last in memory, vectors are of positions (`series`),
else of channels (`programs`, `tile`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ....state import wide
from ...machine import threads
from ...machine.compiler import Kernel
from ...machine.memory import empty_like
from ...simd.elements import ELEMENT
from ...simd.places import gaps
from ...simd.vector import lanes
from ..recurrence.launch import run, starts_of
from . import programs, series
from .tile import CHANNELS, Sizes

SMALL = 1 << 15  # elements, below which starting a thread costs more than it saves
LARGE = 1 << 20  # elements, from which on pieces of the work cost nothing

_ZEROS = (0, 0, 0, 0)  # enough for a zero of each of four types


def causal_convolution(
    x: Tensor, kernel: Tensor, bias: Tensor, state: Tensor, low: Tensor | None, silu: bool
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::causal_convolution` on a CPU."""
    y, after = empty_like(x), state.new_empty(state.shape)
    if x.shape[1]:
        tensors = x, y, state, after
        way = series if _series((x, y)) else programs
        _launch(way.FORWARD, tensors, (kernel, bias, low), None, silu, way.forward_places)
    else:
        after.copy_(state)
    return y, after


def causal_convolution_backward(
    dy: Tensor, dafter: Tensor, x: Tensor, kernel: Tensor, bias: Tensor, state: Tensor,
    low: Tensor | None, silu: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The operator `trilby::causal_convolution_backward` on a CPU."""
    dx, dstate = empty_like(x), state.new_empty(state.shape)
    if not x.shape[1]:
        return dx, torch.zeros_like(kernel), torch.zeros_like(bias), dstate.copy_(dafter)
    C, W = kernel.shape
    shares = x.new_zeros(len(x), W + 1, _across(x), dtype=torch.float64)
    tensors = x, dy.to(x.dtype), dstate, dx, state, dafter.to(x.dtype)
    way = series if _series((x, tensors[1], dx)) else programs
    _launch(way.BACKWARD, tensors, (kernel, bias, low), shares, silu, way.backward_places)
    summed = shares.sum(0)[:, :C]
    dkernel = kernel.new_empty(kernel.shape).copy_(summed[:W].mT)
    return dx, dkernel, bias.new_empty(C).copy_(summed[W]), dstate


def _across(x: Tensor) -> int:
    """The channels of x, in whole vectors."""
    L = lanes(_kind(x), 2)
    return -(-x.shape[2] // L) * L


def _kind(x: Tensor) -> Any:
    """The type of number that is computed with."""
    return ELEMENT[wide(x.dtype)]


def _series(tensors: Sequence[Tensor]) -> bool:
    """Whether time is last in the memory of each."""
    return all(t.stride(1) == 1 and t.stride(2) != 1 for t in tensors)


def _ready(tensors: Sequence[Tensor], rows: Tensor) -> bool:
    """Whether these are rows of the numbers that are computed with, in whole vectors."""
    if any(t.dtype != rows.dtype for t in tensors):
        return False
    whole = tensors[0].shape[2] == rows.shape[1]
    return _series(tensors) or (whole and all(t.stride(2) == 1 for t in tensors))


def _launch(
    kernel: Kernel, tensors: Sequence[Tensor], taps: tuple[Tensor, Tensor, Tensor | None],
    shares: Tensor | None, silu: bool, places: Callable[[int, int], list[int]],
) -> None:  # fmt: skip
    """Run a program over all rows and channels of x, the first of the tensors."""
    x, (given, bias, low) = tensors[0], taps
    if not x.numel():
        return
    (B, T, C), W, L, across = x.shape, given.shape[1], lanes(_kind(x), 2), _across(x)
    rows = pad(given.detach().to(wide(x.dtype)).mT, (0, across - C)).contiguous()
    bias = pad(bias.detach().to(rows.dtype), (0, across - C)).contiguous()
    low = None if low is None else low.contiguous()
    lines = [0 if t is None else t.data_ptr() for t in (rows, bias, low, shares)]
    between = gaps(places(W, L))
    told = [number for t in tensors for number in (t.data_ptr(), *t.stride())]
    sizes = Sizes(T, W, L, across, silu, low is not None, _ready(tensors[:2], rows))
    told += (*lines, *sizes, *starts_of(between), *_ZEROS)
    wanted = threads.count() if x.numel() >= SMALL else 1
    parts = threads.grid(B, C, wanted, threads.pieces(wanted, x.numel(), LARGE), CHANNELS)
    program = kernel.of(ELEMENT[x.dtype])
    run(program, told, (parts, wanted), between, rows, (tensors, rows, bias, low, shares))
