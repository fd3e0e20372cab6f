"""Tensors with a batch axis and no time: encoder memory, lengths, a speaker, a first state.

They follow the rows. Beside the sequences there is one more, of integers, that says for each
position whose row it is. Laws treat it like tokens: they cut, repeat and rewrite it with the
others. A call then looks up what goes along with each row.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from .paths import Path

MARK = 1 << 60  # above every token, so that no embedding of tokens is taken for one of marks
SEED, DRAW = 34, 20  # the bits at which the seed and the number of a draw begin
KEPT = 256  # draws of which what goes along is kept


@dataclass(frozen=True)
class Follower:
    """One such argument.

    Attributes:
        path: where it stands.
        axis: its batch axis.
        name: what it is called.
        numpy: whether it is a numpy array.
    """

    path: Path
    axis: int
    name: str
    numpy: bool = False


class Ledger:
    """What goes along with the rows that the user's function drew, for the latest draws.

    It is no container on purpose: copies of an example share it.
    """

    def __init__(self) -> None:
        self._draws: dict[int, list[Tensor]] = {}
        self._next = 0

    def enter(self, values: list[Tensor]) -> int:
        """Keep what goes along with the rows of a draw; its number."""
        number = self._next % KEPT
        self._next += 1
        self._draws[number] = values
        return number

    @torch.compiler.disable
    def rows(self, marks: Tensor, i: int, axis: int) -> Tensor:
        """What goes along with each mark [B], of follower i."""
        known = [divmod(m & ((1 << SEED) - 1), 1 << DRAW) for m in marks.tolist()]
        return torch.cat([self._draws[d][i].narrow(axis, b, 1) for d, b in known], axis)


def marks(rows: list[int], T: int, seed: int, draw: int = 0) -> Tensor:
    """[B, T]: for each position the row that it belongs to, of a draw with a seed."""
    first = MARK + (seed << SEED) + (draw << DRAW)
    return (first + torch.tensor(rows))[:, None].repeat(1, T)


def repeated(B: int, count: int, seed: int) -> list[int]:
    """The rows of an example of `count` rows for a batch of B; others for other values.

    >>> repeated(3, 2, 0), repeated(3, 2, 1001)
    ([0, 1, 0], [1, 0, 1])
    """
    return [(b + seed // 1000) % count for b in range(B)]


def along(
    followers: tuple[Follower, ...], own: list[Any], ledger: Ledger | None, given: Tensor
) -> list[Any]:
    """What a call is given for each follower, beside sequences with these marks [B, T].

    Where a part of a row was rewritten, the seed of the row as it was is the least.

    Args:
        own: the values in the example, in the dtype of the call.
        ledger: None: rows of the example are repeated.
    """
    first = given.amin(1)
    found = []
    for i, (follower, value) in enumerate(zip(followers, own, strict=True)):
        table = torch.as_tensor(value)
        if ledger is None:
            at = (first & ((1 << DRAW) - 1)).to(table.device)
            rows = table.index_select(follower.axis, at)
        else:
            rows = ledger.rows(first, i, follower.axis).to(table)
        found.append(rows.detach().cpu().numpy() if follower.numpy else rows)
    return found


def ways(
    candidates: list[tuple[Path, str, Any]], B: int, time_first: bool
) -> list[tuple[Follower, ...]]:
    """Which arguments may follow B, on which axes, the likeliest first.

    A size that is B by chance is told by a trial with another B.
    """
    choices = []
    for path, name, value in candidates:
        axes = [a for a in ((1, 0) if time_first else (0, 1)) if value.shape[a : a + 1] == (B,)]
        known = [Follower(path, a, name, not isinstance(value, Tensor)) for a in axes]
        choices.append([*known, None] if known else [None])
    return [tuple(f for f in way if f is not None) for way in product(*choices)]
