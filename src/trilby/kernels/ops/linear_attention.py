"""The operators of linear attention.

The operator for its gradient computes the first order in three passes. It is taken where no graph
of the gradient is wanted. Else the gradient is that of fading memories in which nothing fades, and
these have gradients of any order.
"""

from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

from .fading_memory import fading_memory
from .operator import Operator, through

Some = tuple[Any, ...]
Results = tuple[Tensor, Tensor, Tensor]


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, memory: Tensor, keys: Tensor, begins: Tensor | None,
    normalize: bool,
) -> Results:  # fmt: skip
    """s_t = s_{t-1} + k_t v_t^T and z_t = z_{t-1} + k_t, read as y_t = s_t^T q_t / (z_t . q_t).

    Shapes: q, k [B, T, n, K], v [B, T, n, V], each n being H or a number of groups that divides it;
    memory [B, H, K, V] and keys [B, H, K] float64; begins [B, T] bool: before which positions both
    become 0 -> y [B, T, H, V] like v, 0 where z_t . q_t is 0, and the last s and z. Without
    `normalize` nothing is divided.
    """
    return FORWARD(q, k, v, memory, keys, begins, normalize)


def _in_memories(begins: Tensor | None, normalize: bool) -> Any:
    """The same as fading memories, which have derivatives of any order in both modes."""

    def of(q: Tensor, k: Tensor, v: Tensor, memory: Tensor, keys: Tensor) -> Results:
        wide = memory.dtype
        g = torch.zeros((), dtype=wide, device=q.device).expand(*q.shape[:2], memory.shape[1])
        g = g if begins is None else g.masked_fill(begins[..., None], -torch.inf)
        read, after = fading_memory(q.to(wide), k.to(wide), v.to(wide), g, memory)
        one = torch.ones_like(g)[..., None]
        sums, summed = fading_memory(q.to(wide), k.to(wide), one, g, keys[..., None])
        nothing = sums == 0
        y = (read / sums.masked_fill(nothing, 1)).masked_fill(nothing, 0) if normalize else read
        return y.to(v.dtype), after, summed[..., 0]

    return of


def _gradient(inputs: Some, seeds: Some) -> Some:
    found = (_gradients if torch.is_grad_enabled() else BACKWARD)(*seeds, *inputs)
    return *found, None, None


def _gradients(dy: Tensor, dmemory: Tensor, dkeys: Tensor, *inputs: Any) -> Some:
    """The gradients as fading memories, which have gradients themselves."""
    return tuple(vjp(_in_memories(*inputs[5:]), *inputs[:5])[1]((dy, dmemory, dkeys)))


def _tangent(inputs: Some, tangents: Some) -> Any:
    """What the results move by: the gradient is linear in its seeds, and this is its transpose."""
    given = inputs[:5]
    moved = [
        torch.zeros_like(x) if d is None else d for x, d in zip(given, tangents[:5], strict=True)
    ]
    results, back = vjp(_in_memories(*inputs[5:]), *given)[:2]
    forth = vjp(back, tuple(torch.zeros_like(x) for x in results))[1]
    return forth(tuple(moved))[0]


def _fake(
    q: Tensor, _k: Tensor, v: Tensor, memory: Tensor, keys: Tensor, _begins: Tensor | None,
    _normalize: bool,
) -> Results:  # fmt: skip
    B, H, _, V = memory.shape
    y = v.new_empty(B, q.shape[1], H, V)
    return y, memory.new_empty(memory.shape), keys.new_empty(keys.shape)


def _backward_fake(_dy: Tensor, _dmemory: Tensor, _dkeys: Tensor, *inputs: Any) -> Some:
    return tuple(x.new_empty(x.shape) for x in inputs[:5])


FORWARD = Operator(
    "linear_attention(Tensor q, Tensor k, Tensor v, Tensor memory, Tensor keys, Tensor? begins,"
    " bool normalize) -> (Tensor, Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.linear_attention.launch"},
    gradient=_gradient,
    tangent=_tangent,
)
BACKWARD = Operator(
    "linear_attention_backward(Tensor dy, Tensor dmemory, Tensor dkeys, Tensor q, Tensor k,"
    " Tensor v, Tensor memory, Tensor keys, Tensor? begins, bool normalize)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.linear_attention.launch"},
    gradient=through(_gradients),
    tangent=None,  # where forward mode is wanted, gradients are made of fading memories
)
