"""Products of decays between positions, from natural logarithms; exact for a full reset too.

Logarithms are summed between two positions and never subtracted. With a full reset, `g = -inf`, a
difference of prefix sums would be `inf - inf`, and far from the start it would lose its digits.
"""

import torch
from torch import Tensor


def fade(g: Tensor) -> Tensor:
    """exp(g_{s+1} + ... + g_t) for every t >= s, and 0 for t < s.

    Args:
        g: [..., T] natural logarithms of decays; -inf is a reset, g > 0 grows.

    Returns:
        [..., T, T], row = the later position t, column = the earlier one s; the diagonal is 1.

    The sums are masked before `exp`, not after it: `exp` of the future may overflow, and infinity
    times zero is NaN in the backward pass. Cost: time and memory O(T^2) for each row of g.

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
    """exp(g_0 + ... + g_t): the weight of the state before position 0 at every position.

    Args:
        g: [..., T]. Returns: [..., T].

    >>> faded(torch.tensor([0.5, 0.5, 0.0]).log()).tolist()
    [0.5, 0.25, 0.0]
    """
    return g.cumsum(-1).exp()
