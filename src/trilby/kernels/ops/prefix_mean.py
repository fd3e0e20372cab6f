"""The operators of the running mean.

Each of the two is the other's transpose, so each is the other's gradient, to any order. Each is
linear in its first two arguments, so it is its own forward derivative.
"""

from typing import Any

import torch
from torch import Tensor

from .operator import Operator

Pair = tuple[Tensor, Tensor]


def prefix_mean(x: Tensor, total: Tensor, count: Tensor, first: Tensor | None = None) -> Pair:
    """y_t = (total + x_0 + ... + x_t) / n_t with n_t = count + t + 1, and the new total.

    Shapes: x [B, T, C], total [B, C] float64, count [B] int64, first [B, T] int64: the position
    where the document of each position begins. Sums and counts start again there; the total and
    the count belong to the first document -> y [B, T, C] like x, total [B, C].
    """
    return FORWARD(x, total, count, first)


def prefix_mean_backward(
    dy: Tensor, dtotal: Tensor, count: Tensor, first: Tensor | None = None
) -> Pair:
    """The transpose of `prefix_mean`: dx_s = dtotal + sum of dy_t / n_t over t >= s.

    Shapes as in `prefix_mean`. The second result is the gradient of the total that went in.
    """
    return BACKWARD(dy, dtotal, count, first)


def _fake(x: Tensor, total: Tensor, _count: Tensor, _first: Tensor | None = None) -> Pair:
    return torch.empty_like(x), total.new_empty(total.shape)


def _operator(schema: str, itself: Any, transpose: Any) -> Operator:
    return Operator(
        schema,
        fake=_fake,
        kernels={"CPU": "..cpu.prefix_mean"},
        gradient=lambda inputs, seeds: (*transpose(*seeds, *inputs[2:]), None, None),
        tangent=lambda inputs, tangents: itself(*tangents[:2], *inputs[2:]),
    )


FORWARD = _operator(
    "prefix_mean(Tensor x, Tensor total, Tensor count, Tensor? first=None) -> (Tensor, Tensor)",
    prefix_mean, prefix_mean_backward,
)  # fmt: skip
BACKWARD = _operator(
    "prefix_mean_backward(Tensor dy, Tensor dtotal, Tensor count, Tensor? first=None)"
    " -> (Tensor, Tensor)",
    prefix_mean_backward, prefix_mean,
)  # fmt: skip
