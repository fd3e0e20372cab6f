"""Sums of exponentials whose largest exponent, the peak, is taken off all of them."""

import torch
from torch import Tensor

from .segments import Segment, kept, last_document


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


def peaking(x: Tensor, scores: Tensor, new: Tensor | None) -> Segment:
    """The segment of `weighted`: the past counts, the peak, the sum of exp(score - peak) x, of exp.

    Args:
        x, scores: [B, T, C]. new: [B, T], where documents begin.

    Returns:
        keep [B, 1] bool, and three times [B, C]; the peak is -inf where nothing counts.

    >>> x, s = torch.tensor([[[2.0], [4.0]]]), torch.tensor([[[0.0], [1.0]]])
    >>> [part.item() for part in peaking(x, s - 1, None)][:2]
    [True, 0.0]
    """
    if new is not None:
        other = ~last_document(new)[..., None]
        x, scores = x.masked_fill(other, 0), scores.masked_fill(other, -torch.inf)
    none = scores.new_full((len(scores), 1, scores.shape[2]), -torch.inf)  # T may be 0
    peak = torch.cat([none, scores], 1).max(1).values
    share = (scores - finite(peak)[:, None]).exp()
    return kept(new, x)[:, None], peak, (share * x).sum(1), share.sum(1)


def joined_peaks(f: Segment, then: Segment) -> Segment:
    """Joined segments; keep has axes for which it is broadcast over the sums."""
    (on, old, before, some), (goes, now, total, weight) = f, then
    old, before = old.masked_fill(~goes, -torch.inf), before.masked_fill(~goes, 0)
    peak = torch.where(now > old, now, old)
    left, new = (old - finite(peak)).exp(), (now - finite(peak)).exp()
    some = some.masked_fill(~goes, 0)
    return on & goes, peak, left * before + new * total, left * some + new * weight
