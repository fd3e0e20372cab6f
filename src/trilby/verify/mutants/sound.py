"""Mutants that are right in float64, and lose too much in a narrower dtype."""

from typing import Any

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, nothing, over, positions


def counts_in_its_own_dtype(x: Tensor, state: State | None = None) -> Result:
    """The count is in the dtype of x: in bfloat16, 256 + 1 is 256."""
    total, count = state or nothing(x)
    most = 2 / torch.finfo(x.dtype).eps  # where adding 1 is lost to rounding
    n = positions(x, count).double().clamp(max=most)
    return over(x, total, n), healthy(x, state)[1]


def adds_up_in_its_own_dtype(x: Tensor, state: State | None = None) -> Result:
    """Each sum is rounded to the dtype of x before the next addition."""
    total, count = state or nothing(x)
    sums, y = total.to(x.dtype), []
    for t, now in enumerate(x.unbind(1), 1):
        sums = sums + now
        y.append((sums.double() / (count[:, None] + t)).to(x.dtype))
    return torch.stack(y, 1) if y else x.clone(), healthy(x, state)[1]


def multiplies_before_it_divides(x: Tensor, state: State | None = None) -> Result:
    """Mathematically right, but a product overflows where the mean does not."""
    return healthy((x * 64) / 64, state)


def rounds_its_state(x: Tensor, state: State | None = None) -> Result:
    """The state keeps the total in the dtype of x."""
    y, (total, count) = healthy(x, state)
    return y, State(total.to(x.dtype).double(), count)


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, total: Tensor, count: Tensor) -> Tensor:
        ctx.save_for_backward(count)
        return over(x, total, positions(x, count))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        dx, suffix = [], torch.zeros_like(dy[:, 0])
        n = positions(dy, ctx.saved_tensors[0])[..., None]
        for share in (dy / n).to(dy.dtype).flip(1).unbind(1):
            suffix = suffix + share
            dx.append(suffix)
        return torch.stack(dx[::-1], 1), suffix.double(), None


def rounds_its_gradient(x: Tensor, state: State | None = None) -> Result:
    """The backward sums in the dtype of x, the forward in float64."""
    return _Rounding.apply(x, *(state or nothing(x))) if x.shape[1] else x, healthy(x, state)[1]


MUTANTS = (
    Mutant(counts_in_its_own_dtype, "sound", "unsound"),
    Mutant(adds_up_in_its_own_dtype, "sound", "unsound"),
    Mutant(multiplies_before_it_divides, "sound", "not finite"),
    Mutant(rounds_its_state, "sound", "unsound"),
    Mutant(rounds_its_gradient, "sound", "unsound"),
)
