"""Mutants whose state is wrong."""

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, nothing


def forgets_the_state(x: Tensor, state: State | None = None) -> Result:  # noqa: ARG001
    """Every call starts without a state."""
    return healthy(x, None)


def counts_twice(x: Tensor, state: State | None = None) -> Result:
    """The returned count counts the sequence twice."""
    y, (total, count) = healthy(x, state)
    return y, State(total, count + x.shape[1])


def returns_a_stale_state(x: Tensor, state: State | None = None) -> Result:
    """The incoming state is returned unchanged."""
    return healthy(x, state)[0], state or nothing(x)


def loses_the_count(x: Tensor, state: State | None = None) -> Result:
    """The state keeps the sum, but not the count."""
    y, (total, count) = healthy(x, state)
    return y, State(total, torch.full_like(count, x.shape[1]))


def leaves_out_the_last_position(x: Tensor, state: State | None = None) -> Result:
    """The returned state lacks the last position."""
    return healthy(x, state)[0], healthy(x[:, :-1], state)[1]


def ignores_the_state_of_one_position(x: Tensor, state: State | None = None) -> Result:
    """A fast path for one position ignores the state."""
    return healthy(x, None if x.shape[1] == 1 else state)


def takes_the_state_of_the_first_row(x: Tensor, state: State | None = None) -> Result:
    """All rows continue from the state of row 0."""
    first = state and State(state[0][:1].expand_as(state[0]), state[1])
    return healthy(x, first)[0], healthy(x, state)[1]


def counts_in_float32(x: Tensor, state: State | None = None) -> Result:
    """A float32 counter, which stops at 2^24."""
    y, (total, _) = healthy(x, state)
    count = (state or nothing(x))[1].float()
    for _ in range(x.shape[1]):
        count = count + 1
    return y, State(total, count.long())


MUTANTS = (
    Mutant(forgets_the_state, "resumes", "state lost"),
    Mutant(counts_twice, "resumes", "state wrong"),
    Mutant(returns_a_stale_state, "resumes", "state stale"),
    Mutant(loses_the_count, "resumes", "state wrong"),
    Mutant(leaves_out_the_last_position, "resumes", "state wrong"),
    Mutant(ignores_the_state_of_one_position, "resumes", "state wrong"),
    Mutant(takes_the_state_of_the_first_row, "resumes", "state wrong"),
    Mutant(counts_in_float32, "resumes", "state wrong"),
)
