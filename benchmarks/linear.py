"""Linear attention beside its forms in torch."""

from functools import partial

import torch
from beside import Given, against, halves
from beside import growth as over_time
from table import Table

import trilby

SIZES = dict(B=1, T=2048, H=16, K=128, V=128)
FORMS = {
    f"trilby.linear.chunk, {size}": partial(trilby.linear.chunk, size=size)
    for size in (32, 64, 128, 256)
}


def forward(quick: bool) -> Table:
    given = _drawn(torch.float32, quick=quick)
    forms = FORMS | {"trilby.linear.matrix": trilby.linear.matrix}
    return against("Linear attention, forward", trilby.linear, given, forms, quick)


def backward(quick: bool) -> Table:
    """With the gradients of q, k and v."""
    given, title = _drawn(torch.float32, quick=quick), "Linear attention, forward and backward"
    return against(title, trilby.linear, given, FORMS, quick, dy=torch.randn_like(given[2]))


def brain(quick: bool) -> Table:
    title, drawn = "Linear attention in halves", partial(_drawn, quick=quick)
    return halves(title, trilby.linear, drawn, quick, backward=True)


def growth(quick: bool) -> Table:
    sizes = dict(H=2, K=64, V=64)
    return over_time("Linear attention, growth with T", trilby.linear, sizes, quick)


def _drawn(dtype: torch.dtype, *, quick: bool) -> Given:
    sizes = dict(B=1, T=64, H=2, K=16, V=16) if quick else SIZES
    return trilby.linear.draw(**sizes, dtype=dtype)
