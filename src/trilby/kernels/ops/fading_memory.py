"""The operators of a fading memory.

It is linear in q, in k, and in v together with the state, so its derivatives are fading memories
again: of other arguments, or from the end to the beginning. That gives them to any order. The
operator for its gradient computes the same in one pass. It is taken where no
graph of the gradient is wanted.
"""

from typing import Any

import torch
from torch import Tensor

from .operator import Operator, through

Pair = tuple[Tensor, Tensor]
Some = tuple[Any, ...]


def fading_memory(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Pair:
    """s_t = exp(g_t) s_{t-1} + k_t v_t^T and y_t = s_t^T q_t, and the last s.

    Shapes: q, k [B, T, n, K], v [B, T, n, V], g [B, T, n], each n being H or a number of groups
    that divides it; state [B, H, K, V] float64 beside float64, else float32 -> y [B, T, H, V] and
    the last state.
    """
    return FORWARD(q, k, v, g, state)


def fading_memory_inplace(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Tensor:
    """y of the same, and `state` overwritten; no operator of torch: where `InPlace` says so."""
    from ..cpu.fading_memory.launch import fading_memory_inplace as launched

    return launched(q, k, v, g, state)


def _gradient(inputs: Some, seeds: Some) -> Some:
    if torch.is_grad_enabled():
        return _gradients(*seeds, *inputs)
    return BACKWARD(*seeds, *inputs)


def _gradients(
    dy: Tensor, dstate: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor
) -> Some:
    """The gradients as fading memories, which have gradients themselves."""
    H, wide = state.shape[1], state.dtype
    if not q.shape[1]:
        return *(torch.zeros_like(x) for x in (q, k, v, g)), dstate
    dy, q_, k_, v_, g_ = (x.to(wide) for x in (dy, q, k, v, g))
    late = torch.cat([torch.zeros_like(g_[:, :1]), g_.flip(1)[:, :-1]], 1)
    bq, bk, bv, by = (x.flip(1) for x in (q_, k_, v_, dy))
    dq = fading_memory(dy, v_, k_, g_, state.mT)[0]  # [B, T, H, K]
    dk = fading_memory(bv, by, bq, late, dstate.mT)[0].flip(1)
    dv, before = fading_memory(bk, bq, by, late, dstate)
    _, after = fading_memory(q_, k_, v_, g_, state)
    moved = (_heads(q_, H) * dq - _heads(k_, H) * dk).sum(-1)  # [B, T, H], summed from the end
    dg = (moved.flip(1).cumsum(1).flip(1) + (dstate * after).sum((-1, -2))[:, None]) * (
        _heads(g_, H).exp() > 0
    )
    shared = zip((dq, dk, dv.flip(1), dg), (q, k, v, g), strict=True)
    dq, dk, dv, dg = (d.unflatten(2, (x.shape[2], -1)).sum(3).to(x.dtype) for d, x in shared)
    return dq, dk, dv, dg, before * _heads(g_[:, :1], H)[:, 0, :, None, None].exp()


def _tangent(given: Some, tangents: Some) -> Pair:
    """What the results move by when the arguments move by the tangents."""
    q, k, v, g, state = given
    pairs = zip(given, tangents, strict=True)
    dq, dk, dv, dg, dstate = (torch.zeros_like(x) if d is None else d for x, d in pairs)
    if not q.shape[1]:
        return v.new_zeros(v.shape[0], 0, state.shape[1], v.shape[3]), dstate.clone()
    H, wide = state.shape[1], state.dtype
    dtype, (q, k, v, dq, dk, dv) = v.dtype, [x.to(wide) for x in (q, k, v, dq, dk, dv)]
    moved = (dg.to(wide) * (g.exp() > 0)).cumsum(1)  # [B, T, n], of the sum of logarithms so far
    moved = _heads(moved, H)[..., None]
    y, after = fading_memory(q, k, v, g, state)
    y1, _ = fading_memory(dq, k, v, g, state)
    y2, after2 = fading_memory(q, _heads(dk, H) - moved * _heads(k, H), v, g, state * 0)
    y3, after3 = fading_memory(q, k, dv, g, dstate)
    total = after * moved[:, -1, :, None] + after2 + after3
    return (y * moved + y1 + y2 + y3).to(dtype), total


def _heads(x: Tensor, H: int) -> Tensor:
    """Every head's own, where groups of heads share one."""
    return x if x.shape[2] == H else x.repeat_interleave(H // x.shape[2], 2)


def _fake(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Pair:  # noqa: ARG001
    B, H, _, V = state.shape
    return v.new_empty(B, v.shape[1], H, V), state.new_empty(state.shape)


def _backward_fake(_dy: Tensor, _dstate: Tensor, *inputs: Tensor) -> Some:
    return tuple(x.new_empty(x.shape) for x in inputs)


FORWARD = Operator(
    "fading_memory(Tensor q, Tensor k, Tensor v, Tensor g, Tensor state) -> (Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.fading_memory.launch"},
    gradient=_gradient,
    tangent=_tangent,
)
BACKWARD = Operator(
    "fading_memory_backward(Tensor dy, Tensor dstate, Tensor q, Tensor k, Tensor v, Tensor g,"
    " Tensor state) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.fading_memory.launch"},
    gradient=through(_gradients),
    tangent=None,  # where forward mode is wanted, gradients are made of fading memories
)
