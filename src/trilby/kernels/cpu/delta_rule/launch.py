"""The delta rule on a CPU: f = a s, s' = f + beta k (v - f^T k)^T, read as y = s'^T q.

A state is [R, W]: q and k run down its rows, v and y along its columns, which stand side by side in
vectors of two registers. Four positions are taken at once. They find what the state before them
holds at their keys, a triangle of six numbers says what they find of each other, and then the state
is written once for all four.

On the way back the gradient of v is the same walk from the end to the beginning. It needs no state.
The gradients of q, k and the gates are walks over the transposed state and over its gradient: the
state is kept at the borders of chunks and computed again inside one chunk at a time. What was
written is computed again first, so that nothing but the arguments is kept for the way back.
"""

import torch
from torch import Tensor

from ..recurrence.launch import fresh, gates, launch, size_of
from .backward import ROWS, rows_places
from .forward import BACK, FORWARD, back_places, forward_places


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The operator `trilby::delta_rule` on a CPU."""
    B, H, _, V = state.shape
    y = fresh(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_(), state.detach().clone(memory_format=torch.contiguous_format)
    after = fresh(state, state.shape)
    gates_ = gates(beta, state), gates(g, state)
    tensors = (q, k, v, *gates_, state, after, y, after)  # e is not asked for
    launch(FORWARD, tensors, (q, y, state), size_of(state, v.shape[1], H), forward_places)
    return y, after


def delta_rule_inplace(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor
) -> Tensor:
    """y, and each number of the state written where it was read."""
    B, H, _, V = state.shape
    y = fresh(v, (B, v.shape[1], H, V))
    if not q.shape[1] or not state.numel():
        return y.zero_()
    tensors = (q, k, v, gates(beta, state), gates(g, state), state, state, y, state)
    launch(FORWARD, tensors, (q, y, state), size_of(state, v.shape[1], H), forward_places)
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
    gates_, dstate = (gates(beta, state), gates(g, state)), dstate.to(state.dtype)
    e, de, dbeta, before = _columns(dy, dstate, (q, k, v), gates_, state)
    dq, dk, dg = _rows(dy, dstate, (q, k, e, de), gates_, state)
    de, dbeta, dg = (
        d.unflatten(2, (x.shape[2], -1)).sum(3) if d.shape[2] != x.shape[2] else d
        for d, x in ((de, v), (dbeta, beta), (dg, g))
    )
    found = zip((dq, dk, de, dbeta, dg), given, strict=True)
    return *(d.to(x.dtype) for d, x in found), before


def _columns(
    dy: Tensor, dstate: Tensor, given: tuple[Tensor, ...], gates_: tuple[Tensor, ...], state: Tensor
) -> tuple[Tensor, ...]:
    """e again; the gradients of e, which are those of v, of beta and of the state."""
    q, k, v = given
    B, H, _, V = state.shape
    T, size = v.shape[1], size_of(state, v.shape[1], H)
    e, before = fresh(state, (B, T, H, V)), fresh(state, state.shape)
    tensors = (q, k, v, *gates_, state, before, v, e)  # y is not asked for
    launch(FORWARD, tensors, (q, q, state), size, forward_places, back=True)
    de, dbeta = fresh(state, e.shape), state.new_empty(B, T, H, -(-size.columns // size.lanes))
    tensors = (q, k, dy, e, *gates_, dstate, before, de, dbeta)
    launch(BACK, tensors, (q, q, state), size, back_places)
    return e, de, dbeta.sum(-1), before


def _rows(
    dy: Tensor, dstate: Tensor, given: tuple[Tensor, ...], gates_: tuple[Tensor, ...], state: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of q, k and the gates."""
    q, k, e, de = given
    (T, H), size = e.shape[1:3], size_of(state.mT, e.shape[1], min(q.shape[2], k.shape[2]))
    shared = state.dtype if any(x.shape[2] != H for x in (q, k)) else q.dtype  # sums of halves
    dq, dk = (fresh(x.new_empty(0, dtype=shared), x.shape) for x in (q, k))
    dg = state.new_empty(len(q), T, H, -(-size.columns // size.lanes))
    tensors = (q, k, dy, e, de, *gates_, state.mT, dstate.mT, dq, dk, dg)
    launch(ROWS, tensors, (q, dq, state), size, rows_places)
    return dq, dk, dg.sum(-1)
