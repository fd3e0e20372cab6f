"""States that go from rank to rank, block by block of what is independent: rows, heads, channels.

A rank computes a block of its piece as soon as the rank before it has done so, and while that one
computes the next block. With n ranks and m blocks the last rank is done after m + n - 1 blocks, and
no position is read twice. A prefix of segments takes a pass more over every piece, and log2(n)
messages. So states go round while that is less time: while n - 1 is less than m.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..contract import Contract
from ..state import letter_of

BLOCKS = 8
"""How many blocks there are at most. More would be shorter, and cost a message each."""
CHANNELS = 32
"""How many channels a block has at least; with fewer of them a kernel takes longer in all."""
WHOLE = ("mean", "ema")
"""Mixers at the speed of memory, whose channels are not cut: two halves take twice as long."""
LONG = 4096
"""Positions of the longest piece from which on a pass takes longer than the messages of a chain."""


class Cut(NamedTuple):
    """Blocks of a call: the letter of the axis that is cut, its size, and the shares of each."""

    letter: str
    size: int
    bounds: list[tuple[int, int]]  # in units of which the axis has `units`
    units: int

    def parts(self, x: Any, axes: Sequence[str]) -> list[Any]:
        """An argument, or a tensor of a state, block by block; one that has no such axis is whole.

        They are made at once, so that their gradients are put together at once.

        >>> Cut("H", 4, [(0, 1), (1, 2)], 2).parts(torch.arange(4), "H")
        [tensor([0, 1]), tensor([2, 3])]
        """
        at = self.axis(axes)
        if at is None or not isinstance(x, Tensor):
            return [x] * len(self.bounds)
        each = x.shape[at] // self.units
        return list(x.split([(last - first) * each for first, last in self.bounds], at))

    def whole(self, block: Tensor, axes: Sequence[str]) -> Tensor:
        """Memory for all blocks, from the first of them."""
        first, last = self.bounds[0]
        sizes, at = list(block.shape), self.axis(axes)
        if at is not None:
            sizes[at] = sizes[at] // (last - first) * self.units
        return block.new_empty(sizes)

    def axis(self, axes: Sequence[str]) -> int | None:
        """Which axis is cut."""
        letters = [letter_of(axis) for axis in axes]
        return letters.index(self.letter) if self.letter in letters else None


def cut(name: str, sizes: Mapping[str, int], lengths: Sequence[int], shared: int) -> Cut:
    """How a call is cut; one block where a prefix is less time.

    Args:
        name: of the mixer.
        sizes: letter -> size.
        lengths: positions of every rank.
        shared: how many heads or channels the argument has that has the fewest.

    >>> cut("decay", dict(B=1, H=4), [5000, 5000], 4).bounds
    [(0, 1), (1, 2), (2, 3), (3, 4)]
    >>> [len(cut("decay", dict(B=1, H=4), pieces, 4).bounds) for pieces in ([5000] * 5, [50, 50])]
    [1, 1]
    """
    letter = "H" if "H" in sizes else "C"
    units = shared if letter == "H" else max(1, shared // CHANNELS)
    units = 1 if name in WHOLE else units
    if sizes["B"] >= min(units, BLOCKS):
        letter, units = "B", sizes["B"]
    m = min(units, BLOCKS)
    if max(lengths) < LONG or not 0 < len(lengths) - 1 < m:
        m = 1
    bounds = [(units * j // m, units * (j + 1) // m) for j in range(m)]
    return Cut(letter, sizes[letter], bounds, max(units, 1))


Exchange = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Sequence[Tensor], Sequence[Tensor]]]
"""Sends a state to the next rank, if there is one to send, and receives one of a shape."""


def chained(
    blocks: Cut, contract: Contract, held: Sequence[Tensor], exchange: Exchange,
    call: Callable[[int, Sequence[Tensor]], tuple[Tensor, Sequence[Tensor]]],
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """y and the state of a piece.

    Args:
        blocks: how the call is cut.
        contract: of the mixer.
        held: the state that the sequence starts from.
        exchange: `exchange(sent, like)` returns what came, and what was sent.
        call: `call(block, state)`, one block of this piece from a state.
    """
    parts, y, after = list(contract.state), [], []
    axes = contract.arguments[contract.values].axes or ()
    done: Sequence[Tensor] = []
    every = [blocks.parts(x, part.axes) for x, part in zip(held, parts, strict=True)]
    for block, like in enumerate(zip(*every, strict=True)):
        came, own = exchange(done, like)
        after += [own] if block else []
        read, done = call(block, came)
        if torch.is_grad_enabled():
            y.append(read)
            continue
        y = y or [blocks.whole(read, axes)]  # without a graph each block has the same memory
        blocks.parts(y[0], axes)[block].copy_(read)
    after.append(exchange(done, [])[1])
    whole = [
        _joined([one[i] for one in after], blocks.axis(part.axes)) for i, part in enumerate(parts)
    ]
    return _joined(y, blocks.axis(axes)), whole


def _joined(parts: Sequence[Tensor], axis: int | None) -> Tensor:
    """What was cut along an axis; what was not is the same in every block."""
    return parts[-1] if axis is None or len(parts) == 1 else torch.cat(list(parts), axis)
