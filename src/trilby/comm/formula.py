"""How many messages and bytes a rank sends for one call, and for its way back.

This is the formula that the documentation states, that tests compare with what `counted` counts,
and that the model of cost is made of.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from math import prod
from typing import NamedTuple

import torch

from ..contract import Contract
from ..state import dtype_of, letter_of, wide
from .agreement import SIZE
from .chain import Cut, cut
from .dealing import Deal, chosen
from .piece import taken
from .ranks import Traffic

KEEP = {
    "mean": "B", "linear": "B", "weighted": "B", "decay": "B H", "ema": "B C",
    "selective": "B C N", "delta": "B H K K", "kda": "B H K K",
}  # fmt: skip
"""What a segment of a linear-time mixer keeps of a state, by its axes: [B] are bool, the others
numbers in the dtype of the state."""


class Call(NamedTuple):
    """A call of a mixer on pieces.

    Attributes:
        contract: of the mixer.
        sizes: letter -> size, without T; "G" is the number of heads or channels of what
            has the fewest, if it is less.
        lengths: positions of every rank.
        dtype: of the sequences.
        documents: whether there are any.
        window: of attention. past: positions in the state that the call starts from.
        slots: positions of the state that comes back, at most; None is all that a later call sees.
    """

    contract: Contract
    sizes: Mapping[str, int]
    lengths: Sequence[int]
    dtype: torch.dtype = torch.float32
    documents: bool = False
    window: int | None = None
    past: int = 0
    slots: int | None = None

    @property
    def limit(self) -> int | None:
        """How many positions the state of attention holds at most."""
        limits = [n for n in (self.slots, self.seen) if n is not None]
        return min(limits) if limits else None

    @property
    def seen(self) -> int | None:
        """How many positions before itself a query sees."""
        return None if self.window is None else self.window - 1

    def cut(self) -> Cut:
        """The blocks in which states go from rank to rank; one is a prefix."""
        whole = self.sizes["H" if "H" in self.sizes else "C"]
        return cut(self.contract.name, self.sizes, self.lengths, self.sizes.get("G", whole))

    def state(self) -> list[tuple[int, torch.dtype]]:
        """How many numbers each tensor of the state that comes back has, and of which dtype."""
        grown = self.past + sum(self.lengths)
        grown = grown if self.limit is None else min(grown, self.limit)
        sizes = {"S": grown, **self.sizes}
        found = []
        for _, axes, dtype in self.contract.state:
            n = prod(_size(axis, sizes) for axis in axes)
            found.append((n, dtype_of(dtype, self.dtype, torch.device("cpu"))))
        return found


def sent(call: Call, rank: int) -> tuple[Traffic, Traffic]:
    """What one rank sends for a call, and on the way back if every sequence wants a gradient.

    >>> from trilby.mixers.decay import CONTRACT
    >>> call = Call(CONTRACT, dict(B=1, H=2, K=4, V=4), [5, 5])
    >>> sent(call, 0)  # what the ranks tell each other first, and a state of [1, 2, 4, 4] float32
    (Traffic(messages=2, bytes=2176), Traffic(messages=1, bytes=128))
    """
    there, back = Traffic(), Traffic()
    last = len(call.lengths) - 1
    if not last:
        return there, back
    there.add(SIZE)
    if call.documents:
        there.add(3 * 8 * call.sizes["B"])  # three int64 for each row
    name = call.contract.name
    ways = {"conv": _halo_of_conv, "attention": _attention}
    for forward, backward in ways.get(name, _prefix)(call, rank):
        there.add(forward)
        back.add(backward)
    if rank == last:
        there.add(sum(n * dtype.itemsize for n, dtype in call.state()))
    else:
        for n, dtype in _real(call):  # of halves the sums are float32
            back.add(n * max(dtype.itemsize, 4))
    return there, back


Both = Iterator[tuple[int, int]]
"""Bytes of messages that this rank sends: for the call, and on the way back; 0 is no message."""


def _chain(call: Call, rank: int, blocks: Cut) -> Both:
    """The states of blocks to the next rank."""
    for first, last in blocks.bounds:
        there = back = 0
        for part, (n, dtype) in zip(call.contract.state, call.state(), strict=True):
            whole = blocks.axis(part.axes) is None
            share = dtype.itemsize * (n if whole else n * (last - first) // blocks.units)
            there, back = there + share, back + share * dtype.is_floating_point
        yield there * (rank < len(call.lengths) - 1), back * (rank > 0)


def _prefix(call: Call, rank: int) -> Both:
    """Segments, with a prefix over all ranks but the last, and the state to the next rank.

    Or states from rank to rank, where that takes less time.
    """
    last, state = len(call.lengths) - 1, call.state()
    whole = sum(n * dtype.itemsize for n, dtype in state)
    real = sum(n * dtype.itemsize for n, dtype in _real(call))
    blocks = call.cut()
    if len(blocks.bounds) > 1:
        yield from _chain(call, rank, blocks)
        return
    axes = KEEP[call.contract.name]
    kept = prod(_size(axis, call.sizes) for axis in axes.split())
    keep, moved = (kept, 0) if axes == "B" else (kept * state[0][1].itemsize,) * 2
    for far in takewhile(lambda d: d < last, (2**i for i in range(99))):
        yield (keep + whole) * (rank + far < last), (moved + real) * (far <= rank < last)
    yield whole * (rank < last), real * (rank > 0)


def _halo_of_conv(call: Call, rank: int) -> Both:
    """The last W - 1 inputs, those of the state being before the first piece."""
    before, item = call.sizes["W"] - 1, call.dtype.itemsize
    lengths = [call.lengths[0] + before, *call.lengths[1:]]
    return _halo(lengths, rank, before, call.sizes["B"] * call.sizes["C"] * item)


def _halo(lengths: Sequence[int], rank: int, n: int, each: int) -> Both:
    """The n positions before each piece, of `each` bytes, from as many ranks as that takes."""
    for far in range(1, len(lengths)):
        gone = taken(lengths, rank + far, far, n) if rank + far < len(lengths) else 0
        yield gone * each, taken(lengths, rank, far, n) * each


def _attention(call: Call, rank: int) -> Both:
    """Keys and values to those that see them, or round the ring."""
    B, H, K, V = (call.sizes[letter] for letter in "BHKV")
    G, item, fine = call.sizes.get("G", H), call.dtype.itemsize, wide(call.dtype).itemsize
    way = chosen(call.lengths, call.window, call.slots)
    near = call.seen if way == "gather" else call.limit
    near = sum(call.lengths) if near is None else near
    pair = B * G * (K + V)  # numbers of a key and a value
    yield from _halo(call.lengths, rank, near, pair * item)
    if way == "gather":
        return
    deal, ranks = Deal(call.lengths, call.window, way == "even"), len(call.lengths)
    partner = deal.partner(rank)
    if partner is not None:  # q, k, v and what a query sees go, y comes back
        own, other = (call.lengths[r] // 2 for r in (rank, partner))
        three, y = B * H * K * item + pair * item, B * H * V * item
        yield own * (three + 8 * B), own * y
        yield other * y, other * three
    for step in range(1, ranks):
        before, owner = (rank - step + 1) % ranks, (rank - step) % ranks
        passed = deal.positions(before) * pair * item * deal.hops(before, step)
        yield passed, passed
        yield 0, deal.positions(owner) * pair * fine * deal.needs(rank, owner)


def _real(call: Call) -> list[tuple[int, torch.dtype]]:
    """The tensors of the state that have gradients."""
    return [(n, dtype) for n, dtype in call.state() if dtype.is_floating_point]


def _size(axis: str, sizes: Mapping[str, int]) -> int:
    """The size of an axis of a state: "C", "W-1", or "H:k", which has as many heads as k."""
    if ":" in axis:
        return sizes.get("G", sizes[letter_of(axis)])
    return sizes[letter_of(axis)] - int(axis.partition("-")[2] or 0)
