"""What mutants are made of: the running mean as it should be, and the label of a fault."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...mixers.mean import State

Result = tuple[Tensor, State]
Form = Callable[..., tuple[Tensor, Any]]


@dataclass(frozen=True)
class Mutant:
    """A form with one fault.

    Attributes:
        call: the form.
        law: the first law that breaks, in the order of the laws.
        kind: what the verdict calls the fault.
        of: the mixer that it is a form of.
    """

    call: Form
    law: str
    kind: str
    of: str = "mean"

    @property
    def name(self) -> str:
        """The name of the form."""
        return self.call.__name__

    @property
    def fault(self) -> str:
        """What is wrong, in one line."""
        return " ".join((self.call.__doc__ or "").split())


def healthy(x: Tensor, state: State | None = None) -> Result:
    """The running mean as it should be; every mutant differs from it in one thing."""
    total, count = state or nothing(x)
    return over(x, total, positions(x, count)), State(total + x.double().sum(1), count + x.shape[1])


def over(x: Tensor, total: Tensor, n: Tensor) -> Tensor:
    """Prefix sums [B, T, C] over n [B, T], rounded once."""
    sums = total[:, None] + x.double().cumsum(1)
    return (sums / n[..., None]).to(x.dtype)


def positions(x: Tensor, count: Tensor) -> Tensor:
    """How many positions each one has seen, itself included: [B, T]."""
    return count[:, None] + torch.arange(1, x.shape[1] + 1, device=x.device)


def nothing(x: Tensor) -> State:
    """The state before the first position."""
    total = x.new_zeros(x.shape[0], x.shape[2], dtype=torch.float64)
    return State(total, x.new_zeros(x.shape[0], dtype=torch.int64))


def plus(x: Tensor, state: State | None, more: Tensor) -> Result:
    """The running mean, and something that does not belong there."""
    y, left = healthy(x, state)
    return y + more.to(y.dtype), left
