"""Masks of pads, another number of them in each row: for the law `padding`."""

import torch
from torch import Tensor

from ..copies.nested import clone
from ..sizes import Setting
from ..subjects.subject import Sequences

SIDES = ("right", "left")


def real_lengths(setting: Setting) -> list[int]:
    """How many real positions each row has; the last row has all of them."""
    B, T = setting.B, setting.T
    short = [max(1, T - 1 - b * max(1, (T - 1) // max(B, 1))) for b in range(B - 1)]
    return [*short, T] if B > 1 else [max(1, T // 2)]


def mask_of(setting: Setting, lengths: list[int], side: str) -> Tensor:
    """The mask with so many real positions in each row: bool [B, T]."""
    place = torch.arange(setting.T)
    if side == "left":
        place = place.flip(0)
    return place[None] < torch.tensor(lengths)[:, None]


def filled(sequences: Sequences, junk: Sequences, mask: Tensor) -> Sequences:
    """The sequences, with junk where the mask is not."""
    made = clone(sequences)
    for x, other in zip(made, junk, strict=True):
        x[~mask] = other[~mask]
    return made
