"""Who computes which part of attention's triangle, and which keys pass from rank to rank.

Positions are cut into chunks that lie together. A rank computes the queries of its chunks, and its
keys and values go round the ring of ranks as long as a query ahead sees them.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

PAIRS = 2048
"""How many pairs of a query and a key a position that changes ranks has to save, for the exchange
to pay. A pair costs 2 (K + V) operations of each head, a position the bytes of q, k, v and y."""


class Chunk(NamedTuple):
    """Positions that lie together."""

    start: int
    n: int

    def sees(self, keys: "Chunk", window: int | None) -> bool:
        """Whether a query of this chunk may see one of these keys.

        >>> [Chunk(4, 2).sees(Chunk(at, 2), None) for at in (0, 5, 6)]
        [True, True, False]
        >>> Chunk(4, 2).sees(Chunk(0, 2), 3)  # position 4 sees 2, 3 and 4
        False
        """
        if not self.n or not keys.n or keys.start >= self.start + self.n:
            return False
        return window is None or keys.start + keys.n > self.start - window + 1

    def pairs(self, keys: "Chunk", window: int | None) -> int:
        """How many queries of this chunk see how many of these keys.

        >>> Chunk(2, 2).pairs(Chunk(0, 4), None), Chunk(2, 2).pairs(Chunk(0, 4), 2)
        (7, 4)
        """
        if not self.sees(keys, window):
            return 0
        below = _triangle(self, keys)
        if window is None:
            return below
        return below - _triangle(Chunk(self.start - window, self.n), keys)


def _triangle(queries: Chunk, keys: Chunk) -> int:
    """Pairs whose key is no later than the query."""

    def before(n: int) -> int:  # pairs of the first n positions of a triangle
        return n * (n + 1) // 2 if n > 0 else 0

    first, last = queries.start - keys.start, queries.start + queries.n - keys.start
    return before(last) - before(first) - before(last - keys.n) + before(first - keys.n)


class Deal:
    """Which chunks each rank has.

    Args:
        lengths: positions of each rank.
        window: how many positions a query sees, itself included; None is all.
        even: whether ranks r and n - 1 - r swap the second halves of their pieces. Each rank then
            has as many pairs as any other, and in each step of the ring, where lengths are equal.

    Attributes:
        held: the chunks of every rank.

    >>> Deal([4, 4], None, True).held
    [[Chunk(start=0, n=2), Chunk(start=6, n=2)], [Chunk(start=4, n=2), Chunk(start=2, n=2)]]
    >>> Deal([4, 4], None, True).pairs, Deal([4, 4], None, False).pairs
    ([18, 18], [10, 26])
    """

    def __init__(self, lengths: Sequence[int], window: int | None, even: bool) -> None:
        self.lengths, self.window, self.even = tuple(lengths), window, even
        starts = [0, *accumulate(lengths)]
        pieces = [Chunk(at, n) for at, n in zip(starts, lengths, strict=False)]
        self.held = [[piece] for piece in pieces]
        if even:
            halves = [(Chunk(a, n - n // 2), Chunk(a + n - n // 2, n // 2)) for a, n in pieces]
            others = halves[::-1]
            self.held = [[one[0], two[1]] for one, two in zip(halves, others, strict=True)]

    @cached_property
    def pairs(self) -> list[int]:
        """How many pairs of a query and a key each rank computes."""
        every = [chunk for chunks in self.held for chunk in chunks]
        return [
            sum(queries.pairs(keys, self.window) for queries in chunks for keys in every)
            for chunks in self.held
        ]

    def partner(self, rank: int) -> int | None:
        """With whom a rank swaps second halves; None if it keeps its own."""
        other = len(self.lengths) - 1 - rank
        return other if self.even and other != rank else None

    def needs(self, rank: int, owner: int) -> bool:
        """Whether queries of a rank see keys of another one."""
        return any(
            queries.sees(keys, self.window)
            for queries in self.held[rank]
            for keys in self.held[owner]
        )

    def hops(self, owner: int, step: int) -> bool:
        """Whether the keys of a rank go on to the rank that is `step` behind it.

        >>> [Deal([2, 2, 2], None, False).hops(1, step) for step in (1, 2)]  # rank 0 sees none
        [True, False]
        """
        size = len(self.lengths)
        return any(self.needs((owner + far) % size, owner) for far in range(step, size))

    def positions(self, rank: int) -> int:
        """How many positions a rank has."""
        return sum(chunk.n for chunk in self.held[rank])


def chosen(lengths: Sequence[int], window: int | None, slots: int | None) -> str:
    """How attention over pieces is shared out: "gather", "ring" or "even".

    Args:
        lengths: positions of each rank, T together.
        window: how many positions a query sees; None is all.
        slots: how many positions the state holds that comes back; None is all that a later call
            can see.

    Returns:
        - "gather": each rank gets all keys and values that its queries see, min(T, window - 1).
          So it is where a rank has as much memory as that in use anyway: for the state, or for
          the longest piece. It sends the fewest bytes.
        - "ring": else. A rank holds one piece of others at a time.
        - "even": a ring, of which ranks r and n - 1 - r swap the second halves of their pieces
          before. So it is where that saves the busiest rank `PAIRS` pairs of a query and a key for
          each position that it swaps. With equal pieces of L positions and no window, n ranks save
          L^2 (n - 1) / 2 for L / 2 positions: it is where L (n - 1) is `PAIRS` or more.

    >>> chosen([4096] * 4, None, None), chosen([4096] * 4, None, 0), chosen([16] * 4, None, 0)
    ('gather', 'even', 'ring')
    >>> chosen([4096] * 4, 100, 0), chosen([4096] * 4, 10000, 0)
    ('gather', 'ring')
    """
    every, longest = sum(lengths), max(lengths)
    seen = every if window is None else min(every, window - 1)
    kept = seen if slots is None else min(seen, slots)
    if len(lengths) == 1 or seen <= max(kept, longest):
        return "gather"
    if window is not None:
        return "ring"
    own, even = (max(Deal(lengths, None, dealt).pairs) for dealt in (False, True))
    return "even" if longest > 1 and own - even >= PAIRS * (longest // 2) else "ring"
