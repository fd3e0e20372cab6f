"""The operators of the delta rule.

Its gradient is no delta rule again: one kernel computes it. Where a graph of the gradient is
wanted, or forward mode, both are made of the chunks in `algebra.delta`, in torch operations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

from ...algebra.delta import chunked, seen, seen_by_channel
from ...algebra.groups import grouped, ungrouped
from ...shapes import unmixed
from .operator import Operator, through

Pair = tuple[Tensor, Tensor]
Some = tuple[Any, ...]
SIZE = 64  # of a chunk in torch operations


def delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor) -> Pair:
    """f_t = diag(exp(g_t)) s_{t-1}, s_t = f_t + beta_t k_t (v_t - f_t^T k_t)^T, y_t = s_t^T q_t.

    Shapes: q, k [B, T, n, K], v [B, T, n, V], beta [B, T, n], g [B, T, n], or by channel
    [B, T, n, K], each n being H or a number of groups that divides it; state [B, H, K, V] float64
    beside float64, else float32 -> y [B, T, H, V] and the last state.
    """
    return FORWARD(q, k, v, beta, g, state)


def delta_rule_inplace(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor
) -> Tensor:
    """y of the same, and `state` overwritten; no operator of torch: where `InPlace` says so."""
    from ..cpu.delta_rule.launch import delta_rule_inplace as launched

    return launched(q, k, v, beta, g, state)


def _in_torch(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor) -> Pair:
    """The same in torch operations, which have derivatives of any order in both modes."""
    *sequences, h = grouped(state, q, k, v, beta, g)
    with unmixed(q):
        y, h = chunked(seen if g.ndim == 3 else seen_by_channel, sequences, h, SIZE)
    return ungrouped(y, v, h)


def _gradient(inputs: Some, seeds: Some) -> Some:
    if torch.is_grad_enabled():
        return _gradients(*seeds, *inputs)
    return BACKWARD(*seeds, *inputs)


def _gradients(dy: Tensor, dstate: Tensor, *inputs: Tensor) -> Some:
    """The gradients in torch operations, which have gradients themselves."""
    back = vjp(_in_torch, *inputs)[1]
    return back((dy, dstate))


def _tangent(given: Some, tangents: Some) -> Pair:
    """What the results move by: the gradient is linear in its seeds, and this is its transpose."""
    moved = [torch.zeros_like(x) if d is None else d for x, d in zip(given, tangents, strict=True)]
    results, back = vjp(_in_torch, *given)[:2]
    forth = vjp(back, tuple(torch.zeros_like(x) for x in results))[1]
    return forth(tuple(moved))[0]


def _fake(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor  # noqa: ARG001
) -> Pair:  # fmt: skip
    B, H, _, V = state.shape
    return v.new_empty(B, v.shape[1], H, V), state.new_empty(state.shape)


def _backward_fake(_dy: Tensor, _dstate: Tensor, *inputs: Tensor) -> Some:
    return tuple(x.new_empty(x.shape) for x in inputs)


FORWARD = Operator(
    "delta_rule(Tensor q, Tensor k, Tensor v, Tensor beta, Tensor g, Tensor state)"
    " -> (Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.delta_rule.launch"},
    gradient=_gradient,
    tangent=_tangent,
)
BACKWARD = Operator(
    "delta_rule_backward(Tensor dy, Tensor dstate, Tensor q, Tensor k, Tensor v, Tensor beta,"
    " Tensor g, Tensor state) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.delta_rule.launch"},
    gradient=through(_gradients),
    tangent=None,  # where forward mode is wanted, gradients are made in torch operations
)
