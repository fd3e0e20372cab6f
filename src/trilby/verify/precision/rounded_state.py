"""What rounding of a state may do: a recurrence rounds its state to its dtype at every position."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..copies.nested import Leaves, clone, convert, leaves, numbers, real, replaced
from .allowance import Allowance, moved, reduced, unit

PROBES = 4
PIECES = 600  # of a long sequence; a piece of n positions rounds as sqrt(n) roundings add up
LEAST = torch.float32  # a state in a coarser dtype is no excuse: what adds up is at least float32


def rounded_state(
    way: Callable[[Any, Any], tuple[Any, Any]], sequences: tuple[Tensor, ...], state: Any
) -> dict[str, Allowance] | None:
    """The response of each leaf of `way(sequences, state)` to rounding of the state, by path.

    The float64 twin runs position by position, and its state moves by one unit of the dtype that
    it is kept in after each. What goes in moves by one unit of that dtype too, not of its own.
    None where no number of the state is kept in float32 or better.

    Cost: 1 + PROBES streams of at most PIECES calls.
    """
    first = way(*clone((tuple(x[:, :1] for x in sequences), state)))
    kept = [t.dtype if real(t) and fine(t.dtype, LEAST) else None for _, t in leaves(first)[1:]]
    dtypes = [dtype for dtype in kept if dtype is not None]
    if not dtypes:
        return None
    widest = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps)
    given = (*convert((way, sequences), widest), state)
    signs = torch.Generator().manual_seed(0)
    way, sequences, state = convert(given, torch.float64)
    answers = _stream(way, sequences, state, kept, None)
    far = [torch.zeros_like(t) if real(t) else None for _, t in answers]
    for _ in range(PROBES):
        way, sequences, state = moved(given, signs, torch.float64, 1.0)
        probe = _stream(way, sequences, state, kept, signs)
        far = [m if m is None else torch.maximum(m, (b - a).abs().nan_to_num(0, 0, 0))
               for m, (_, a), (_, b) in zip(far, answers, probe, strict=True)]  # fmt: skip
    return {
        path: Allowance(path, answer, None if m is None else reduced(m))
        for (path, answer), m in zip(answers, far, strict=True)
    }


def fine(dtype: torch.dtype, other: torch.dtype) -> bool:
    """Whether a dtype is at least as fine as another one."""
    return torch.finfo(dtype).eps <= torch.finfo(other).eps


def _stream(
    way: Callable[[Any, Any], tuple[Any, Any]],
    sequences: tuple[Tensor, ...],
    state: Any,
    kept: list[torch.dtype | None],
    signs: torch.Generator | None,
) -> Leaves:
    """The leaves of a stream; with `signs` the state is moved after each piece."""
    n = math.ceil(sequences[0].shape[1] / PIECES)
    y: list[Tensor] = []
    for piece in zip(*(x.split(n, 1) for x in sequences), strict=True):
        now, state = way(piece, state)
        y.append(now)
        if signs is not None:
            state = _moved(state, iter(kept), signs, n**0.5)
    return leaves((torch.cat(y, 1), state))


def _moved(
    state: Any, kept: Iterator[torch.dtype | None], signs: torch.Generator, reach: float
) -> Any:
    """A state moved by `reach` units of the dtypes that it is kept in."""

    def move(t: Tensor) -> Tensor:
        dtype = next(kept)
        if dtype is None or not numbers(t):
            return t
        coin = torch.randint(0, 2, t.shape, generator=signs) * 2 - 1
        return t + coin * reach * unit(t, dtype)

    return replaced(state, move)
