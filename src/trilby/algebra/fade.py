"""Products of decays between positions, given as natural logarithms; exact for a total reset too.

Logarithms are added up between the two positions and never subtracted from each other: with a total
reset, `g = -inf`, a difference of prefix sums would be `inf - inf`, and far from the start it would
have lost its digits.
"""

import torch
from torch import Tensor


def fade(g: Tensor) -> Tensor:
    """exp(g_{s+1} + ... + g_t) for every t >= s, and 0 for t < s.

    Args:
        g: [..., T] natural logarithms of decays; -inf forgets everything, g > 0 grows.

    Returns:
        [..., T, T], row = the later position t, column = the earlier one s; the diagonal is 1.

    The sums are masked before `exp` and not after: in the future it may overflow, and infinity
    times zero is NaN on the way back. Cost: time and memory O(T^2) for each row of g.

    Source: "segment sum" in Dao and Gu, "Transformers are SSMs" (2024), Listing 1.

    >>> fade(torch.tensor([0.0, 0.5, 0.25]).log()).tolist()
    [[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.125, 0.25, 1.0]]
    """
    T = g.shape[-1]
    ones = torch.ones(T, T, dtype=torch.bool, device=g.device)
    future = ones.tril(-1)  # [S, T], true where t < s
    sums = g[..., None, :].expand(*g.shape[:-1], T, T).masked_fill(ones.tril(), 0).cumsum(-1)
    return sums.masked_fill(future, -torch.inf).exp().mT


def faded(g: Tensor) -> Tensor:
    """exp(g_0 + ... + g_t): what every position still has of the state before position 0.

    Args:
        g: [..., T]. Returns: [..., T].

    >>> faded(torch.tensor([0.5, 0.5, 0.0]).log()).tolist()
    [0.5, 0.25, 0.0]
    """
    return g.cumsum(-1).exp()
