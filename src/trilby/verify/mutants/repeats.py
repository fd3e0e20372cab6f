"""Mutants that give something else when they are called again."""

from itertools import count as counting
from typing import Any

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, plus

_calls = counting()


def draws_noise(x: Tensor, state: State | None = None) -> Result:
    """A little noise, like dropout that is never switched off."""
    return plus(x, state, 1e-3 * torch.randn_like(x))


def counts_its_calls(x: Tensor, state: State | None = None) -> Result:
    """A counter is kept between calls and changes the result."""
    return plus(x, state, torch.full_like(x, 1e-3 * next(_calls)))


def remembers_the_last_call(x: Tensor, state: State | None = None, *, _kept: Any = []) -> Result:  # noqa: B006
    """A buffer of the previous call is added, and never cleared."""
    old = _kept[0] if _kept else 0.0
    _kept[:] = [float(x.sum().detach())]
    return plus(x, state, torch.full_like(x, old))


def writes_to_its_input(x: Tensor, state: State | None = None) -> Result:
    """The result is written into the argument."""
    y, left = healthy(x, state)
    with torch.no_grad():
        x.copy_(y)
    return y, left


def reuses_one_buffer(x: Tensor, state: State | None = None, *, _kept: Any = {}) -> Result:  # noqa: B006
    """The returned state is in one buffer, which the next call overwrites."""
    y, (total, count) = healthy(x, state)
    buffer = _kept.setdefault(total.shape[1], torch.zeros(64, total.shape[1]).double())
    rows = buffer[: len(total)]
    if not total.requires_grad:
        total = rows.copy_(total)
    return y, State(total, count)


MUTANTS = (
    Mutant(draws_noise, "repeats", "random"),
    Mutant(counts_its_calls, "repeats", "remembers"),
    Mutant(remembers_the_last_call, "repeats", "remembers"),
    Mutant(writes_to_its_input, "repeats", "writes to its arguments"),
    Mutant(reuses_one_buffer, "repeats", "overwrites its result"),
)
