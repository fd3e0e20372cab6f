"""Mutants whose rows see each other."""

from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, plus


def averages_the_batch(x: Tensor, state: State | None = None) -> Result:
    """A share of the mean over the batch."""
    return plus(x, state, 1e-2 * x.mean(0, keepdim=True))


def normalises_by_the_batch(x: Tensor, state: State | None = None) -> Result:
    """Position by position, something of what is largest in the batch."""
    return plus(x, state, 1e-2 * x.detach().abs().amax(0, keepdim=True))


def gives_all_rows_the_first(x: Tensor, state: State | None = None) -> Result:
    """Row 0 is computed, and expanded over the batch."""
    y, left = healthy(x, state)
    return y[:1].expand_as(y), left


def scales_by_the_size_of_the_batch(x: Tensor, state: State | None = None) -> Result:
    """A row alone is not what it is among others, whatever these are."""
    y, left = healthy(x, state)
    return y * (1 + 1e-3 * len(x)), left


MUTANTS = (
    Mutant(averages_the_batch, "isolated", "neighbour"),
    Mutant(normalises_by_the_batch, "isolated", "neighbour"),
    Mutant(gives_all_rows_the_first, "isolated", "neighbour"),
    Mutant(scales_by_the_size_of_the_batch, "isolated", "batch"),
)
