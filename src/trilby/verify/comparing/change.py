"""How much a result changed that should not have, and whether that is more than rounding.

A change is rounding if it is a small number of units of the dtype that was used. Rounding shrinks
with precision and a dependence does not, so every law tries float64 too, where what is no rounding
is many units. FFT convolutions, and experts whose batches depend on who else came, round like that.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..precision.allowance import FACTOR

UNITS = 2.0**8  # of float32 and float64; enough for sums of that many terms of one sign
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Change:
    """The largest change.

    Attributes:
        size: in the unit of the output; infinite where NaN came or went.
        index: of the element that changed most.
        units: the size in units of rounding at the largest number around.
        limit: how many units may be rounding, in this dtype.
        tainted: nothing changed but for NaN and infinity, and what was rewritten is not finite.
    """

    size: float
    index: list[int]
    units: float
    limit: float
    tainted: bool

    @property
    def row(self) -> int:
        """The row of the batch."""
        return self.index[0] if self.index else 0

    @property
    def small(self) -> bool:
        """Whether it may be rounding, as far as this dtype can tell."""
        return self.units <= self.limit


def change(after: Tensor, before: Tensor, a: Tensor, b: Tensor, scale: float = 1.0) -> Change:
    """From b to a, parts of two whole results; `scale` is how large the rewritten values were."""
    equal = (a == b) | (a.isnan() & b.isnan())
    moved = torch.where(equal, 0.0, (a.double() - b.double()).abs())
    finite = moved.where(moved.isfinite(), torch.zeros((), dtype=moved.dtype, device=moved.device))
    wild = not bool(after.isfinite().all()) and bool(before.isfinite().all())
    tainted = wild and not bool(finite.any())
    size = moved.nan_to_num(torch.inf, torch.inf)
    if not size.numel():
        return Change(0.0, [], 0.0, 0.0, False)
    index = first(size == size.max())
    largest = max(_largest(after), _largest(before), scale)
    grain = torch.finfo(before.dtype).eps if before.is_floating_point() else 1.0
    units = float(size.max()) / (grain * largest)
    return Change(float(size.max()), index, units, limit(before.dtype), tainted)


def limit(dtype: torch.dtype) -> float:
    """How many units of a dtype may be rounding."""
    return FACTOR if dtype in HALVES else UNITS


def rounded(what: str) -> str:
    """What to say of a change that is rounding."""
    return f"depends on {what} at the level of rounding, as FFTs do"


def first(t: Tensor) -> list[int]:
    """The index of the first element that is not zero."""
    found: list[int] = t.nonzero()[0].tolist()
    return found


def _largest(t: Tensor) -> float:
    known = t.detach().double().abs().nan_to_num(0, 0, 0)
    return float(known.max()) if known.numel() else 0.0
