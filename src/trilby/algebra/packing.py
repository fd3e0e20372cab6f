"""Where the documents of a packed row begin."""

import torch
from torch import Tensor


def firsts(begins: Tensor) -> Tensor:
    """For every position, the position at which its document began.

    Args:
        begins: [B, T] bool, true where a document begins after another one.

    Returns:
        [B, T] int64; 0 throughout the document that position 0 belongs to.

    >>> firsts(torch.tensor([[False, False, True, False]])).tolist()
    [[0, 0, 2, 2]]
    """
    place = torch.arange(begins.shape[1], device=begins.device)
    return torch.where(begins, place, 0).cummax(1).values
