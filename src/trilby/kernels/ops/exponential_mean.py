"""The operators of an exponential moving average.

Its gradients of a higher order, and forward mode, are those of torch operations, position by
position. The operator for its gradient computes the first order in two passes. It is taken where no
graph of it is wanted.
"""

from typing import Any

import torch
from torch import Tensor

from .in_torch import InTorch
from .operator import Operator, one_by_one, through

Three = tuple[Tensor, Tensor, Tensor]
Some = tuple[Any, ...]


def exponential_mean(
    x: Tensor, a: Tensor, total: Tensor, weight: Tensor, begins: Tensor | None, adjust: bool
) -> Three:
    """h_t = a h_{t-1} + gain x_t, w_t = a w_{t-1} + gain and y_t = h_t / w_t, and the last h and w.

    The gain is 1 where w is still 0, and with `adjust`; else it is 1 - a.

    Shapes: x [B, T, C], a [C], total and weight [B, C], all three in one dtype, that of the sums;
    begins [B, T] bool: before which positions h and w become 0 -> y [B, T, C] like x, h and w.
    """
    return FORWARD(x, a, total, weight, begins, adjust)


def _gradient(inputs: Some, seeds: Some) -> Some:
    found = (DERIVED.gradients if torch.is_grad_enabled() else BACKWARD)(*seeds, *inputs)
    return *found, None, None


def _in_torch(
    x: Tensor, a: Tensor, h: Tensor, w: Tensor, begins: Tensor | None, adjust: bool
) -> Three:
    """The same in torch operations."""
    y = []
    for t in range(x.shape[1]):
        if begins is not None:
            h, w = (z.masked_fill(begins[:, t, None], 0) for z in (h, w))
        gain = torch.ones_like(w) if adjust else torch.where(w == 0, 1, 1 - a)
        h, w = a * h + gain * x[:, t].to(h.dtype), a * w + gain
        y.append(h / w)
    return torch.stack(y, 1).to(x.dtype) if y else x.clone(), h, w


DERIVED = InTorch(_in_torch, tensors=4, results=3)


def _fake(
    x: Tensor, _a: Tensor, total: Tensor, weight: Tensor, _begins: Tensor | None, _adjust: bool
) -> Three:
    return torch.empty_like(x), total.new_empty(total.shape), weight.new_empty(weight.shape)


def _backward_fake(
    _dy: Tensor, _dtotal: Tensor, _dweight: Tensor, x: Tensor, a: Tensor, total: Tensor,
    weight: Tensor, _begins: Tensor | None, _adjust: bool,
) -> Some:  # fmt: skip
    return tuple(t.new_empty(t.shape) for t in (x, a, total, weight))


FORWARD = Operator(
    "exponential_mean(Tensor x, Tensor a, Tensor total, Tensor weight, Tensor? begins, bool adjust)"
    " -> (Tensor, Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.exponential_mean"},
    gradient=_gradient,
    tangent=DERIVED.tangent,
    batched=one_by_one,
)
BACKWARD = Operator(
    "exponential_mean_backward(Tensor dy, Tensor dtotal, Tensor dweight, Tensor x, Tensor a,"
    " Tensor total, Tensor weight, Tensor? begins, bool adjust)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.exponential_mean"},
    gradient=through(DERIVED.gradients),
    tangent=None,  # where forward mode is wanted, gradients are torch operations
    batched=one_by_one,
)
