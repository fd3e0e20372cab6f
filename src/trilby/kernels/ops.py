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

_LIBRARY = torch.library.Library("trilby", "DEF")


def prefix_mean(x: Tensor, total: Tensor, count: Tensor) -> Pair:
    """y_t = (total + x_0 + ... + x_t) / n_t with n_t = count + t + 1, and the new total.

    Shapes: x [B, T, C], total [B, C] float64, count [B] int64 -> y [B, T, C] like x, total [B, C].
    """
    return _call(_PrefixMean, torch.ops.trilby.prefix_mean.default, x, total, count)


def prefix_mean_backward(dy: Tensor, dtotal: Tensor, count: Tensor) -> Pair:
    """The transpose of `prefix_mean`: dx_s = dtotal + sum of dy_t / n_t over t >= s.

    Shapes as there. The second result is the gradient of the total that went in.
    """
    return _call(
        _PrefixMeanBackward, torch.ops.trilby.prefix_mean_backward.default, dy, dtotal, count
    )


def _call(transformed: Any, operator: Any, *arguments: Tensor) -> Any:
    """Gradients registered for an operator reach neither torch.func nor forward mode."""
    if torch.compiler.is_compiling():
        return operator(*arguments)
    forward = forward_ad._current_level >= 0 and torch._C._is_fwd_grad_enabled()
    if forward or torch._C._are_functorch_transforms_active():
        return transformed.apply(*arguments)
    return operator(*arguments)


# The two operators are each other's transpose, so each is the other's gradient, to any order, and
# each is linear in its first two arguments, so it is its own forward derivative.


def _keep_count(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:  # noqa: ARG001, by name
    ctx.save_for_backward(inputs[2])
    ctx.save_for_forward(inputs[2])


def _fold(
    operator: Callable[..., Pair], info: Any, dims: tuple[Any, ...], *arguments: Tensor
) -> tuple[Pair, tuple[int, int]]:
    """Under vmap the mapped axis joins the batch: [N, B, ...] -> [N B, ...] and back."""
    N = info.batch_size
    spread = [
        a.expand(N, *a.shape) if d is None else a.movedim(d, 0)
        for a, d in zip(arguments, dims, strict=True)
    ]
    folded = [a.reshape(N * a.shape[1], *a.shape[2:]) for a in spread]
    y, total = operator(*folded)
    return (y.view(spread[0].shape), total.view(spread[1].shape)), (0, 0)


class _PrefixMean(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, total: Tensor, count: Tensor) -> Pair:
        return prefix_mean(x, total, count)

    setup_context = staticmethod(_keep_count)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dtotal: Tensor) -> tuple[Tensor, Tensor, None]:
        return *prefix_mean_backward(dy, dtotal, *ctx.saved_tensors), None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, total: Tensor, _count: None) -> Pair:
        return prefix_mean(x, total, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *arguments: Tensor) -> Any:
        return _fold(prefix_mean, info, dims, *arguments)


class _PrefixMeanBackward(torch.autograd.Function):
    @staticmethod
    def forward(dy: Tensor, dtotal: Tensor, count: Tensor) -> Pair:
        return prefix_mean_backward(dy, dtotal, count)

    setup_context = staticmethod(_keep_count)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor, ddtotal: Tensor) -> tuple[Tensor, Tensor, None]:
        return *prefix_mean(ddx, ddtotal, *ctx.saved_tensors), None

    @staticmethod
    def jvp(ctx: Any, dy: Tensor, dtotal: Tensor, _count: None) -> Pair:
        return prefix_mean_backward(dy, dtotal, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], *arguments: Tensor) -> Any:
        return _fold(prefix_mean_backward, info, dims, *arguments)


def _define(name: str, arguments: str, function: type[torch.autograd.Function]) -> None:
    """Schema, fake, gradient and kernel of one operator of this family."""

    def fake(x: Tensor, total: Tensor, _count: Tensor) -> Pair:
        return torch.empty_like(x), total.new_empty(total.shape)

    def launch(*arguments: Tensor) -> Any:
        return getattr(import_module(".numba_mean", __package__), name)(*arguments)

    def keep(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:  # noqa: ARG001, by name
        ctx.save_for_backward(inputs[2])

    _LIBRARY.define(f"{name}({arguments}) -> (Tensor, Tensor)")
    torch.library.register_fake(f"trilby::{name}", fake, lib=_LIBRARY)
    torch.library.register_autograd(
        f"trilby::{name}", function.backward, setup_context=keep, lib=_LIBRARY
    )
    _LIBRARY.impl(name, launch, "CPU")


_define("prefix_mean", "Tensor x, Tensor total, Tensor count", _PrefixMean)
_define("prefix_mean_backward", "Tensor dy, Tensor dtotal, Tensor count", _PrefixMeanBackward)
