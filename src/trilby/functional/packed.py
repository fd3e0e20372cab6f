"""Packed sequences: what other packages call `cu_seqlens` and `seq_idx`, as documents."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import ShapeError
from .refuse import shown


def of_lengths(where: str, cu_seqlens: Tensor, T: int) -> Tensor:
    """Documents [1, T] from the borders [N + 1] of N sequences, the first 0 and the last T.

    >>> of_lengths("f", torch.tensor([0, 2, 5]), 5).tolist()
    [[0, 0, 1, 1, 1]]
    """
    return of_borders(checked(where, cu_seqlens, T), cu_seqlens.device)


def of_borders(borders: list[int], device: torch.device) -> Tensor:
    """The same from borders that were checked."""
    lengths = torch.tensor(borders, device=device).diff()
    return torch.arange(len(lengths), device=device).repeat_interleave(lengths)[None]


def of_index(where: str, seq_idx: Tensor, B: int, T: int) -> Tensor:
    """Documents [B, T] from an index [B, T] of sequences; another index is another document.

    >>> of_index("f", torch.tensor([[3, 3, 1, 1]]), 1, 4).tolist()
    [[0, 0, 1, 1]]
    """
    if tuple(seq_idx.shape) != (B, T):
        raise ShapeError(
            f"{where}: seq_idx is {list(seq_idx.shape)}, expected [{B}, {T}], a number of its "
            "sequence for each position"
        )
    if torch.compiler.is_compiling():
        torch._assert_async((seq_idx >= 0).all(), f"{where}: seq_idx has a negative number")
    elif T and bool((seq_idx < 0).any()):
        raise ShapeError(
            f"{where}: seq_idx has {int(seq_idx.min())}, a number that marks padding; leave the "
            "padding out, or give it a number of its own"
        )
    changes = seq_idx[:, 1:] != seq_idx[:, :-1]
    return torch.cat([changes.new_zeros(B, min(T, 1)), changes], 1).cumsum(1)


def checked(where: str, cu_seqlens: Tensor, T: int) -> list[int]:
    """The borders as numbers; a ShapeError unless they rise from 0 to T."""
    if not isinstance(cu_seqlens, Tensor) or cu_seqlens.ndim != 1 or cu_seqlens.is_floating_point():
        raise ShapeError(
            f"{where}: cu_seqlens is {shown(cu_seqlens)}, expected a tensor [N + 1] of whole "
            "numbers; give where each sequence begins, and the end of the last"
        )
    borders: list[int] = cu_seqlens.tolist()
    rise = all(a <= b for a, b in pairwise(borders))
    if len(borders) < 2 or borders[0] != 0 or borders[-1] != T or not rise:
        raise ShapeError(
            f"{where}: cu_seqlens is {_short(borders)}, expected numbers that rise from 0 to {T}, "
            "which is the length of the sequence"
        )
    return borders


def one_by_one(
    borders: list[int], call: Callable[[slice, int], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """The outputs of each sequence, joined on axis 1, and their states, joined on axis 0.

    `call` takes where a sequence lies and its number. It is for packed calls that have a state for
    each sequence; without states one call with documents does the same in one pass.
    """
    results = [call(slice(a, b), i) for i, (a, b) in enumerate(pairwise(borders))]
    return torch.cat([y for y, _ in results], 1), torch.cat([state for _, state in results])


def _short(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:4]))
    return f"[{shown}, ...]" if len(numbers) > 4 else f"[{shown}]"
