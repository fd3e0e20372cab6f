"""The delta rule on a CPU: f = a s, s' = f + beta k (v - f^T k)^T, read as y = s'^T q.

A state is [R, W]: q and k run down its rows, v and y along its columns, which stand side by side in
vectors of two registers. Four positions are taken at once. They find what the state before them
holds at their keys, a triangle of six numbers says what they find of each other, and then the state
is written once for all four. The decay a is a number, or by channel a number for each row.

On the way back the gradient of v is the same walk from the end to the beginning. It needs no state.
The gradients of q, k and the gates are walks over the transposed state and over its gradient: the
state is kept at the borders of chunks and computed again inside one chunk at a time. What was
written is computed again first, so that nothing but the arguments is kept for the way back.
"""

from typing import Any

import torch
from torch import Tensor

from ..recurrence.launch import fresh, gates, launch, size_of
from .backward import CHANNEL_ROWS, ROWS, channel_rows_places, rows_places
from .forward import (
    BACK,
    CHANNEL_BACK,
    CHANNEL_FORWARD,
    FORWARD,
    back_places,
    channel_back_places,
    channel_forward_places,
    forward_places,
)


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::delta_rule` on a CPU."""
    B, H, _, V = state.shape
    y = fresh(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_(), state.detach().clone(memory_format=torch.contiguous_format)
    after = fresh(state, state.shape)
    tensors = (q, k, v, *_gates(beta, g, state), state, after, y, after)  # e is not asked for
    _forward(tensors, (q, y, state), g.ndim == 4)
    return y, after


def delta_rule_inplace(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor
) -> Tensor:
    """y, and each number of the state written where it was read."""
    B, H, _, V = state.shape
    y = fresh(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_()
    tensors = (q, k, v, *_gates(beta, g, state), state, state, y, state)
    _forward(tensors, (q, y, state), g.ndim == 4)
    return y


def delta_rule_backward(
    dy: Tensor, dstate: Tensor, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor,
    state: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The operator `trilby::delta_rule_backward` on a CPU."""
    T, given = q.shape[1], (q, k, v, beta, g)
    if not T or not state.numel():
        like = torch.contiguous_format
        nothing = (torch.zeros_like(x, memory_format=like) for x in given)
        return *nothing, dstate.to(state.dtype).clone(memory_format=like)
    gates_, dstate, each = _gates(beta, g, state), dstate.to(state.dtype), g.ndim == 4
    e, de, dbeta, before = _columns(dy, dstate, (q, k, v, *gates_), state, each)
    dq, dk, dg = _rows(dy, dstate, (q, k, e, de, *gates_), state, each)
    de, dbeta, dg = (
        d.unflatten(2, (x.shape[2], -1)).sum(3) if d.shape[2] != x.shape[2] else d
        for d, x in ((de, v), (dbeta, beta), (dg, g))
    )
    found = zip((dq, dk, de, dbeta, dg), given, strict=True)
    return *(d.to(x.dtype) for d, x in found), before


def _gates(beta: Tensor, g: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """beta [B, T, n] and g [B, T, n], or by channel [B, T, n, K], in the state's dtype."""
    return gates(beta, state), gates(g, state)


def _forward(
    tensors: tuple[Tensor, ...], kinds: tuple[Tensor, ...], each: bool, back: bool = False
) -> None:
    """FORWARD on q, k, v, the gates, the state and what is to be written."""
    T, state = tensors[0].shape[1], tensors[5]
    program, places = FORWARD, forward_places
    if each:
        program, places = CHANNEL_FORWARD, channel_forward_places
    launch(program, tensors, kinds, size_of(state, T, state.shape[1]), places, back=back)


def _columns(
    dy: Tensor, dstate: Tensor, given: tuple[Tensor, ...], state: Tensor, each: bool
) -> tuple[Tensor, ...]:
    """e again; the gradients of e, which are those of v, of beta and of the state."""
    q, k, v, *gates_ = given
    B, H, _, V = state.shape
    T, size = v.shape[1], size_of(state, v.shape[1], H)
    e, before = fresh(state, (B, T, H, V)), fresh(state, state.shape)
    tensors: Any = (*given, state, before, v, e)  # y is not asked for
    _forward(tensors, (q, q, state), each, back=True)
    de, dbeta = fresh(state, e.shape), state.new_empty(B, T, H, -(-size.columns // size.lanes))
    tensors = (q, k, dy, e, *gates_, dstate, before, de, dbeta)
    program, places = BACK, back_places
    if each:
        program, places = CHANNEL_BACK, channel_back_places
    launch(program, tensors, (q, q, state), size, places)
    return e, de, dbeta.sum(-1), before


def _rows(
    dy: Tensor, dstate: Tensor, given: tuple[Tensor, ...], state: Tensor, each: bool
) -> tuple[Tensor, ...]:
    """The gradients of q, k and the gates."""
    q, k, e, _, _, g = given
    T, H = e.shape[1:3]
    size = size_of(state.mT, T, min(x.shape[2] for x in ((q, k, g) if each else (q, k))))
    shared = state.dtype if any(x.shape[2] != H for x in (q, k)) else q.dtype  # sums of halves
    dq, dk = (fresh(x.new_empty(0, dtype=shared), x.shape) for x in (q, k))
    program, places = ROWS, rows_places
    if each:
        program, places = CHANNEL_ROWS, channel_rows_places
        dg = fresh(state, g.shape)
    else:
        dg = state.new_empty(len(q), T, H, -(-size.columns // size.lanes))
    tensors = (q, k, dy, *given[2:], state.mT, dstate.mT, dq, dk, dg)
    launch(program, tensors, (q, dq, state), size, places)
    return dq, dk, dg if each else dg.sum(-1)
