"""Short causal convolutions on a CPU: from tensors to programs.

A part is some rows and some channels, and no part shares a sum with another: the gradients of the
kernel and of the bias are added up for each row by itself, tile by tile, and over the rows at last.
So threads change no bit.
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
from .programs import BACKWARD, FORWARD, backward_places, forward_places
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
        _launch(FORWARD, tensors, (kernel, bias, low), None, silu, forward_places)
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
    _launch(BACKWARD, tensors, (kernel, bias, low), shares, silu, backward_places)
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
    sizes = Sizes(T, W, L, across, silu, low is not None)
    told += (*lines, *sizes, *starts_of(between), *_ZEROS)
    wanted = threads.count() if x.numel() >= SMALL else 1
    parts = threads.grid(B, C, wanted, threads.pieces(wanted, x.numel(), LARGE), CHANNELS)
    program = kernel.of(ELEMENT[x.dtype])
    run(program, told, (parts, wanted), between, rows, (tensors, rows, bias, low, shares))
