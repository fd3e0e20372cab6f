"""Selective scans on a CPU: from tensors to programs.

A part is some rows and some tiles of channels, and no part shares a sum with another: each tile has
its own shares of the gradients of B and C, and each row those of A and D. So threads change no bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...machine import threads
from ...machine.compiler import Kernel
from ...machine.memory import empty_like
from ...simd.elements import ELEMENT
from ...simd.places import gaps
from ...simd.vector import lanes
from ..recurrence.launch import run, starts_of
from . import position
from .programs import BACKWARD, FORWARD, backward_places, forward_places
from .walks import CHANNELS, Sizes

SMALL = 1 << 14  # decays, below which starting a thread costs more than it saves
LARGE = 1 << 20  # decays, from which on pieces of the work cost nothing
FEW = 1 << 17  # numbers of a state, below which one position runs on one thread

_ZEROS = (0, 0, 0, 0)  # enough for a zero of each of four types


def selective_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor,
    begins: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The operator `trilby::selective_scan` on a CPU."""
    y, after = empty_like(x), state.new_empty(state.shape)
    if not x.numel():
        return y, after.copy_(state)
    ready = _ready(A, B, C, D, state, begins)
    found = torch.empty_like(ready[5])
    lines = *ready, found
    tensors = x, dt.to(state.dtype), y
    _launch(FORWARD, tensors, lines, A.shape[1], begins is not None, forward_places)
    return y, after.copy_(found[..., : x.shape[2]].mT)


def whole(state: Tensor) -> bool:
    """Whether the memories of a channel are whole vectors."""
    kind: Any = ELEMENT[state.dtype]
    return state.shape[-1] % lanes(kind, 1) == 0


def selective_scan_inplace(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor
) -> Tensor:
    """y [B, H, P]; each number of the state is written where it was read."""
    _, H, P, N = state.shape
    kind: Any = ELEMENT[state.dtype]
    B, C = B.contiguous(), C.contiguous()
    A = A if A.stride(2) in (0, 1) else A.contiguous()
    y = state.new_empty(x.shape)
    told: list[int] = []
    for t in (x, dt, A, B, C):
        told += (t.data_ptr(), *t.stride())
    told += (D.data_ptr(), 0, *D.stride(), state.data_ptr(), 0, 0, 0, y.data_ptr(), 0, 0, 0)
    heads = H // B.shape[1]
    told += (*position.Sizes(H, P, heads, N, lanes(kind, 1), A.stride(2) == 0), 0)
    wanted = threads.count() if state.numel() >= FEW else 1
    parts = threads.grid(len(x) * H, P, wanted, wanted)
    threads.spread(
        position.POSITION.of(kind), told, parts, wanted, alive=(x, dt, A, B, C, D, state, y)
    )
    return y


def selective_scan_backward(dy: Tensor, dafter: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    """The operator `trilby::selective_scan_backward` on a CPU."""
    x, dt, A, B, C, D, state, begins = inputs
    (rows, T, channels), N = x.shape, A.shape[1]
    if not x.numel():
        zero = (torch.zeros_like(t, memory_format=_CONTIGUOUS) for t in (x, dt, A, B, C, D))
        return *zero, state.new_empty(state.shape).copy_(dafter)
    ready = _ready(A, B, C, D, state, begins)
    across, blocks = ready[5].shape[2], -(-channels // CHANNELS)
    after = _state(dafter.to(state.dtype), across)
    wrote, read = (state.new_empty(rows, blocks, T, N) for _ in "BC")
    sums = state.new_zeros(rows, N + 1, across, dtype=torch.float64)
    before = torch.empty_like(after)
    dx, ddt = x.new_empty(x.shape), state.new_empty(x.shape)
    tensors = x, dt.to(state.dtype), dy.to(x.dtype), dx, ddt
    lines = *ready, after, wrote, read, sums, before
    _launch(BACKWARD, tensors, lines, N, begins is not None, backward_places)
    summed = sums.sum(0)[:, :channels]
    found = ddt, summed[:N].mT, wrote.sum(1), read.sum(1), summed[N], before[..., :channels].mT
    given = dt, A, B, C, D, state
    return dx, *(g.new_empty(g.shape).copy_(f) for g, f in zip(given, found, strict=True))


_CONTIGUOUS = torch.contiguous_format


def _state(state: Tensor, across: int) -> Tensor:
    """A state [B, C, N] as rows of channels, [B, N, across]."""
    return pad(state.detach().mT, (0, across - state.shape[1])).contiguous()


def _ready(
    A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor, begins: Tensor | None
) -> tuple[Any, ...]:
    """The lines of a program, up to the state: tensors, or None for one that it does not need."""
    dtype = state.dtype
    kind: Any = ELEMENT[dtype]
    L = lanes(kind, 2)
    across = -(-len(A) // L) * L
    beside = across - len(A)
    rates = pad(A.detach().to(dtype).mT, (0, beside)).contiguous()
    past = pad(D.detach().to(dtype), (0, beside)).contiguous()
    wrote, read = (t.detach().to(dtype).contiguous() for t in (B, C))
    where = None if begins is None else begins.to(torch.int64).contiguous()
    return rates, past, wrote, read, where, _state(state, across)


def _launch(
    kernel: Kernel, tensors: Sequence[Tensor], lines: Sequence[Tensor | None], N: int, packed: bool,
    places: Callable[[int, int, int], list[int]],
) -> None:  # fmt: skip
    """Run a program over all rows and channels of x, the first of the tensors."""
    x, wide = tensors[0], tensors[1].dtype
    kind: Any = ELEMENT[wide]
    (rows, T, channels), L = x.shape, lanes(kind, 2)
    across, blocks = -(-channels // L) * L, -(-channels // CHANNELS)
    between = gaps(places(T, N, L))
    told = [number for t in tensors for number in (t.data_ptr(), *t.stride())]
    told += [0 if t is None else t.data_ptr() for t in lines]
    told += (*Sizes(T, N, L, across, blocks, packed), *starts_of(between), *_ZEROS)
    work = x.numel() * max(N, 1)
    wanted = threads.count() if work >= SMALL else 1
    parts = threads.grid(rows, channels, wanted, threads.pieces(wanted, work, LARGE), CHANNELS)
    program = kernel.of(ELEMENT[x.dtype])
    run(program, told, (parts, wanted), between, tensors[1], (tensors, lines))
