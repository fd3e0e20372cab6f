"""Mutants that are right in value, and wrong in their gradients."""

from typing import Any

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, over, plus, positions


def detaches_the_past(x: Tensor, state: State | None = None) -> Result:
    """The gradient stops at the incoming state."""
    return healthy(x, state and State(state[0].detach(), state[1]))


def detaches_the_state(x: Tensor, state: State | None = None) -> Result:
    """The returned state is detached."""
    y, (total, count) = healthy(x, state)
    return y, State(total.detach(), count)


def halves_its_gradient(x: Tensor, state: State | None = None) -> Result:
    """Half of x is detached."""
    return healthy(0.5 * x + 0.5 * x.detach(), state)


class _Forgetful(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, total: Tensor, count: Tensor) -> Tensor:
        ctx.save_for_backward(count)
        return over(x, total, positions(x, count))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        share = dy.double() / positions(dy, ctx.saved_tensors[0])[..., None]
        return share.flip(1).cumsum(1).flip(1).to(dy.dtype), None, None


def forgets_the_gradient_of_the_state(x: Tensor, state: State | None = None) -> Result:
    """A custom backward without a gradient for the incoming total."""
    _, left = healthy(x, state)
    if state is None:
        return healthy(x, state)
    return _Forgetful.apply(x, *state), left


class _FirstRow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:  # noqa: ARG004
        return torch.cat([dy[:1], 0.9 * dy[1:]])


def learns_from_the_first_row(x: Tensor, state: State | None = None) -> Result:
    """The gradient is right in the first row of a batch, and a tenth too small in the others."""
    return healthy(_FirstRow.apply(x), state)


class _WholePieces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:  # noqa: ARG004
        last = dy.shape[1] % 8
        return dy if not last else torch.cat([dy[:, :-last], 0.9 * dy[:, -last:]], 1)


def spoils_the_gradient_of_a_short_last_piece(x: Tensor, state: State | None = None) -> Result:
    """The gradient is right in whole pieces of 8, and a tenth too small in the rest."""
    return healthy(_WholePieces.apply(x), state)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        return grad.detach().clone()


def differentiates_once(x: Tensor, state: State | None = None) -> Result:
    """The gradient is right, but the second gradient is zero, without an error."""
    return healthy(_Once.apply(x), state)


def differs_where_gradients_are_recorded(x: Tensor, state: State | None = None) -> Result:
    """Training uses another code path than inference."""
    return plus(x, state, torch.full_like(x, 1e-3 if x.requires_grad else 0.0))


MUTANTS = (
    Mutant(detaches_the_past, "differentiates", "gradient missing"),
    Mutant(detaches_the_state, "differentiates", "gradient missing"),
    Mutant(halves_its_gradient, "differentiates", "gradient wrong"),
    Mutant(learns_from_the_first_row, "differentiates", "gradient wrong"),
    Mutant(spoils_the_gradient_of_a_short_last_piece, "differentiates", "gradient wrong"),
    Mutant(forgets_the_gradient_of_the_state, "differentiates", "gradient missing"),
    Mutant(differentiates_once, "differentiates", "second gradient"),
    Mutant(differs_where_gradients_are_recorded, "differentiates", "forward"),
)
