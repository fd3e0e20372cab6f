"""What a segment of time does to a state: how much of it is kept, and what is added.

A segment is `(keep, *sums)`; each sum is what a state would be if nothing had been before. Two
neighbours join to one of the same kind, so a sequence may be cut anywhere. Here are the joins, and
the segments of those mixers whose plain call does not tell them all.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..shapes import unmixed
from .fade import faded
from .groups import grouped

Segment = tuple[Tensor, ...]


def faded_sums(f: Segment, then: Segment) -> Segment:
    """Joined segments whose keep is a factor, with the first axes of each sum.

    >>> half, one = torch.tensor([0.5]), torch.ones(1)
    >>> faded_sums((half, one), (half, one))
    (tensor([0.2500]), tensor([1.5000]))
    """
    keep = then[0]
    sums = zip(f[1:], then[1:], strict=True)
    return keep * f[0], *(_over(keep, old) * old + new for old, new in sums)


def restarted_sums(f: Segment, then: Segment) -> Segment:
    """Joined segments whose keep is [B] bool: whether the past still counts.

    >>> on, off, one = torch.tensor([True]), torch.tensor([False]), torch.ones(1)
    >>> restarted_sums((on, one), (off, one)), restarted_sums((on, one), (on, one))
    ((tensor([False]), tensor([1.])), (tensor([True]), tensor([2.])))
    """
    keep = then[0]
    sums = zip(f[1:], then[1:], strict=True)
    return f[0] & keep, *(old.masked_fill(~_over(keep, old), 0) + new for old, new in sums)


def turned_sums(f: Segment, then: Segment) -> Segment:
    """Joined segments whose keep is a matrix: h -> A h + b."""
    return then[0] @ f[0], then[0] @ f[1] + then[1]


def fading(h: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Segment:
    """The segment of `h -> exp(g_t) h + k_t v_t^T`.

    Args:
        h: [B, H, K, V], of which the shape and the dtype count.
        k: [B, T, H, K], v: [B, T, H, V], g: [B, T, H], or G heads that are shared.

    Returns:
        keep [B, H] and the sum [B, H, K, V].

    >>> one, half = torch.ones(1, 2, 1, 1), torch.full((1, 2, 1), 0.5).log()
    >>> [x.item() for x in fading(torch.zeros(1, 1, 1, 1), one, one, half)]
    [0.25, 1.5]
    """
    k, v, g, h = grouped(h, k, v, g)  # [B, G, R, T, ...], R is 1 where heads share
    later = faded(g[..., 1:].flip(-1)).flip(-1)  # by what comes behind each position but the last
    left = torch.cat([later, torch.ones_like(g[..., -1:])], -1)
    with unmixed(h):
        added = (k * left[..., None]).mT @ v
    keep = g.sum(-1).exp().expand(h.shape[:3])
    return keep.flatten(1, 2), added.expand(h.shape).flatten(1, 2)


def turning(
    h: Tensor, v: Tensor, new: Tensor | None, advance: Callable[[Tensor, Tensor], Tensor]
) -> Segment:
    """The segment of `h -> A_t h + b_t` for a rule that treats each column of h alone.

    It is what the rule makes of the identity where nothing is written, and of zeros.

    Args:
        h: [B, H, K, V], of which the shape and the dtype count.
        v: [B, T, H, V], what is written, or G heads.
        new: [B, T], where documents begin.
        advance: `advance(v, h)`, the state behind the segment, for any V.

    Returns:
        A [B, H, K, K] and b [B, H, K, V].

    >>> halved = lambda v, h: h / 2 + v[:, 0, :, None]
    >>> A, b = turning(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), None, halved)
    >>> A.item(), b.item()
    (0.5, 1.0)
    """
    K = h.shape[2]
    one = torch.eye(K, dtype=h.dtype, device=h.device).expand(*h.shape[:2], K, K)
    nothing = v.new_zeros(*v.shape[:3], K)
    after = advance(torch.cat([nothing, v], -1), torch.cat([one, torch.zeros_like(h)], -1))
    A, b = after.split([K, h.shape[3]], -1)
    return A.masked_fill(~kept(new, v)[:, None, None, None], 0), b


def kept(new: Tensor | None, like: Tensor) -> Tensor:
    """[B] bool: whether the document that a segment begins with lasts to its end."""
    if new is None:
        return torch.ones(len(like), dtype=torch.bool, device=like.device)
    return ~new.any(1)


def _over(keep: Tensor, sums: Tensor) -> Tensor:
    """A keep with as many axes as a sum."""
    return keep.reshape(*keep.shape, *[1] * (sums.ndim - keep.ndim))
