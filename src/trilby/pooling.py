"""A triangle in fewer cells: each has the largest weight of its block, and a leak is never lost."""

from typing import NamedTuple

from torch import Tensor


class Pooled(NamedTuple):
    """A triangle of N x N cells.

    Attributes:
        rows: N rows of N weights.
        first: the first position of each row and column; None where each is one position.
        leaks: the cells of the diagonal that have a weight of the future.
    """

    rows: list[list[float]]
    first: list[int] | None
    leaks: frozenset[int]


def coarse(wei: Tensor, most: int) -> Pooled:
    """Rows of at most `most` weights: of several the one whose absolute value is largest.

    >>> coarse(torch.eye(2), 2).rows, coarse(torch.eye(3), 2)[:2]
    ([[1.0, 0.0], [0.0, 1.0]], ([[1.0, 0.0], [0.0, 1.0]], [0, 2]))
    """
    T = wei.shape[-1]
    if most >= T:
        return Pooled(wei.double().tolist(), None, frozenset())
    each = -(-T // most)
    cells, leaks = blocks(wei, each)
    return Pooled(cells.double().tolist(), list(range(0, T, each)), frozenset(leaks))


def blocks(wei: Tensor, each: int) -> tuple[Tensor, list[int]]:
    """[N, N]: one weight of every block of `each` x `each`, and which of the diagonal are leaks.

    It is the one whose absolute value is largest: a mean would hide a leak. A block on the diagonal
    has past and future in it, and a weight of the future goes first.

    >>> cells, leaks = blocks(torch.tensor([[1.0, 0.1], [-3.0, 2.0]]), 2)
    >>> round(cells.item(), 3), leaks
    (0.1, [0])
    """
    if each == 1:
        return wei, []
    cells, future = _largest(wei, each), _largest(wei.triu(1), each).diagonal()
    leaks = future.nonzero()[:, 0]
    cells[leaks, leaks] = future[leaks]
    return cells, leaks.tolist()


def _largest(wei: Tensor, each: int) -> Tensor:
    T, N = len(wei), -(-len(wei) // each)
    padded = wei.new_zeros(N * each, N * each)
    padded[:T, :T] = wei
    parts = padded.reshape(N, each, N, each).permute(0, 2, 1, 3).flatten(2)
    return parts.gather(2, parts.abs().argmax(2, keepdim=True))[..., 0]
