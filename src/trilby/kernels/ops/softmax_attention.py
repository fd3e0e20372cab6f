"""The operators of softmax attention: of queries that look at a past and at each other.

Its gradient of the first order is computed for some queries at a time, so it keeps no triangle.
Where a graph of the gradient is wanted, or forward mode, both are made of torch operations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from ...algebra.attention import Look, as_heads, attended, looked
from ...shapes import unmixed
from ...state import wide
from .operator import Operator, one_by_one, through

Pair = tuple[Tensor, Tensor]
Some = tuple[Any, ...]
SIZE = 256  # of a block in torch operations


class Call(NamedTuple):
    """What the operator takes.

    Keys are those of a past, then those of the call. Without `place` and `low` there is no past,
    and every query sees itself and all before it, as far as the window lets it.
    """

    q: Tensor  # [B, T, n, K], n being H or a number of groups that divides it, as for all others
    k: Tensor  # [B, N, n, K]
    v: Tensor  # [B, N, n, V]
    place: Tensor | None  # [B or 1, N]
    low: Tensor | None  # [B or 1, T]
    sinks: Tensor | None  # [n]
    slopes: Tensor | None  # [n]
    scale: float
    cap: float  # 0: none
    window: int  # 0: none

    @property
    def heads(self) -> int:
        """H."""
        every = [x.shape[2] for x in self[:3]]
        return max(every + [b.shape[0] for b in (self.sinks, self.slopes) if b is not None])

    @property
    def limit(self) -> int | None:
        """The window, or None."""
        return self.window or None

    def look(self) -> Look:
        """The call in the dtype to compute in, in groups of heads."""
        place, low = self.place, self.low
        if place is None or low is None:
            place = torch.arange(self.k.shape[1], device=self.k.device)[None]
            low = (place - self.window + 1 if self.window else 0 * place).clamp(min=0)
        bias = self.sinks, self.slopes
        return looked(self[:3], bias, (place, low), self.scale, self.cap or None)


def softmax_attention(*call: Any) -> Tensor:
    """y [B, T, H, V] of a `Call`, in the dtype of v."""
    found: Pair = FORWARD(*call)
    return found[0]


def _in_torch(*call: Any) -> Tensor:
    """The same in torch operations, which have derivatives of any order in both modes."""
    given = Call(*call)
    with unmixed(given.q):
        look = given.look()
        return as_heads(attended(look, SIZE, given.limit), look, given.v)


def _bound(call: Some) -> tuple[Callable[..., Tensor], list[int]]:
    """y as a function of the floating tensors alone, and where they stand."""
    at = [i for i, x in enumerate(call) if isinstance(x, Tensor) and x.is_floating_point()]

    def function(*leaves: Tensor) -> Tensor:
        given = dict(zip(at, leaves, strict=True))
        return _in_torch(*(given.get(i, x) for i, x in enumerate(call)))

    return function, at


def _gradient(call: Some, seeds: Some, results: Some) -> Some:
    way = _gradients if torch.is_grad_enabled() else BACKWARD
    dq, dk, dv, dsinks, dslopes = way(seeds[0], *results, *call)
    given = Call(*call)
    bias = (None if b is None else d for b, d in ((given.sinks, dsinks), (given.slopes, dslopes)))
    return dq, dk, dv, None, None, *bias, None, None, None


def _gradients(dy: Tensor, _y: Tensor, _log: Tensor, *call: Any) -> Some:
    """The gradients in torch operations, which have gradients themselves."""
    function, at = _bound(call)
    found = dict(zip(at, vjp(function, *(call[i] for i in at))[1](dy), strict=True))
    return tuple(found[i] if i in found else dy.flatten()[:0] for i in (0, 1, 2, 5, 6))


def _tangent(call: Some, tangents: Some) -> tuple[Tensor, None]:
    """What y moves by: the gradient is linear in its seed, and this is its transpose."""
    function, at = _bound(call)
    leaves = [call[i] for i in at]
    moved = [
        torch.zeros_like(x) if tangents[i] is None else tangents[i]
        for i, x in zip(at, leaves, strict=True)
    ]
    y, back = vjp(function, *leaves)[:2]
    (dy,) = vjp(back, torch.zeros_like(y))[1](tuple(moved))
    return dy, None


def _fake(*call: Any) -> Pair:
    given = Call(*call)
    B, T, V = given.q.shape[0], given.q.shape[1], given.v.shape[3]
    return given.v.new_empty(B, T, given.heads, V), _log_of(given)


def _log_of(given: Call) -> Tensor:
    size = given.q.shape[0], given.heads, given.q.shape[1]
    return given.q.new_zeros(size, dtype=wide(given.q.dtype))


def _backward_fake(_dy: Tensor, _y: Tensor, _log: Tensor, *call: Any) -> Some:
    given = Call(*call)
    bias = (given.q.new_empty(0) if b is None else b.new_empty(b.shape)
            for b in (given.sinks, given.slopes))  # fmt: skip
    return *(x.new_empty(x.shape) for x in given[:3]), *bias


_TAKES = (
    "Tensor q, Tensor k, Tensor v, Tensor? place, Tensor? low, Tensor? sinks, Tensor? slopes,"
    " float scale, float cap, int window"
)
FORWARD = Operator(
    f"softmax_attention({_TAKES}) -> (Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.softmax_attention.launch"},
    gradient=_gradient,
    tangent=_tangent,
    batched=one_by_one,
    keeps=True,
)
BACKWARD = Operator(
    f"softmax_attention_backward(Tensor dy, Tensor y, Tensor log, {_TAKES})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.softmax_attention.launch"},
    gradient=through(_gradients),
    tangent=None,  # where forward mode is wanted, gradients are made in torch operations
    batched=one_by_one,
)
