"""Memories that fade, on a CPU: s_t = a_t s_{t-1} + x_t w_t^T, read as y_t = s_t^T z_t.

`s` is [R, W]: x and z run down its rows, w and y along its columns, which stand side by side in
vectors of two registers. Four positions are taken in one walk down the rows: each piece of a row is
loaded once, read for all four, updated by all four and stored. What the four take of each other is
a triangle of ten numbers, computed apart. Sequences come in four dtypes and any strides, and are
unpacked chunk by chunk into a small place in the nearest cache.

On the way back the gradient of w is the same walk from the end to the beginning, x and z exchanged.
The gradients of the rows are walks over s^T, and that of the decays needs s and its gradient at
once: s is kept at the borders of chunks and computed again inside one chunk at a time. Decays are
only ever multiplied, so one that is 0 forgets exactly, and nothing is lost by subtraction.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from numba.np.numpy_support import as_dtype
from torch import Tensor

from ...machine import threads
from ...machine.compiler import Kernel
from ...machine.memory import empty_like
from ...simd.elements import ELEMENT
from ...simd.vector import lanes
from .programs import CHUNK, KEYS, RECUR
from .walks import QUAD, TOLD

SMALL = 1 << 20  # products, below which starting a thread costs more than it saves
LARGE = 1 << 24  # products, from which on pieces of the work cost nothing

_KINDS: list[Any] = list(ELEMENT.values())
_ZERO: dict[Any, Any] = {kind: as_dtype(kind).type(0) for kind in _KINDS}


def fading_memory(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::fading_memory` on a CPU."""
    B, H, _, V = state.shape
    y = _new(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_(), state.detach().clone(memory_format=torch.contiguous_format)
    after = _new(state, state.shape)
    _recur(k, v, q, _gates(g, state), state, after, y, back=False)
    return y, after


def fading_memory_backward(
    dy: Tensor, dstate: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor
) -> tuple[Tensor, ...]:
    """The operator `trilby::fading_memory_backward` on a CPU."""
    H, T = state.shape[1], q.shape[1]
    shared = state.dtype if any(t.shape[2] != H for t in (q, k, v)) else q.dtype  # sums of halves
    dq, dk, dv = (_new(t.new_empty(0, dtype=shared), t.shape) for t in (q, k, v))
    before = _new(state, state.shape)
    if not T or not state.numel():
        nothing = (t.zero_().to(q.dtype) for t in (dq, dk, dv))
        return (
            *nothing,
            torch.zeros_like(g, memory_format=torch.contiguous_format),
            before.copy_(dstate),
        )
    a = _gates(g, state)
    dstate = dstate.to(state.dtype)
    _recur(q, dy, k, a, dstate, before, dv, back=True)
    dg = _keys(q, k, v, dy, a, state, dstate, dq, dk)  # [B, T, H]
    dg = dg.unflatten(2, (g.shape[2], -1)).sum(-1)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), dg.to(g.dtype), before


def _new(like: Tensor, shape: Any) -> Tensor:
    """Fresh contiguous memory, in huge pages where it is large."""
    return empty_like(like.new_empty(1).expand(shape))


def _gates(g: Tensor, state: Tensor) -> Tensor:
    """g [B, T, n, 1] in the dtype of the state; the kernel takes the exponentials."""
    return g.detach().to(state.dtype)[..., None]


def _recur(
    x: Tensor, w: Tensor, z: Tensor, a: Tensor, start: Tensor, end: Tensor, out: Tensor, *,
    back: bool,
) -> None:  # fmt: skip
    """y into out and the last s into end, from the state start [B, H, R, W]."""
    B, H, R, W = start.shape
    T, n = out.shape[1:3]
    acc: Any = ELEMENT[start.dtype]
    L = lanes(acc, 2)
    pad, span = -(-R // L) * L, min(CHUNK, -(-T // QUAD) * QUAD)
    program, zeroes = _of(RECUR, x, out, start)
    given = tuple(map(_told, (x, w, z, a, start, end, out)))
    parts, wanted = _parts(B * n, -(-W // L), B * H * T * R * W)
    width = L * max(c1 - c0 for *_, c0, c1 in parts)
    size = span * (2 * pad + 3 * width + 2) + span // QUAD * TOLD + 2 * R * width
    sizes = (T, H, n, R, W, L)
    jobs = [partial(program, *zeroes, *given, sizes, part, back) for part in parts]
    _done(jobs, wanted, size, start)


def _keys(
    q: Tensor, k: Tensor, v: Tensor, dy: Tensor, a: Tensor,
    state: Tensor, dstate: Tensor, dq: Tensor, dk: Tensor,
) -> Tensor:  # fmt: skip
    """The gradients of q and k into dq and dk; returns that of g, [B, T, H]."""
    B, H, K, V = state.shape
    T, G = q.shape[1], min(q.shape[2], k.shape[2])
    acc: Any = ELEMENT[state.dtype]
    L = lanes(acc, 2)
    pad, blocks, chunks = -(-V // L) * L, -(-K // L), -(-T // CHUNK)
    dg = state.new_empty(B, T, H, 2 * blocks)  # a share of each half of a block
    program, zeroes = _of(KEYS, q, dq, state)
    tensors = (v, k, dy, q, a, state.mT, dstate.mT, dq, dk, dg)
    given = tuple(map(_told, tensors))
    parts, wanted = _parts(B * G, blocks, B * H * T * K * V)
    width = L * max(c1 - c0 for *_, c0, c1 in parts)
    size = CHUNK * (2 * pad + 5 * width + 2) + CHUNK // QUAD * TOLD + QUAD * L
    size += (chunks + 2) * V * width + (CHUNK // QUAD + 1) * V * L
    sizes = (T, H, G, V, K, L)
    jobs = [partial(program, *zeroes, *given, sizes, part) for part in parts]
    _done(jobs, wanted, size, state)
    return dg.sum(-1)


def _of(kernel: Kernel, given: Tensor, out: Tensor, state: Tensor) -> tuple[Any, tuple[Any, ...]]:
    """The program for these dtypes, and a zero of each, by which it knows them."""
    kinds = [ELEMENT[t.dtype] for t in (given, out, state)]
    return kernel.of((kinds[0], kinds[1])), tuple(_ZERO[kind] for kind in kinds)


def _told(t: Tensor) -> tuple[int, ...]:
    """The address of a tensor of four axes, its strides, and the size of its third axis."""
    return (t.data_ptr(), *t.stride(), t.shape[2])


def _parts(items: int, blocks: int, work: int) -> tuple[list[tuple[int, int, int, int]], int]:
    """Which heads and which blocks of columns each piece takes; for how many threads."""
    wanted = threads.count() if work >= SMALL else 1
    return threads.grid(items, blocks, wanted, threads.pieces(wanted, work, LARGE)), wanted


def _done(jobs: list[Callable[[int], None]], wanted: int, size: int, like: Tensor) -> None:
    """Run the jobs, each in a place of `size` numbers that no other uses meanwhile."""
    places = [like.new_empty(size) for _ in range(min(len(jobs), wanted))]

    def run(job: Callable[[int], None]) -> None:
        place = places.pop()
        job(place.data_ptr())
        places.append(place)

    threads.spread([partial(run, job) for job in jobs], wanted)
