"""The operators of a weighted mean.

Its gradients of a higher order, and forward mode, are those of torch operations, position by
position. The operator for its gradient computes the first order in two passes. It is taken where no
graph of it is wanted.
"""

from typing import Any

import torch
from torch import Tensor

from .in_torch import InTorch
from .operator import Operator, through

Four = tuple[Tensor, Tensor, Tensor, Tensor]
Some = tuple[Any, ...]


def weighted_mean(
    x: Tensor, s: Tensor, peak: Tensor, total: Tensor, weight: Tensor, begins: Tensor | None
) -> Four:
    """The mean of x so far with weights exp(s), the largest s, and both sums over exp(peak).

    Shapes: x and s [B, T, n], n being C or a number of groups that divides it; peak, total and
    weight [B, C], all in one dtype, that of the sums; begins [B, T] bool: before which positions
    nothing counts any more -> y [B, T, C] in the dtype of x, peak, total and weight.
    """
    return FORWARD(x, s, peak, total, weight, begins)


def _gradient(inputs: Some, seeds: Some) -> Some:
    found = (DERIVED.gradients if torch.is_grad_enabled() else BACKWARD)(*seeds, *inputs)
    return *found, None


def _in_torch(
    x: Tensor, s: Tensor, peak: Tensor, total: Tensor, weight: Tensor, begins: Tensor | None
) -> Four:
    """The same in torch operations."""
    y, C = [], peak.shape[1]
    values, scores = (
        t.to(total.dtype).repeat_interleave(C // max(t.shape[2], 1), 2) for t in (x, s)
    )
    for t in range(x.shape[1]):
        if begins is not None:
            total, weight = (z.masked_fill(begins[:, t, None], 0) for z in (total, weight))
        now, old = scores[:, t], peak.masked_fill(weight == 0, -torch.inf)
        peak = torch.where(now > old, now, old)
        peak = peak.masked_fill(peak == -torch.inf, 0)
        kept, counts = (old - peak).exp(), (now - peak).exp()
        total, weight = kept * total + counts * values[:, t], kept * weight + counts
        nothing = weight == 0
        y.append((total / weight.masked_fill(nothing, 1)).masked_fill(nothing, 0))
    return (torch.stack(y, 1) if y else values).to(x.dtype, copy=True), peak, total, weight


DERIVED = InTorch(_in_torch, tensors=5, results=4)


def _fake(
    x: Tensor, _s: Tensor, peak: Tensor, total: Tensor, weight: Tensor, _begins: Tensor | None
) -> Four:
    B, C = peak.shape
    y = torch.empty_like(x) if x.shape[2] == C else x.new_empty(B, x.shape[1], C)
    return y, peak.new_empty(B, C), total.new_empty(B, C), weight.new_empty(B, C)


def _backward_fake(
    _dy: Tensor, _dpeak: Tensor, _dtotal: Tensor, _dweight: Tensor, *inputs: Any
) -> Some:
    return tuple(t.new_empty(t.shape) for t in inputs[:5])


FORWARD = Operator(
    "weighted_mean(Tensor x, Tensor s, Tensor peak, Tensor total, Tensor weight, Tensor? begins)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    fake=_fake,
    kernels={"CPU": "..cpu.weighted_mean.launch"},
    gradient=_gradient,
    tangent=DERIVED.tangent,
)
BACKWARD = Operator(
    "weighted_mean_backward(Tensor dy, Tensor dpeak, Tensor dtotal, Tensor dweight, Tensor x,"
    " Tensor s, Tensor peak, Tensor total, Tensor weight, Tensor? begins)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    fake=_backward_fake,
    kernels={"CPU": "..cpu.weighted_mean.launch"},
    gradient=through(DERIVED.gradients),
    tangent=None,  # where forward mode is wanted, gradients are torch operations
)
