"""Three ways to say which documents are packed into a row, for documents of some lengths."""

import torch
from torch import Tensor


def ids(lengths: tuple[int, ...], B: int) -> Tensor:
    """[B, T]: 0 0 0 1 1, for each position its document."""
    counts = torch.tensor(lengths)
    return torch.arange(len(lengths)).repeat_interleave(counts)[None].expand(B, -1).contiguous()


def restarting(lengths: tuple[int, ...], B: int) -> Tensor:
    """[B, T]: 0 1 2 0 1, for each position its place in its document."""
    places = torch.cat([torch.arange(n) for n in lengths])
    return places[None].expand(B, -1).contiguous()


def cumulative(lengths: tuple[int, ...], _B: int) -> Tensor:
    """[n + 1] int32: 0 3 5, where each document starts and the last one ends."""
    return torch.tensor([0, *lengths]).cumsum(0).int()
