"""The weighted mean beside its forms in torch, and two sums that people write.

Its chunks take ten times as long as its steps, and are left out.
"""

from functools import partial

import torch
from beside import Given, against, halves
from beside import growth as over_time
from table import Table
from torch import Tensor

import trilby

SHAPE = dict(B=1, T=4096, C=512)
FORMS = {f"trilby.weighted.{name}": trilby.weighted.forms[name] for name in ("scan", "step")}
SUMS = "torch, two cumsums in float32, exact for these scores only"


def forward(quick: bool) -> Table:
    return against(
        "Weighted mean, forward", trilby.weighted, _drawn(torch.float32, quick=quick),
        FORMS, quick, others={SUMS: two_sums},
    )  # fmt: skip


def backward(quick: bool) -> Table:
    """With the gradients of x and s."""
    given = _drawn(torch.float32, quick=quick)
    return against(
        "Weighted mean, forward and backward", trilby.weighted, given,
        FORMS, quick, dy=torch.randn_like(given[0]), others={SUMS: two_sums},
    )  # fmt: skip


def brain(quick: bool) -> Table:
    title, drawn = "Weighted mean in halves", partial(_drawn, quick=quick)
    return halves(title, trilby.weighted, drawn, quick, backward=True)


def growth(quick: bool) -> Table:
    return over_time("Weighted mean, growth with T", trilby.weighted, dict(C=64), quick)


def two_sums(x: Tensor, s: Tensor) -> tuple[Tensor, None]:
    """The largest score of all is taken off, so scores of 88 less give 0 / 0."""
    weights = (s - s.amax(1, keepdim=True)).exp()
    return (weights * x).cumsum(1) / weights.cumsum(1), None


def _drawn(dtype: torch.dtype, *, quick: bool) -> Given:
    sizes = dict(B=2, T=64, C=32) if quick else SHAPE
    return trilby.weighted.draw(**sizes, dtype=dtype)
