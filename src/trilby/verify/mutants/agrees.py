"""Mutants that are causal, resume and differentiate, and are another function."""

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, nothing, over, positions


def one_late(x: Tensor, state: State | None = None) -> Result:
    """Position t gives the sum without its own x."""
    y, left = healthy(x, state)
    n = positions(x, left[1] - x.shape[1])
    return y - x / n[..., None].to(x.dtype), left


def a_thousandth_too_large(x: Tensor, state: State | None = None) -> Result:
    """A factor of 1.001."""
    y, left = healthy(x, state)
    return 1.001 * y, left


def wrong_from_the_65th(x: Tensor, state: State | None = None) -> Result:
    """One channel is wrong after the first block."""
    y, left = healthy(x, state)
    late = positions(x, left[1] - x.shape[1]) > 64
    wrong = torch.where(late[..., None], 1e-3, 0.0).to(y.dtype)
    return y + torch.cat([wrong, torch.zeros_like(y[..., 1:])], -1)[..., : y.shape[-1]], left


def one_wrong_element(x: Tensor, state: State | None = None) -> Result:
    """Only the sixth position is wrong."""
    y, left = healthy(x, state)
    sixth = positions(x, left[1] - x.shape[1]) == 6
    return torch.where(sixth[..., None], y + 1e-3, y), left


def divides_by_one_too_many(x: Tensor, state: State | None = None) -> Result:
    """An off-by-one in the count."""
    total, count = state or nothing(x)
    return over(x, total, positions(x, count + 1)), healthy(x, state)[1]


def ends_in_nan(x: Tensor, state: State | None = None) -> Result:
    """NaN at every eighth position."""
    y, left = healthy(x, state)
    eighth = positions(x, left[1] - x.shape[1]) % 8 == 0
    return torch.where(eighth[..., None], torch.nan, y), left


def averages_the_channels(x: Tensor, state: State | None = None) -> Result:
    """One channel is returned, which broadcasts against any number of channels."""
    y, left = healthy(x, state)
    return y.mean(-1, keepdim=True), left


MUTANTS = (
    Mutant(one_late, "agrees", "different"),
    Mutant(a_thousandth_too_large, "agrees", "different"),
    Mutant(wrong_from_the_65th, "agrees", "different"),
    Mutant(one_wrong_element, "agrees", "different"),
    Mutant(divides_by_one_too_many, "agrees", "different"),
    Mutant(ends_in_nan, "agrees", "different"),
    Mutant(averages_the_channels, "agrees", "different"),
)
