"""What is mixed, said once for all tables, and the base that they share."""

import torch

import trilby


def drawn(quick: bool, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """x [8, 4096, 512], the same every time."""
    B, T, C = (2, 256, 32) if quick else (8, 4096, 512)
    return trilby.mean.draw(B=B, T=T, C=C, dtype=dtype)[0]


def setup(x: torch.Tensor, rounds: int) -> str:
    dtype = str(x.dtype).removeprefix("torch.")
    return f"x {list(x.shape)} {dtype}, {rounds} rounds in turn, medians."


def cumsum_over_n(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """The running mean as people write it; n is [T, 1]."""
    return torch.cumsum(x, 1) / n
