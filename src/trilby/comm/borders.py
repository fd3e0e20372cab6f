"""Which documents of a packed row continue from one rank to the next."""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ..algebra import firsts
from ..errors import DocumentError
from ..shapes import readable
from .ranks import Ranks


class Before(NamedTuple):
    """What lies before a piece of each row.

    Attributes:
        fresh: [B] bool, whether the piece begins with a new document.
        reach: [B] int64, how many positions before it are of its first document.
        whole: [B] bool, whether that document was there at the beginning, so that the state of the
            call belongs to it.
    """

    fresh: Tensor
    reach: Tensor
    whole: Tensor

    def seen(self, n: int) -> Tensor:
        """[B, n] bool: which of the n positions before the piece its first document sees.

        >>> Before(*(torch.tensor([x]) for x in (False, 1, False))).seen(3).tolist()
        [[False, False, True]]
        """
        age = torch.arange(n, 0, -1, device=self.reach.device)
        return (age <= self.reach[:, None]) | self.whole[:, None]


def without_documents(rows: int, positions: int, device: torch.device) -> Before:
    """One document for each row."""
    whole = torch.ones(rows, dtype=torch.bool, device=device)
    return Before(~whole, torch.full((rows,), positions, device=device), whole)


def borders(
    where: str, ranks: Ranks, documents: Tensor, begins: Tensor, lengths: list[int]
) -> Before:
    """What lies before this rank's piece, after every rank has told its first and last document.

    Args:
        where: the call as the user knows it.
        ranks: who shares the sequence.
        documents: [B, T] ids of this piece.
        begins: [B, T], where documents of this piece begin after another one of it.
        lengths: T of every rank.

    Raises:
        DocumentError: an id that is less than the last one of a rank before.
    """
    T = documents.shape[1]
    ends = torch.zeros(3, len(documents), dtype=torch.int64, device=documents.device)
    if T:
        ends = torch.stack([documents[:, 0], documents[:, -1], T - firsts(begins)[:, -1]]).long()
    table = ranks.gathered(ends)  # [ranks, 3, B]: the first id, the last one, how long it lasts
    filled = [r for r, n in enumerate(lengths) if n]
    for one, two in pairwise(filled):
        _rising(where, table[one, 1], table[two, 0], (one, two))
    earlier = [r for r in filled if r < ranks.rank]
    before = without_documents(len(documents), 0, documents.device)
    if not earlier:
        return before
    first = ends[0] if T else table[earlier[-1], 1]
    _, reach, whole = before
    for r in reversed(earlier):
        whole = whole & (table[r, 1] == first)
        reach = reach + torch.where(whole, table[r, 2], 0)
        whole = whole & (table[r, 2] == lengths[r])
    return Before(table[earlier[-1], 1] != first, reach, whole)


def _rising(where: str, last: Tensor, first: Tensor, ranks: tuple[int, int]) -> None:
    """Raise a DocumentError if an id falls from one rank to another."""
    if readable(last) and bool((first < last).any()):
        row = int((first < last).nonzero()[0])
        raise DocumentError(
            f"{where}: documents falls from {int(last[row])} at the end of rank {ranks[0]} to "
            f"{int(first[row])} at the beginning of rank {ranks[1]}, in row {row}; ids never "
            "decrease along a row, number them over all ranks"
        )
