"""Sums of exponentials whose largest exponent, the peak, is taken off all of them."""

import torch
from torch import Tensor

from .segments import Segment


def finite(peak: Tensor) -> Tensor:
    """A peak that may be taken off a score of -inf: 0 where nothing has counted yet.

    >>> finite(torch.tensor([-torch.inf, 2.0])).tolist()
    [0.0, 2.0]
    """
    return peak.masked_fill(peak == -torch.inf, 0)


def mean(total: Tensor, weight: Tensor) -> Tensor:
    """total / weight, and 0 where nothing has counted.

    >>> mean(torch.tensor([6.0, 0.0]), torch.tensor([2.0, 0.0])).tolist()
    [3.0, 0.0]
    """
    nothing = weight == 0
    return (total / weight.masked_fill(nothing, 1)).masked_fill(nothing, 0)


def exponentials(seen: Tensor, old: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """exp(score - peak) of what each row reads and of the state, and the peaks of the rows.

    Args:
        seen: [..., T, T] scores, -inf where a row does not read. old: [..., T] that of the state.
    """
    every = torch.cat([old[..., None], seen], -1)
    peak = finite(every.max(-1).values)  # of equal scores `max` takes the first
    return (seen - peak[..., None]).exp(), (old - peak).exp(), peak


def joined_peaks(f: Segment, then: Segment) -> Segment:
    """Joined segments; keep has axes for which it is broadcast over the sums."""
    (on, old, before, some), (goes, now, total, weight) = f, then
    old, before = old.masked_fill(~goes, -torch.inf), before.masked_fill(~goes, 0)
    peak = torch.where(now > old, now, old)
    left, new = (old - finite(peak)).exp(), (now - finite(peak)).exp()
    some = some.masked_fill(~goes, 0)
    return on & goes, peak, left * before + new * total, left * some + new * weight
