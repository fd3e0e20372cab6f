"""Mutants whose rows see each other."""

from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, plus


def averages_the_batch(x: Tensor, state: State | None = None) -> Result:
    """A part of the mean over the batch is added."""
    return plus(x, state, 1e-2 * x.mean(0, keepdim=True))


def normalises_by_the_batch(x: Tensor, state: State | None = None) -> Result:
    """At each position, a part of the largest value in the batch is added."""
    return plus(x, state, 1e-2 * x.detach().abs().amax(0, keepdim=True))


def gives_all_rows_the_first(x: Tensor, state: State | None = None) -> Result:
    """Row 0 is computed and expanded over the batch."""
    y, left = healthy(x, state)
    return y[:1].expand_as(y), left


def scales_by_the_size_of_the_batch(x: Tensor, state: State | None = None) -> Result:
    """The result depends on the number of rows, not on their values."""
    y, left = healthy(x, state)
    return y * (1 + 1e-3 * len(x)), left


MUTANTS = (
    Mutant(averages_the_batch, "isolated", "neighbour"),
    Mutant(normalises_by_the_batch, "isolated", "neighbour"),
    Mutant(gives_all_rows_the_first, "isolated", "neighbour"),
    Mutant(scales_by_the_size_of_the_batch, "isolated", "batch"),
)
