"""Values like those of an example."""

import torch
from torch import Tensor

FEW = 16  # distinct values up to which they are taken for codes, and no new ones are made


def alike(x: Tensor, shape: tuple[int, ...], rng: torch.Generator, tokens: int | None) -> Tensor:
    """Numbers like those of x, or tokens below `tokens`; None: up to the largest of x."""
    if x.is_floating_point():
        return _resampled(x, shape, rng).to(x.device)
    if x.dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=rng).bool().to(x.device)
    top = tokens or int(x.max()) + 1
    return torch.randint(0, max(top, 1), shape, generator=rng).to(x.dtype).to(x.device)


def _resampled(x: Tensor, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Values from the distribution of x, in float64: between its own, or of its own if few.

    A gate that is never positive stays so. Where all of x is one number, as in `torch.zeros`, it
    says nothing about its values, and they are normal.
    """
    known = x.detach().double().flatten().cpu()
    known = known[known.isfinite()].sort().values
    count = known.numel()
    if not count or known[0] == known[-1]:
        return torch.randn(shape, generator=rng, dtype=torch.float64)
    u = torch.rand(shape, generator=rng, dtype=torch.float64) * (count - 1)
    if known.unique().numel() <= FEW < count:
        return known[u.round().long()]
    low = u.floor().long().clamp(max=count - 2)
    return torch.lerp(known[low], known[low + 1], u - low)
