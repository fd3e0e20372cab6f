"""The latest positions of a sequence, of which position p is in slot p mod S of S slots.

A slot is overwritten when its position is the oldest, so a decoder can keep all in one place.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def ages(count: Tensor, slots: int) -> Tensor:
    """How long ago the position in each slot was: 1 for the latest one of `count` positions.

    Args:
        count: [B] how many positions there were. slots: S.

    Returns:
        [B, S] int64; above `count` in a slot that holds nothing.

    >>> ages(torch.tensor([2, 3, 5]), 3).tolist()  # slots hold 0 1 -, 0 1 2, 3 4 2
    [[2, 1, 3], [3, 2, 1], [2, 1, 3]]
    """
    slot = torch.arange(slots, device=count.device)
    return 1 + (count[:, None] - 1 - slot) % max(slots, 1)


def appended(
    kept: Sequence[Tensor], count: Tensor, new: Sequence[Tensor], first: Tensor | None, slots: int,
    alone: bool = False,
) -> tuple[list[Tensor], Tensor]:  # fmt: skip
    """The latest positions after new ones were added, in a ring of `slots` slots.

    Args:
        kept: [B, S, ...] each, rings. count: [B] how many positions there were.
        new: [B, T, ...] each, what is added.
        first: [B, T] for each new position where its sequence began, 0 if that was earlier; None
            is 0.
        slots: at most S + T.
        alone: S is 0.

    Returns:
        [B, slots, ...] each, zeros in slots that hold nothing; and how many positions there are.

    >>> old, one = torch.tensor([[3, 1, 2]]), torch.tensor([[4]])  # 1 2 3, three being the third
    >>> appended([old], torch.tensor([3]), [one], None, 4)
    ([tensor([[3, 1, 2, 4]])], tensor([4]))
    >>> appended([old], torch.tensor([3]), [one], None, 3)[0][0].tolist()
    [[4, 1, 2]]
    """
    S, T = kept[0].shape[1], new[0].shape[1]
    total = count + T
    if alone and first is None:
        return [_latest(x, slots) for x in new], total
    if first is not None and T:
        total = torch.where(first[:, -1] > 0, T - first[:, -1], total)
    age = ages(total, slots)  # [B, slots]
    old = (count[:, None] - (age - T)) % max(S, 1)  # the slot where it was
    place = torch.where(age <= T, S + T - age, old)
    row, empty = torch.arange(len(count), device=count.device)[:, None], age > total[:, None]
    found = []
    for ring, added in zip(kept, new, strict=True):
        taken = torch.cat([ring, added], 1)[row, place]
        found.append(taken.masked_fill(empty.view(*empty.shape, *[1] * (taken.ndim - 2)), 0))
    return found, total


def _latest(sequence: Tensor, slots: int) -> Tensor:
    """The latest positions of a whole sequence [B, T, ...]; all of them are not copied."""
    T = sequence.shape[1]
    if slots == T:
        return sequence
    return torch.roll(sequence[:, T - slots :], T % slots if slots else 0, 1)


def ordered(kept: Sequence[Tensor], count: Tensor) -> list[Tensor]:
    """Rings of S slots in the order of time, the latest position last.

    Args:
        kept: [B, S, ...] each, position p in slot p mod S.
        count: [B] how many positions there were.

    >>> ordered([torch.tensor([[3, 1, 2]])], torch.tensor([4]))[0].tolist()  # 3 is the fourth
    [[1, 2, 3]]
    """
    S = kept[0].shape[1]
    slot = (count[:, None] + torch.arange(S, device=count.device)) % max(S, 1)
    row = torch.arange(len(count), device=count.device)[:, None]
    return [ring[row, slot] for ring in kept]


def filled(latest: Sequence[Tensor], count: Tensor, slots: int) -> list[Tensor]:
    """The inverse of `ordered`: rings of `slots` slots, zeros in those that hold nothing.

    Args:
        latest: [B, L, ...] each, the latest position last; L is at least `slots`.

    >>> filled([torch.tensor([[1, 2, 3]])], torch.tensor([4]), 3)[0].tolist()
    [[3, 1, 2]]
    """
    age = ages(count, slots)  # [B, slots]
    row, empty = torch.arange(len(count), device=count.device)[:, None], age > count[:, None]
    found = []
    for one in latest:
        taken = one[row, one.shape[1] - age]
        found.append(taken.masked_fill(empty.view(*empty.shape, *[1] * (taken.ndim - 2)), 0))
    return found


def continued(
    kept: Sequence[Tensor], count: Tensor, latest: Sequence[Tensor], after: Tensor, most: int | None
) -> list[Tensor]:
    """Rings of the positions of some rings and of others behind them.

    Args:
        kept: [B, S, ...] each, rings. count: [B] how many positions there were.
        latest: [B, L, ...] each, positions behind them in the order of time; or the last `most`.
        after: [B] how many positions count behind them, which may be fewer.
        most: the slots that are enough, or None.

    >>> one, none = torch.tensor([2]), torch.tensor([[3]])
    >>> continued([torch.tensor([[1, 2]])], one, [none], one + 1, None)[0].tolist()
    [[1, 2, 3]]
    """
    slots = kept[0].shape[1] + latest[0].shape[1]
    slots = slots if most is None else min(slots, most)
    every = [torch.cat(pair, 1) for pair in zip(ordered(kept, count), latest, strict=True)]
    return filled(every, after, slots)
