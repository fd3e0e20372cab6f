"""What is looked at: data by name, tokens, or a tensor, as one row of positions."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

from .. import data
from ..errors import CallError, NumberError
from ..shapes import what

MOST = 4096  # positions
TEXT, LEVELS = 256, 16  # positions that are taken of a text; levels that numbers are put into
SERIES = ("co2", "nile", "sunspots")
NAMES = ("sonnets", *SERIES)


class Positions(NamedTuple):
    """One row of T positions.

    Attributes:
        said: how it was given, as Python; empty where ids were drawn for a model.
        tokens: what stands at each position, T texts.
        values: [1, T, C] float64, what a mixer mixes.
        kinds: [T] int64. Positions of one kind have equal queries, keys and gates.
        given: whether the values are the user's, and not drawn for each token.
    """

    said: str
    tokens: tuple[str, ...]
    values: Tensor
    kinds: Tensor
    given: bool


def positions(x: str | Tensor | None, T: int | None, tokens: Sequence[str] | None) -> Positions:
    """Read the arguments `x`, `T` and `tokens` of `explore`.

    Raises:
        CallError: no such data, or arguments that do not fit together.
        NumberError: too many positions, or values that are not finite.
    """
    if T is not None and (isinstance(T, bool) or not isinstance(T, int) or T < 1):
        raise CallError(f"explore: T is {T!r}, expected a number of positions, 1 or more")
    if isinstance(x, Tensor):
        return _tensor(x, T, tokens)
    if tokens is not None:
        if x is not None:
            raise CallError("explore: x and tokens are both given, and x is no tensor; drop one")
        return of_tokens("tokens", [str(token) for token in tokens][:T])
    if x not in NAMES:
        near = get_close_matches(str(x), NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "take one of"
        shown = repr(x) if isinstance(x, str) else what(x)
        raise CallError(
            f"explore: x is {shown}, expected data by name or a tensor [1, T, C]; {hint} "
            f"({' '.join(NAMES)})"
        )
    if x == "sonnets":
        text = data.sonnets()
        start = text.index("From fairest")
        return of_tokens(repr(x), list(text[start:][: few(T or TEXT)]))
    time, values = getattr(data, str(x))()
    known = ~values[0, :, 0].isnan()
    return _series(repr(x), [f"{t:.6g}" for t in time[known].tolist()], values[:, known], T)


def few(T: int) -> int:
    """T, or a NumberError where it is too many."""
    if T > MOST:
        raise NumberError(
            f"explore: T is {T}, and {T} x {T} weights take {8 * T * T / 1e9:.2g} GB in float64; "
            f"at most {MOST} positions are shown, give T={MOST} or less"
        )
    return T


def of_tokens(said: str, tokens: list[str]) -> Positions:
    """A value for each different token, drawn from a normal distribution."""
    if not tokens:
        raise CallError("explore: there are no tokens; give at least one")
    few(len(tokens))
    names = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    kinds = torch.tensor([names[token] for token in tokens])
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(len(names), 1, generator=rng, dtype=torch.float64)[kinds][None]
    return Positions(said, tuple(tokens), values, kinds, False)


def _tensor(x: Tensor, T: int | None, tokens: Sequence[str] | None) -> Positions:
    if not x.is_floating_point() or x.ndim != 3 or len(x) != 1 or not x.shape[1]:
        raise CallError(
            f"explore: x is {what(x)}, expected floats of one row [1, T, C], e.g. x[:1]"
        )
    T = x.shape[1] if T is None else min(T, x.shape[1])
    names = [str(t) for t in range(x.shape[1])] if tokens is None else [str(t) for t in tokens]
    if len(names) != x.shape[1]:
        raise CallError(f"explore: tokens are {len(names)} and x has T={x.shape[1]}; give as many")
    return _series("x", names, x.detach().cpu(), T)


def _series(said: str, tokens: list[str], values: Tensor, T: int | None) -> Positions:
    """Numbers; those of the first channel are put into levels of equal width."""
    T = few(values.shape[1] if T is None else min(T, values.shape[1]))
    values = values[:, :T].double()
    if not bool(values.isfinite().all()):
        place = (~values.isfinite()).nonzero()[0].tolist()
        raise NumberError(
            f"explore: x{place} is {float(values[tuple(place)]):g}, expected finite numbers; "
            "fill or remove it first"
        )
    first = values[0, :, 0]
    spread = float(first.max() - first.min()) or 1.0
    levels = ((first - first.min()) / spread * LEVELS).long().clamp(max=LEVELS - 1)
    kinds = torch.unique(levels, return_inverse=True)[1]
    return Positions(said, tuple(tokens[:T]), values, kinds, True)
