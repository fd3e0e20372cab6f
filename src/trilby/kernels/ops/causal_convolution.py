"""The operators of a short causal convolution of each channel, with silu if asked.

Its gradients of a higher order are those of shifted products in torch. The operator for its
gradient computes the first order in one pass. It is taken where no graph of it is wanted.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...state import wide
from .operator import Operator, one_by_one, through

Pair = tuple[Tensor, Tensor]
Some = tuple[Any, ...]


def causal_convolution(
    x: Tensor, kernel: Tensor, bias: Tensor, state: Tensor, low: Tensor | None, silu: bool
) -> Pair:
    """z_t = bias + kernel_0 u_t + ... + kernel_{W-1} u_{t+W-1} with u = (state, x), or silu of z.

    Shapes: x [B, T, C], kernel [C, W], bias [C], state [B, W-1, C] like x, low [B, T+1] int64: how
    many of the earliest numbers position t leaves out, because its document began after them; and
    the same for the state after all positions, where they become 0 -> y [B, T, C] like x, and the
    last W-1 of u.
    """
    return FORWARD(x, kernel, bias, state, low, silu)


def _gradient(inputs: Some, seeds: Some) -> Some:
    found = (_gradients if torch.is_grad_enabled() else BACKWARD)(*seeds, *inputs)
    return *found, None, None


def _gradients(
    dy: Tensor, dafter: Tensor, x: Tensor, kernel: Tensor, bias: Tensor, state: Tensor,
    low: Tensor | None, silu: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The gradients as shifted products."""
    T, W = x.shape[1], kernel.shape[1]
    given, k, b = _wide(x, state, kernel, bias)
    dz = dy.to(given.dtype)
    if silu:
        dz = dz * _slope(_convolved(given, k, b, low, T))
    dgiven = pad(_kept(dafter.to(given.dtype), low, T), (0, 0, T, 0))
    dkernel = []
    for j in range(W):
        taken = _taken(dz, low, j, T)
        dkernel.append((taken * given[:, j : j + T]).sum((0, 1)))
        dgiven = dgiven + pad(taken * k[:, j], (0, 0, j, W - 1 - j))
    dx, dstate = dgiven[:, W - 1 :], dgiven[:, : W - 1]
    found = dx, torch.stack(dkernel, 1), dz.sum((0, 1)), dstate
    return tuple(d.to(g.dtype) for d, g in zip(found, (x, kernel, bias, state), strict=True))


def _tangent(inputs: Some, tangents: Some) -> Pair:
    """What the results move by when the arguments move by the tangents."""
    x, kernel, bias, state, low, silu = inputs
    moved = [
        torch.zeros_like(x) if t is None else t for x, t in zip(inputs[:4], tangents, strict=False)
    ]
    T = x.shape[1]
    given, k, b = _wide(x, state, kernel, bias)
    dgiven, dk, db = _wide(moved[0], moved[3], moved[1], moved[2])
    dz = _convolved(given, dk, db, low, T) + _convolved(dgiven, k, 0 * db, low, T)
    if silu:
        dz = dz * _slope(_convolved(given, k, b, low, T))
    return dz.to(x.dtype), _kept(dgiven[:, T:], low, T).to(x.dtype)


def _wide(x: Tensor, state: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u = (state, x), kernel and bias in the dtype in which they are computed with."""
    dtype = wide(x.dtype)
    return torch.cat([state, x], 1).to(dtype), kernel.to(dtype), bias.to(dtype)


def _convolved(given: Tensor, kernel: Tensor, bias: Tensor, low: Tensor | None, T: int) -> Tensor:
    taps = (_taken(given[:, j : j + T], low, j, T) * k for j, k in enumerate(kernel.unbind(1)))
    return sum(taps, bias)


def _taken(x: Tensor, low: Tensor | None, j: int, T: int) -> Tensor:
    """x [B, T, C] where position t takes its number j, else 0."""
    return x if low is None else x.masked_fill((low[:, :T] > j)[..., None], 0)


def _kept(after: Tensor, low: Tensor | None, T: int) -> Tensor:
    """The numbers of a state [B, W-1, C] that belong to the last document, else 0."""
    if low is None:
        return after
    number = torch.arange(after.shape[1], device=after.device)
    return after.masked_fill((low[:, T:] > number)[..., None], 0)


def _slope(z: Tensor) -> Tensor:
    s = z.sigmoid()
    return s * (1 + z * (1 - s))


def _fake(
    x: Tensor, _kernel: Tensor, _bias: Tensor, state: Tensor, _low: Tensor | None, _silu: bool
) -> Pair:
    return torch.empty_like(x), state.new_empty(state.shape)


def _backward_fake(
    _dy: Tensor, _dafter: Tensor, x: Tensor, kernel: Tensor, bias: Tensor, state: Tensor,
    _low: Tensor | None, _silu: bool,
) -> Some:  # fmt: skip
    return torch.empty_like(x), *(t.new_empty(t.shape) for t in (kernel, bias, state))


FORWARD = Operator(
    "causal_convolution(Tensor x, Tensor kernel, Tensor bias, Tensor state, Tensor? low, bool silu)"
    " -> (Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.causal_convolution.launch"},
    gradient=_gradient,
    tangent=_tangent,
    batched=one_by_one,
)
BACKWARD = Operator(
    "causal_convolution_backward(Tensor dy, Tensor dafter, Tensor x, Tensor kernel, Tensor bias,"
    " Tensor state, Tensor? low, bool silu) -> (Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.causal_convolution.launch"},
    gradient=through(_gradients),
    tangent=None,  # where forward mode is wanted, gradients are shifted products
    batched=one_by_one,
)
