"""Operator contracts: schema, fake, gradient, batching and lazy dispatch. Imports torch alone.

The operators exist before the first `torch.compile` traces anything, on a machine with neither
numba nor triton. An implementation is imported when the dispatcher first runs it.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

DEVICES = ("cpu", "meta")
"""Where the operators run; on `meta` they give shapes and no values."""

Pair = tuple[Tensor, Tensor]
Five = tuple[Tensor, ...]

_LIBRARY = torch.library.Library("trilby", "DEF")


def prefix_mean(x: Tensor, total: Tensor, count: Tensor, first: Tensor | None = None) -> Pair:
    """y_t = (total + x_0 + ... + x_t) / n_t with n_t = count + t + 1, and the new total.

    Shapes: x [B, T, C], total [B, C] float64, count [B] int64, first [B, T] int64, where the
    document of each position began; sums and counts start anew there, and only position 0's has
    the total and the count -> y [B, T, C] like x, total [B, C].
    """
    return _call(_PrefixMean, torch.ops.trilby.prefix_mean.default, x, total, count, first)


def prefix_mean_backward(
    dy: Tensor, dtotal: Tensor, count: Tensor, first: Tensor | None = None
) -> Pair:
    """The transpose of `prefix_mean`: dx_s = dtotal + sum of dy_t / n_t over t >= s.

    Shapes as there. The second result is the gradient of the total that went in.
    """
    operator = torch.ops.trilby.prefix_mean_backward.default
    return _call(_PrefixMeanBackward, operator, dy, dtotal, count, first)


def fading_memory(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Pair:
    """s_t = exp(g_t) s_{t-1} + k_t v_t^T and y_t = s_t^T q_t, and the last s.

    Shapes: q, k [B, T, n, K], v [B, T, n, V], g [B, T, n], each n being H or a number of groups
    that divides it; state [B, H, K, V] float64 beside float64, else float32 -> y [B, T, H, V] and
    the last state.
    """
    return _call(_FadingMemory, torch.ops.trilby.fading_memory.default, q, k, v, g, state)


def _call(transformed: Any, operator: Any, *arguments: Tensor | None) -> Any:
    """Gradients registered for an operator reach neither torch.func nor forward mode."""
    if torch.compiler.is_compiling():
        return operator(*arguments)
    forward = forward_ad._current_level >= 0 and torch._C._is_fwd_grad_enabled()
    if forward or torch._C._are_functorch_transforms_active():
        return transformed.apply(*arguments)
    return operator(*arguments)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001, by name
    ctx.save_for_backward(*inputs)
    ctx.save_for_forward(*inputs)


def _fold(operator: Callable[..., Pair], info: Any, dims: tuple[Any, ...], *arguments: Any) -> Any:
    """Under vmap the mapped axis joins the batch: [N, B, ...] -> [N B, ...] and back."""
    N = info.batch_size
    spread: list[Any] = [
        a if a is None else a.expand(N, *a.shape) if d is None else a.movedim(d, 0)
        for a, d in zip(arguments, dims, strict=True)
    ]
    B = spread[0].shape[1]
    folded = [a if a is None else a.reshape(N * B, *a.shape[2:]) for a in spread]
    found = operator(*folded)
    return tuple(o.unflatten(0, (N, B)) for o in found), (0,) * len(found)


# The two operators of the mean are each other's transpose, so each is the other's gradient, to any
# order, and each is linear in its first two arguments, so it is its own forward derivative.


class _PrefixMean(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, total: Tensor, count: Tensor, first: Tensor | None) -> Pair:
        return prefix_mean(x, total, count, first)

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dtotal: Tensor) -> Any:
        return *prefix_mean_backward(dy, dtotal, *ctx.saved_tensors[2:]), None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, total: Tensor, *_counts: None) -> Pair:
        return prefix_mean(x, total, *ctx.saved_tensors[2:])

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *arguments: Any) -> Any:
        return _fold(prefix_mean, info, dims, *arguments)


class _PrefixMeanBackward(torch.autograd.Function):
    @staticmethod
    def forward(dy: Tensor, dtotal: Tensor, count: Tensor, first: Tensor | None) -> Pair:
        return prefix_mean_backward(dy, dtotal, count, first)

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor, ddtotal: Tensor) -> Any:
        return *prefix_mean(ddx, ddtotal, *ctx.saved_tensors[2:]), None, None

    @staticmethod
    def jvp(ctx: Any, dy: Tensor, dtotal: Tensor, *_counts: None) -> Pair:
        return prefix_mean_backward(dy, dtotal, *ctx.saved_tensors[2:])

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *arguments: Any) -> Any:
        return _fold(prefix_mean_backward, info, dims, *arguments)


# A fading memory is linear in q, in k, in v with the state, so its derivatives are fading memories
# again: of other arguments, or from the end to the beginning. That gives them to any order. The
# operator for its gradient does the same at once, and is taken where no graph of it is wanted.


class _FadingMemory(torch.autograd.Function):
    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Pair:
        return fading_memory(q, k, v, g, state)

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dstate: Tensor) -> Five:
        if torch.is_grad_enabled():
            return _gradients(dy, dstate, *ctx.saved_tensors)
        operator = torch.ops.trilby.fading_memory_backward.default
        return operator(dy, dstate, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Pair:
        return _tangents(ctx.saved_tensors, tangents)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *arguments: Any) -> Any:
        return _fold(fading_memory, info, dims, *arguments)


def _gradients(
    dy: Tensor, dstate: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor
) -> Five:
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


def _tangents(given: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...]) -> Pair:
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


def _mean_kernels() -> Any:
    return import_module("..cpu.prefix_mean", __package__)


def _fading_kernels() -> Any:
    return import_module("..cpu.fading_memory.launch", __package__)


def _operator(name: str, schema: str, fake: Callable[..., Any], kernels: Callable[[], Any]) -> None:
    """Schema, fake and kernel of one operator; the kernel is imported when it first runs."""

    def launch(*arguments: Any) -> Any:
        return getattr(kernels(), name)(*arguments)

    _LIBRARY.define(f"{name}{schema}")
    torch.library.register_fake(f"trilby::{name}", fake, lib=_LIBRARY)
    _LIBRARY.impl(name, launch, "CPU")


def _differentiable(name: str, backward: Callable[..., Any]) -> None:
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001, by name
        ctx.save_for_backward(*inputs)

    torch.library.register_autograd(f"trilby::{name}", backward, setup_context=keep, lib=_LIBRARY)


def _mean_fake(x: Tensor, total: Tensor, _count: Tensor, _first: Tensor | None = None) -> Pair:
    return torch.empty_like(x), total.new_empty(total.shape)


def _fading_fake(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor) -> Pair:  # noqa: ARG001
    B, H, _, V = state.shape
    return v.new_empty(B, v.shape[1], H, V), state.new_empty(state.shape)


def _fading_backward_fake(_dy: Tensor, _dstate: Tensor, *inputs: Tensor) -> Five:
    return tuple(x.new_empty(x.shape) for x in inputs)


def _twice(ctx: Any, *seeds: Tensor) -> tuple[Tensor | None, ...]:
    """The gradient of the gradient, by way of the one that is made of fading memories."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [
            x if graph and x.requires_grad else x.detach().requires_grad_()
            for x in ctx.saved_tensors
        ]
        return torch.autograd.grad(
            _gradients(*leaves), leaves, seeds, allow_unused=True, create_graph=graph
        )


_operator(
    "prefix_mean", "(Tensor x, Tensor total, Tensor count, Tensor? first=None) -> (Tensor, Tensor)",
    _mean_fake, _mean_kernels,
)  # fmt: skip
_operator(
    "prefix_mean_backward",
    "(Tensor dy, Tensor dtotal, Tensor count, Tensor? first=None) -> (Tensor, Tensor)",
    _mean_fake, _mean_kernels,
)  # fmt: skip
_operator(
    "fading_memory",
    "(Tensor q, Tensor k, Tensor v, Tensor g, Tensor state) -> (Tensor, Tensor)",
    _fading_fake, _fading_kernels,
)  # fmt: skip
_operator(
    "fading_memory_backward",
    "(Tensor dy, Tensor dstate, Tensor q, Tensor k, Tensor v, Tensor g, Tensor state)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _fading_backward_fake, _fading_kernels,
)  # fmt: skip
_differentiable("prefix_mean", _PrefixMean.backward)
_differentiable("prefix_mean_backward", _PrefixMeanBackward.backward)
_differentiable("fading_memory", _FadingMemory.backward)
_differentiable("fading_memory_backward", _twice)
