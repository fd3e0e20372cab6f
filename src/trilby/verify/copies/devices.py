"""Which device of what a user gave has no float64, in which the logic is judged."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ...shapes import finest
from .reached import modules_of


def without_float64(*given: Any) -> str:
    """The first type of device without float64 that a tensor is on; empty if there is none.

    >>> without_float64(torch.zeros(1), {"model": torch.nn.Linear(1, 1)})
    ''
    """
    devices = (t.device for t in _tensors(given))
    return next((d.type for d in devices if finest(d) != torch.float64), "")


def _tensors(given: Any) -> Iterator[Tensor]:
    """Tensors in nested values, in modules, and in modules that functions reach."""
    for value in tree_leaves(given):
        if isinstance(value, Tensor):
            yield value
        for module in modules_of(value):
            yield from module.parameters()
            yield from module.buffers()
