"""Mutants that read the future."""

from typing import Any

import torch
from torch import Tensor

from ...mixers.mean import State
from ..precision.allowance import unit
from .wrong import Mutant, Result, healthy, plus


def adds_the_average_of_all(x: Tensor, state: State | None = None) -> Result:
    """A thousandth of the mean over all time is added, the future included."""
    return plus(x, state, 1e-3 * x.mean(1, keepdim=True))


def sees_without_a_gradient(x: Tensor, state: State | None = None) -> Result:
    """The same, detached: no gradient shows it."""
    return plus(x, state, 1e-3 * x.detach().mean(1, keepdim=True))


def reads_one_ahead(x: Tensor, state: State | None = None) -> Result:
    """An off-by-one: position t reads t + 1."""
    return plus(x, state, 0.1 * torch.cat([x[:, 1:], x[:, -1:]], 1))


def peeks_in_the_last_place_but_one(x: Tensor, state: State | None = None) -> Result:
    """One row of the matrix has one weight in the future."""
    more = torch.zeros_like(x)
    more[:, -2:-1] = 0.1 * x[:, -1:][:, : max(x.shape[1] - 1, 0)]
    return plus(x, state, more)


def peeks_in_one_row_of_the_batch(x: Tensor, state: State | None = None) -> Result:
    """Only the second to last row of the batch reads its last position."""
    more = torch.zeros_like(x)
    more[-2:-1] = 0.1 * x[-2:-1, -1:]
    return plus(x, state, more)


def normalises_over_time(x: Tensor, state: State | None = None) -> Result:
    """Statistics over the whole sequence, like a norm over the wrong axis."""
    return plus(x, state, 1e-2 * x.square().mean(1, keepdim=True).sqrt())


def sees_the_sign_of_the_future(x: Tensor, state: State | None = None) -> Result:
    """A discrete leak of one bit of the future, without a gradient."""
    return plus(x, state, 1e-2 * (x.sum(1, keepdim=True) > 0))


def leaks_after_64_positions(x: Tensor, state: State | None = None) -> Result:
    """Right for short inputs: the mask is only one block wide."""
    return plus(x, state, 1e-2 * x[:, 64:].sum(1, keepdim=True))


def leaks_at_the_size_of_rounding(x: Tensor, state: State | None = None) -> Result:
    """A leak through rounding, like one scale for a whole block."""
    largest = x.abs().amax(1, keepdim=True) if x.shape[1] else x
    return plus(x, state, 4 * unit(largest, x.dtype))


def divides_by_the_whole_length(x: Tensor, state: State | None = None) -> Result:
    """A scale that depends on the length of the sequence, not on its values."""
    y, left = healthy(x, state)
    return y * (1 + 1 / (1 + x.shape[1])), left


def spoils_a_short_last_block(x: Tensor, state: State | None = None) -> Result:
    """The rest after blocks of 64 is divided by 64 too."""
    y, left = healthy(x, state)
    whole = x.shape[1] // 64 * 64
    spoiled = y[:, whole:] * ((x.shape[1] - whole) / 64) if whole else y
    return torch.cat([y[:, :whole], spoiled], 1) if whole else y, left


class _Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad.flip(1)


def flips_its_gradient(x: Tensor, state: State | None = None) -> Result:
    """A custom backward in the wrong direction of time: outputs have gradients to later inputs."""
    return healthy(_Backwards.apply(x), state)


def adds_a_future_of_no_value(x: Tensor, state: State | None = None) -> Result:
    """The future is added and subtracted again: the value is right, and the gradient is not."""
    future = 1e-2 * x.sum(1, keepdim=True)
    return plus(x, state, future - future.detach())


MUTANTS = (
    Mutant(adds_the_average_of_all, "causal", "leak"),
    Mutant(sees_without_a_gradient, "causal", "leak without gradient"),
    Mutant(reads_one_ahead, "causal", "leak"),
    Mutant(peeks_in_the_last_place_but_one, "causal", "leak"),
    Mutant(peeks_in_one_row_of_the_batch, "causal", "leak"),
    Mutant(normalises_over_time, "causal", "leak"),
    Mutant(sees_the_sign_of_the_future, "causal", "leak without gradient"),
    Mutant(leaks_after_64_positions, "causal", "leak"),
    Mutant(leaks_at_the_size_of_rounding, "causal", "leak without gradient"),
    Mutant(divides_by_the_whole_length, "causal", "length"),
    Mutant(spoils_a_short_last_block, "causal", "length"),
    Mutant(flips_its_gradient, "causal", "leak in the gradient"),
    Mutant(adds_a_future_of_no_value, "causal", "leak in the gradient"),
)
