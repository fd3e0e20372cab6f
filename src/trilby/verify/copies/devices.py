"""Which device of what a user gave has no float64, in which the logic is judged."""

from typing import Any

import torch

from ...shapes import finest
from .reached import tensors_of


def without_float64(*given: Any) -> str:
    """The first type of device without float64 that a tensor is on; empty if there is none.

    >>> without_float64(torch.zeros(1), {"model": torch.nn.Linear(1, 1)})
    ''
    """
    devices = (t.device for t in tensors_of(given))
    return next((d.type for d in devices if finest(d) != torch.float64), "")
