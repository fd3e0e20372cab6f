"""Memories that fade, on a CPU: s_t = a_t s_{t-1} + x_t w_t^T, read as y_t = s_t^T z_t.

`s` is [R, W]: x and z run down its rows, w and y along its columns, which stand side by side in
vectors of two registers. Four positions are taken in one walk down the rows: each piece of a row is
loaded once, read for all four, updated by all four and stored. What the four take of each other is
a triangle of ten numbers, computed apart.

On the way back the gradient of w is the same walk from the end to the beginning, x and z exchanged.
The gradients of the rows are walks over s^T, and that of the decays needs s and its gradient at
once: s is kept at the borders of chunks and computed again inside one chunk at a time. Decays are
only ever multiplied, so one that is 0 forgets exactly, and nothing is lost by subtraction.
"""

import torch
from torch import Tensor

from ..recurrence.launch import fresh, gates, launch, size_of
from .backward import BACKWARD, backward_places
from .forward import FORWARD, forward_places


def fading_memory(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::fading_memory` on a CPU."""
    B, H, _, V = state.shape
    y = fresh(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_(), state.detach().clone(memory_format=torch.contiguous_format)
    after = fresh(state, state.shape)
    tensors = (k, v, q, gates(g, state), state, after, y)
    size = size_of(state, v.shape[1], H)
    launch(FORWARD, tensors, (k, y, state), size, forward_places)
    return y, after


def fading_memory_inplace(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Tensor:
    """y, and each number of the state written where it was read."""
    B, H, _, V = state.shape
    y = fresh(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_()
    tensors = (k, v, q, gates(g, state), state, state, y)
    launch(FORWARD, tensors, (k, y, state), size_of(state, v.shape[1], H), forward_places)
    return y


def fading_memory_backward(
    dy: Tensor, dstate: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor
) -> tuple[Tensor, ...]:
    """The operator `trilby::fading_memory_backward` on a CPU."""
    H, T = state.shape[1], q.shape[1]
    shared = state.dtype if any(t.shape[2] != H for t in (q, k, v)) else q.dtype  # sums of halves
    dq, dk, dv = (fresh(t.new_empty(0, dtype=shared), t.shape) for t in (q, k, v))
    before = fresh(state, state.shape)
    if not T or not state.numel():
        nothing = (t.zero_().to(q.dtype) for t in (dq, dk, dv))
        return (
            *nothing,
            torch.zeros_like(g, memory_format=torch.contiguous_format),
            before.copy_(dstate),
        )
    decays, dstate = gates(g, state), dstate.to(state.dtype)
    turned = (q, dy, k, decays, dstate, before, dv)
    size = size_of(state, T, v.shape[2])
    launch(FORWARD, turned, (q, dv, state), size, forward_places, back=True)
    size = size_of(state.mT, T, min(q.shape[2], k.shape[2]))
    blocks = -(-size.columns // size.lanes)
    dg = state.new_empty(*q.shape[:2], H, 2 * blocks)  # a share of each half of a block
    tensors = (v, k, dy, q, decays, state.mT, dstate.mT, dq, dk, dg)
    launch(BACKWARD, tensors, (q, dq, state), size, backward_places)
    dg = dg.sum(-1).unflatten(2, (g.shape[2], -1)).sum(-1)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), dg.to(g.dtype), before
