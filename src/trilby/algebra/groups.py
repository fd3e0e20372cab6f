"""Heads in groups: some arguments have G heads, others H, and H / G neighbours share one of G."""

from collections.abc import Sequence

import torch
from torch import Tensor


def grouped(h: Tensor, *sequences: Tensor) -> tuple[Tensor, ...]:
    """Sequences and a state in the dtype of the state, heads as G groups of R.

    Args:
        h: [B, H, ...] a state.
        sequences: [B, T, n, ...] each, where n is H or G.

    Returns:
        sequences: [B, G, R, T, ...], R is 1 where heads share.
        h: [B, G, R, ...].

    >>> h, q, k = torch.zeros(1, 4, 5), torch.zeros(1, 7, 2, 3), torch.zeros(1, 7, 4, 3)
    >>> [list(x.shape) for x in grouped(h, q, k)]
    [[1, 2, 1, 7, 3], [1, 2, 2, 7, 3], [1, 2, 2, 5]]
    """
    H = h.shape[1]
    G = min(x.shape[2] for x in sequences)
    whole = (apart(x.to(h.dtype), H, G) for x in sequences)
    return *whole, h.unflatten(1, (G, H // G if G else 0))


def apart(x: Tensor, H: int, G: int) -> Tensor:
    """[B, T, n, ...], n being H or G, as [B, G, R or 1, T, ...]."""
    x = x.transpose(1, 2)  # [B, n, T, ...]
    return x.unflatten(1, (G, H // G if G else 0)) if x.shape[1] == H else x.unsqueeze(2)


def ungrouped(y: Sequence[Tensor], v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Pieces [B, G, R or 1, n, V] along time as [B, T, H, V] in the dtype of v, and h [B, H, ...].

    >>> pieces, v = [torch.zeros(1, 2, 1, 7, 3)], torch.zeros(1, 7, 4, 3)
    >>> y, h = ungrouped(pieces, v, torch.zeros(1, 2, 2, 5))
    >>> list(y.shape), list(h.shape)
    ([1, 7, 4, 3], [1, 4, 5])
    """
    B, G, R = h.shape[:3]
    if not y:
        return v.new_zeros(B, 0, G * R, v.shape[3]), h.flatten(1, 2)
    whole = torch.cat(list(y), 3).expand(B, G, R, -1, -1)
    return whole.permute(0, 3, 1, 2, 4).flatten(2, 3).to(v.dtype), h.flatten(1, 2)
