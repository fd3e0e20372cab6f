"""A float64 model that is float64 throughout: what it casts to a narrower dtype stays wide.

Most models compute norms, routers and softmax in float32 whatever their dtype. In a float64 model
that is noise of 1e-7 in which every comparison of logic drowns, and a mask of the smallest float64
that float32 turns into minus infinity. Neither says anything about the logic. What names a dtype is
caught where it is called, above autograd, so gradients are wide as well; `Recast`, below it, sees
all that is computed and passes no gradient on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .default import Default

_NARROW = (torch.float32, torch.bfloat16, torch.float16)
_METHODS = (torch.Tensor.float, torch.Tensor.bfloat16, torch.Tensor.half)


class Widened(TorchFunctionMode):
    """While active, code that asks for a narrower floating dtype gets float64.

    >>> with Widened():
    ...     torch.ones(2).float().dtype, torch.ones(2).softmax(0, dtype=torch.float32).dtype
    (torch.float64, torch.float64)
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METHODS:
            return args[0].double()
        wide = {key: _wide(value) for key, value in (kwargs or {}).items()}
        return func(*(_wide(value) for value in args), **wide)


@contextmanager
def widened(module: nn.Module | None = None) -> Iterator[None]:
    """Widen what a float64 module computes; leave any other as it is. None: whatever is called."""
    weight = None if module is None else next(module.parameters(), None)
    if module is not None and (weight is None or weight.dtype != torch.float64):
        yield
        return
    with Default(torch.float64), Widened():
        yield


def _wide(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROW else value
